// The sending role: a manifest, then the contents that the receiver wants.
#include <algorithm>

#include "base/text.h"
#include "transfer/checkpoint.h"
#include "transfer/plan.h"
#include "transfer/send_contents.h"
#include "transfer/session.h"
#include "transfer/target.h"
#include "transfer/tree.h"

namespace choline {

namespace {

class Sender {
 public:
  Sender(FrameReader& in, FrameWriter& out, const SyncOptions& options, const SessionHooks& hooks)
      : in_(in), out_(out), options_(options), hooks_(hooks) {}

  Result<SyncReport> run(const std::string& path) {
    Status status = scan(path);
    if (status.ok()) status = send_manifest();
    if (status.ok()) status = read_plan();
    if (status.ok()) status = send_contents();
    if (!status.ok()) return status.error();
    Result<Json> told = in_.expect_json(FrameType::report);
    if (!told.ok()) return told.error();
    report_progress();
    return sync_report_from_json(*told);
  }

 private:
  Status scan(const std::string& path) {
    ScanOptions scan;
    scan.exclude = options_.exclude;
    scan.use_ignore_files = options_.use_ignore_files;
    Result<Tree> tree = options_.checkpoints
                            ? scan_checkpoints(path, scan, options_.settle, hooks_.stop)
                            : scan_tree(path, scan, hooks_.stop);
    if (!tree.ok()) return tree.error();
    tree_ = std::move(tree).value();
    if (!options_.outside_links.value_or(true)) {
      std::erase_if(tree_.entries, [this](const Entry& entry) {
        bool leaves = entry.kind == EntryKind::link && leads_outside(entry.path, entry.link);
        if (leaves) add_note(tree_.skipped, entry.path, "a link that leads out of the tree");
        return leaves;
      });
    }
    Result<Target> root = Target::open(tree_.folder, false);
    if (!root.ok()) return root.error();
    root_.emplace(std::move(root).value());
    return done();
  }

  Status send_manifest() {
    Json head = Json::object();
    head["single"] = tree_.single;
    head["name"] = tree_.name;
    Json rules = Json::array();
    for (const IgnoreFile& file : tree_.rules) {
      Json rule = Json::object();
      rule["folder"] = file.folder;
      rule["text"] = file.text;
      rule["above"] = file.above;
      rules.push_back(std::move(rule));
    }
    // Rules matter to what is removed at the target only.
    if (options_.delete_extra) head["rules"] = std::move(rules);
    Status status = out_.put_json(FrameType::tree, head);
    ManifestWriter manifest;
    for (const Entry& entry : tree_.entries) {
      std::string batch = manifest.add(entry);
      if (status.ok() && !batch.empty()) status = out_.put(FrameType::entries, batch);
      if (!status.ok()) return status;
    }
    std::string rest = manifest.rest();
    if (status.ok() && !rest.empty()) status = out_.put(FrameType::entries, rest);
    Json end = Json::object();
    end["count"] = tree_.entries.size();
    end["skipped"] = to_json(tree_.skipped);
    // A list that was cut does not tell all that must stay at the target.
    end["cut"] =
        end["skipped"].size() != tree_.skipped.size() || tree_.skipped.size() >= kListLimit;
    end["failed"] = to_json(tree_.failed);
    if (status.ok()) status = out_.put_json(FrameType::entries_end, end);
    return status.ok() ? out_.flush() : status;
  }

  Status read_plan() {
    for (;;) {
      Result<Frame> frame = in_.next();
      if (!frame.ok()) return frame.error();
      if (frame->type == FrameType::plan_end) break;
      if (frame->type != FrameType::plan) return protocol_error("no plan where one was due");
      Status status = unpack_plan(frame->payload, tree_.entries.size(), plan_);
      if (!status.ok()) return status;
    }
    for (const PlanItem& item : plan_) {
      if (!is_wanted(item)) continue;
      if (tree_.entries[item.index].kind != EntryKind::file) {
        return protocol_error("a wish for the contents of what is no file");
      }
      ++progress_.files_total;
      progress_.bytes_total += tree_.entries[item.index].size;
    }
    report_progress();
    return done();
  }

  static bool is_wanted(const PlanItem& item) {
    return item.action == PlanAction::send || item.action == PlanAction::compare;
  }

  Status send_contents() {
    ContentsSender contents({in_, out_, options_, hooks_, *root_, progress_});
    for (const PlanItem& item : plan_) {
      if (!is_wanted(item)) continue;
      if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
      if (options_.dry_run && item.action == PlanAction::send) continue;
      const Entry& entry = tree_.entries[item.index];
      Status status = contents.grant(item, entry, tree_.single ? tree_.source : entry.path);
      if (!status.ok()) return status;
    }
    Json end = Json::object();
    end["skipped"] = to_json(contents.skipped);
    end["failed"] = to_json(contents.failed);
    Status status = out_.put_json(FrameType::finished, end);
    return status.ok() ? out_.flush() : status;
  }

  void report_progress() {
    if (hooks_.progress) hooks_.progress(progress_);
  }

  FrameReader& in_;
  FrameWriter& out_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  Tree tree_;
  std::optional<Target> root_;
  std::vector<PlanItem> plan_;
  SyncProgress progress_;
};

}  // namespace

Result<SyncReport> send_tree(FrameReader& in, FrameWriter& out, const std::string& path,
                             const SyncOptions& options, const SessionHooks& hooks) {
  Sender sender(in, out, options, hooks);
  Result<SyncReport> report = sender.run(path);
  if (report.ok()) return report;
  tell_failure(out, report.error());
  return peer_reason(in, std::move(report).error());
}

Status write_request(FrameWriter& out, ServeRole role, const std::string& path,
                     const SyncOptions& options, const std::vector<std::string>& names) {
  Json request = Json::object();
  request["magic"] = "choline-files";
  request["version"] = kTransferVersion;
  request["role"] = role == ServeRole::send        ? "send"
                    : role == ServeRole::receive   ? "receive"
                    : role == ServeRole::manifests ? "manifests"
                                                   : "checkpoints";
  if (!names.empty()) request["names"] = names;
  request["path"] = path;
  request["options"] = to_json(options);
  Status status = out.put_json(FrameType::request, request);
  return status.ok() ? out.flush() : status;
}

void tell_failure(FrameWriter& out, const Error& error) {
  if (out.put_json(FrameType::fail, to_json(error)).ok()) (void)out.flush();
}

Error peer_reason(FrameReader& in, Error error) {
  const Json& fields = error.fields;
  bool write_failed = fields.is_object() && fields.contains("errno") &&
                      error.message.starts_with("transfer: write");
  if (!write_failed) return error;
  for (;;) {
    Result<Frame> frame = in.next();
    if (frame.ok()) continue;
    bool told = frame.error().kind != ErrorKind::lost &&
                !frame.error().message.starts_with("transfer: read");
    return told ? std::move(frame).error() : error;
  }
}

}  // namespace choline
