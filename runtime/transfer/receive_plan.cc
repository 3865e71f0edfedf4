#include "transfer/receive_plan.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/digest_fast.h"
#include "base/text.h"
#include "transfer/checkpoint.h"

namespace choline {

namespace {
constexpr size_t kMostRules = 100'000;

bool is_folder(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

Result<std::vector<IgnoreFile>> rules_from_json(const Json& value) {
  std::vector<IgnoreFile> rules;
  if (!value.is_array() || value.size() > kMostRules) return protocol_error("bad ignore rules");
  for (const Json& each : value) {
    IgnoreFile file;
    for (auto [key, text] :
         {std::pair{"folder", &file.folder}, {"text", &file.text}, {"above", &file.above}}) {
      if (!each.is_object() || !each.contains(key) || !each[key].is_string()) {
        return protocol_error("bad ignore rules");
      }
      *text = each[key].get<std::string>();
    }
    rules.push_back(std::move(file));
  }
  return rules;
}

}  // namespace

Status ReceivePlan::make(const std::string& path) {
  Status status = read_manifest(path);
  if (status.ok() && !options_.outside_links.value_or(true)) drop_outside_links();
  if (status.ok()) status = open_target();
  if (status.ok()) status = compare();
  if (status.ok() && options_.checkpoints && target) find_markers();
  if (status.ok() && options_.delete_extra && !single_ && target) status = find_extra();
  return status;
}

Status ReceivePlan::read_manifest(const std::string& path) {
  Result<Json> head = in_.expect_json(FrameType::tree);
  if (!head.ok()) return head.error();
  if (!head->is_object() || !head->contains("single") || !(*head)["single"].is_boolean() ||
      !head->contains("name") || !(*head)["name"].is_string()) {
    return protocol_error("a tree that cannot be read");
  }
  single_ = (*head)["single"].get<bool>();
  if (head->contains("rules")) {
    Result<std::vector<IgnoreFile>> rules = rules_from_json((*head)["rules"]);
    if (!rules.ok()) return rules.error();
    rules_ = std::move(rules).value();
  }
  ManifestReader manifest;
  for (;;) {
    Result<Frame> frame = in_.next();
    if (!frame.ok()) return frame.error();
    if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
    if (frame->type == FrameType::entries) {
      Status status = manifest.add(frame->payload);
      if (!status.ok()) return status;
      continue;
    }
    if (frame->type != FrameType::entries_end) return protocol_error("something else among files");
    Result<Json> end = parse_json(frame->payload);
    if (!end.ok() || !end->is_object()) return protocol_error("a bad end of the list of files");
    if (end->value("count", Json()) != Json(manifest.size()))
      return protocol_error("a wrong count");
    Result<std::vector<SyncNote>> left = notes_from_json(end->value("skipped", Json::array()));
    if (!left.ok()) return left.error();
    Result<std::vector<SyncNote>> broken = notes_from_json(end->value("failed", Json::array()));
    if (!broken.ok()) return broken.error();
    skipped = std::move(left).value();
    failed = std::move(broken).value();
    may_remove_ = failed.empty() && end->value("cut", Json(true)) == Json(false);
    break;
  }
  entries = manifest.take();
  root_ = path;
  return single_ ? place_single(path, (*head)["name"].get<std::string>()) : done();
}

// One file goes into a folder that exists or that is written with a '/' at its end; else the place
// is the file's own name.
Status ReceivePlan::place_single(const std::string& path, const std::string& name) {
  if (entries.size() != 1 || entries[0].path != name || entries[0].kind == EntryKind::folder) {
    return protocol_error("one file that is not one");
  }
  if (path.ends_with('/') || is_folder(path)) return done();
  size_t slash = path.find_last_of('/');
  root_ = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  entries[0].path = slash == std::string::npos ? path : path.substr(slash + 1);
  if (is_safe_path(entries[0].path)) return done();
  return Error(ErrorKind::invalid, "cannot write to " + choline::quoted(path));
}

void ReceivePlan::drop_outside_links() {
  std::erase_if(entries, [this](const Entry& entry) {
    bool leaves = entry.kind == EntryKind::link && leads_outside(entry.path, entry.link);
    if (leaves) add_note(skipped, entry.path, "a link that leads out of the tree");
    return leaves;
  });
}

Status ReceivePlan::open_target() {
  Result<Target> opened = Target::open(root_, !options_.dry_run);
  if (opened.ok()) {
    target.emplace(std::move(opened).value());
  } else if (!options_.dry_run || opened.error().kind != ErrorKind::not_found) {
    return opened.error();
  }
  return done();
}

Status ReceivePlan::compare() {
  for (size_t at = 0; at < entries.size(); ++at) {
    const Entry& entry = entries[at];
    if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
    std::optional<Entry> present;
    if (target) {
      Result<std::optional<Entry>> looked = target->look(entry.path);
      if (!looked.ok()) return looked.error();
      present = std::move(looked).value();
    }
    std::optional<PlanItem> item = compare_entry(entry, present, options_);
    if (!item) {
      if (entry.kind == EntryKind::file) ++unchanged;
      continue;
    }
    item->index = at;
    if (item->action == PlanAction::compare) {
      Result<std::string> digest = digest_of(entry.path);
      if (digest.ok()) {
        item->digest = std::move(digest).value();
      } else {
        item->action = PlanAction::send;
      }
    }
    items.push_back(std::move(*item));
  }
  return done();
}

// An earlier receiver died in them. They are complete once this session has ended well.
void ReceivePlan::find_markers() {
  for (const Entry& entry : entries) {
    if (entry.kind != EntryKind::folder || checkpoint_of(entry.path) != entry.path) continue;
    Result<std::optional<Entry>> marker =
        target->look(entry.path + "/" + std::string(kIncompleteMarker));
    if (marker.ok() && *marker) marked.insert(entry.path);
  }
}

Status ReceivePlan::find_extra() {
  if (!may_remove_) {
    add_note(skipped, "", "nothing was removed, as the source could not be read whole");
    return done();
  }
  ScanOptions scan;
  scan.use_ignore_files = options_.use_ignore_files;
  scan.everything = true;
  Result<Tree> here = scan_tree(root_, scan, hooks_.stop);
  if (!here.ok()) return here.error();
  IgnoreRules rules;
  if (options_.use_ignore_files) rules.add_patterns({".git"});
  rules.add_patterns(options_.exclude);
  // Neither what the sender ignores nor what is ignored here is extra.
  IgnoreRules theirs = rules;
  for (const IgnoreFile& file : rules_) theirs.add(file);
  for (const IgnoreFile& file : here->rules) rules.add(file);
  std::set<std::string, std::less<>> kept;
  for (const SyncNote& note : skipped) kept.insert(note.path);
  auto is_kept = [&](std::string_view path) {
    for (size_t slash = path.find('/'); slash != std::string_view::npos;
         slash = path.find('/', slash + 1)) {
      if (kept.contains(path.substr(0, slash))) return true;
    }
    return kept.contains(path);
  };
  for (auto extra = here->entries.rbegin(); extra != here->entries.rend(); ++extra) {
    bool wanted = std::binary_search(
        entries.begin(), entries.end(), *extra,
        [](const Entry& a, const Entry& b) { return path_less(a.path, b.path); });
    bool is_dir = extra->kind == EntryKind::folder;
    bool marker = options_.checkpoints && extra->path.ends_with(kIncompleteMarker);
    if (wanted || marker || is_kept(extra->path) || rules.covers(extra->path, is_dir) ||
        theirs.covers(extra->path, is_dir)) {
      continue;
    }
    PlanItem item;
    item.action = PlanAction::removed;
    item.reason = MoveReason::removed;
    item.path = extra->path;
    items.push_back(std::move(item));
  }
  return done();
}

Result<std::string> ReceivePlan::digest_of(const std::string& path) {
  Result<UniqueFd> file = target->open_file(path);
  if (!file.ok()) return file.error();
  FastDigest digest;
  std::string block(kDataBlock, '\0');
  for (;;) {
    ssize_t got = read(file->get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read", errno);
    if (got == 0) return digest.bytes();
    digest.update(std::string_view(block).substr(0, static_cast<size_t>(got)));
  }
}

}  // namespace choline
