// The sending role: a manifest, then the contents that the receiver wants.
#include <algorithm>

#include "base/text.h"
#include "transfer/checkpoint.h"
#include "transfer/plan.h"
#include "transfer/send_contents.h"
#include "transfer/send_pack.h"
#include "transfer/session.h"
#include "transfer/target.h"
#include "transfer/tree.h"
#include "transfer/walk.h"

namespace choline {

namespace {

class Sender {
 public:
  Sender(FrameReader& in, FrameWriter& out, const SyncOptions& options, const SessionHooks& hooks)
      : in_(in),
        out_(out),
        options_(options),
        hooks_(hooks),
        squeezer_(options.packing.value_or(Packing::never), out.gauge(), options.rate) {}

  Result<SyncReport> run(const std::string& path) {
    Status status = send_manifest(path);
    if (!status.ok()) return status.error();
    plan_.emplace(manifest_.entries());
    status = read_plan();
    if (!status.ok()) return status.error();
    // Where nothing is asked for, the report follows.
    Result<Json> told = plan_->empty() ? in_.expect_json(FrameType::report) : send_contents();
    if (!told.ok()) return told.error();
    report_progress();
    return sync_report_from_json(*told);
  }

 private:
  // Entries leave while the walk still goes on.
  Status send_manifest(const std::string& path) {
    ScanOptions scan;
    scan.exclude = options_.exclude;
    scan.use_ignore_files = options_.use_ignore_files;
    Status status = !options_.only.empty() ? send_listed(look_at_only(path, options_.only))
                    : options_.checkpoints
                        ? send_listed(scan_checkpoints(path, scan, options_.settle, hooks_.stop))
                        : send_walk(path, scan);
    if (!status.ok()) return status;
    Result<Target> root = Target::open(place_.folder, false);
    if (!root.ok()) return root.error();
    root_.emplace(std::move(root).value());
    Json end = Json::object();
    end["count"] = manifest_.entries();
    end["skipped"] = to_json(place_.skipped);
    // A list that was cut does not tell all that must stay at the target.
    end["cut"] =
        end["skipped"].size() != place_.skipped.size() || place_.skipped.size() >= kListLimit;
    end["failed"] = to_json(place_.failed);
    status = out_.put_json(FrameType::entries_end, end);
    return status.ok() ? out_.flush() : status;
  }

  Status send_head() {
    Json head = Json::object();
    head["single"] = place_.single;
    head["name"] = place_.name;
    return out_.put_json(FrameType::tree, head);
  }

  Status send_batch(const RecordBatch& batch) {
    std::string payload = pack_batch(batch.bytes, &squeezer_);
    Status status = out_.put(FrameType::entries, payload);
    manifest_.add(std::move(payload), batch.entries);
    return status;
  }

  Status send_walk(const std::string& path, const ScanOptions& scan) {
    Result<TreePlace> place = look_at_tree(path);
    if (!place.ok()) return place.error();
    place_ = std::move(place).value();
    Status status = send_head();
    if (!status.ok()) return status;
    WalkOptions options;
    options.scan = scan;
    // Rules matter to what is removed at the target only.
    options.with_rules = options_.delete_extra;
    options.outside_links = options_.outside_links.value_or(true);
    TreeWalk walk(place_, std::move(options), hooks_.stop);
    for (;;) {
      Result<std::optional<RecordBatch>> batch = walk.next();
      if (!batch.ok()) return batch.error();
      if (!*batch) break;
      status = send_batch(**batch);
      if (!status.ok()) return status;
    }
    place_ = std::move(walk.place());
    return done();
  }

  // Checkpoints have to be looked at as a whole, and perhaps twice; chosen paths need no walk.
  Status send_listed(Result<Tree> tree) {
    if (!tree.ok()) return tree.error();
    place_ = {tree->single, tree->name, tree->folder, tree->source, tree->skipped, tree->failed};
    Status status = send_head();
    RecordWriter writer;
    auto send = [&] {
      RecordBatch batch;
      batch.entries = writer.entries();
      batch.bytes = writer.take();
      return send_batch(batch);
    };
    if (options_.delete_extra) {
      for (const IgnoreFile& file : tree->rules) {
        if (file.folder.empty()) writer.add(file);
      }
    }
    for (const Entry& entry : tree->entries) {
      bool leaves = !options_.outside_links.value_or(true) && entry.kind == EntryKind::link &&
                    leads_outside(entry.path, entry.link);
      if (leaves) {
        add_note(place_.skipped, entry.path, "a link that leads out of the tree");
        continue;
      }
      writer.add(entry);
      if (options_.delete_extra && entry.kind == EntryKind::folder) {
        for (const IgnoreFile& file : tree->rules) {
          if (file.folder == entry.path) writer.add(file);
        }
      }
      if (status.ok() && writer.full()) status = send();
      if (!status.ok()) return status;
    }
    return status.ok() && writer.size() != 0 ? send() : status;
  }

  Status read_plan() {
    for (;;) {
      Result<Frame> frame = in_.next();
      if (!frame.ok()) return frame.error();
      if (frame->type == FrameType::plan_end) {
        Unpacker totals(frame->payload);
        bool fine = totals.number(progress_.files_total) && totals.number(progress_.bytes_total);
        if (!fine || !totals.at_end()) return protocol_error("a plan that cannot be read");
        break;
      }
      if (frame->type != FrameType::plan) return protocol_error("no plan where one was due");
      Status status = plan_->add(std::move(frame->payload));
      if (!status.ok()) return status;
    }
    report_progress();
    return done();
  }

  Result<Json> send_contents() {
    ContentsSender contents({in_, out_, options_, hooks_, *root_, progress_, squeezer_});
    contents.start(progress_.bytes_total);
    PackSender packs({out_, hooks_, *root_, contents.meter(), contents.pace(), squeezer_,
                      [&](const PlanItem& item, const Entry& entry, const std::string& source) {
                        return contents.grant(item, entry, source);
                      }});
    for (;;) {
      Result<std::optional<PlanItem>> item = plan_->next();
      if (!item.ok()) return item.error();
      if (!*item) break;
      if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
      Result<const Entry*> entry = manifest_.find((*item)->index);
      if (!entry.ok()) return entry.error();
      if ((*entry)->kind != EntryKind::file) {
        return protocol_error("a wish for the contents of what is no file");
      }
      if (options_.dry_run && (*item)->action == PlanAction::send) continue;
      const std::string& source = place_.single ? place_.source : (*entry)->path;
      Status status = done();
      if (goes_in_pack(**item, **entry, options_)) {
        status = packs.add(**item, **entry, source);
      } else {
        status = packs.flush();
        if (status.ok()) status = contents.grant(**item, **entry, source);
      }
      if (!status.ok()) return status.error();
    }
    Status packed = packs.flush();
    if (!packed.ok()) return packed.error();
    add_notes(contents.skipped, packs.skipped);
    add_notes(contents.failed, packs.failed);
    return contents.finish();
  }

  void report_progress() {
    if (hooks_.progress) hooks_.progress(progress_);
  }

  FrameReader& in_;
  FrameWriter& out_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  Squeezer squeezer_;  // of the session's own stream
  TreePlace place_;
  SentManifest manifest_;
  std::optional<Target> root_;
  std::optional<PlanReader> plan_;
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

Json to_json(const TransferRequest& asked) {
  Json request = Json::object();
  request["magic"] = "choline-files";
  request["version"] = kTransferVersion;
  request["role"] = asked.role == ServeRole::send        ? "send"
                    : asked.role == ServeRole::receive   ? "receive"
                    : asked.role == ServeRole::manifests ? "manifests"
                                                         : "checkpoints";
  if (!asked.names.empty()) request["names"] = asked.names;
  if (asked.lanes.is_set()) {
    request["lanes"] = Json{{"id", asked.lanes.id}, {"secret", asked.lanes.secret}};
  }
  request["path"] = asked.path;
  request["options"] = to_json(asked.options);
  return request;
}

Status write_request(FrameWriter& out, const TransferRequest& asked) {
  Status status = out.put_json(FrameType::request, to_json(asked));
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
