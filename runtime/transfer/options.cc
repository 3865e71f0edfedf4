#include "transfer/options.h"

#include <algorithm>
#include <array>
#include <utility>

namespace choline {

namespace {

constexpr std::array<std::pair<MoveReason, std::string_view>, 8> kReasons = {{
    {MoveReason::created, "new"},
    {MoveReason::size, "size"},
    {MoveReason::mtime, "mtime"},
    {MoveReason::content, "content"},
    {MoveReason::mode, "mode"},
    {MoveReason::kind, "kind"},
    {MoveReason::link, "link"},
    {MoveReason::removed, "removed"},
}};
// More cost two cores more than they bring.
constexpr uint64_t kUsualLanes = 2;
// Of the texts in one list: a report has to fit a frame, whatever the names are.
constexpr size_t kListBytes = 1 << 20;

Error bad(const std::string& what) {
  return Error(ErrorKind::invalid, "transfer: the far end sent a bad " + what);
}

// Typed reads that leave the default when the key is absent and note a wrong type.
class Fields {
 public:
  explicit Fields(const Json& value) : value_(value), fine_(value.is_object()) {}
  bool fine() const { return fine_; }

  void read(const char* key, bool& out) {
    if (const Json* found = find(key))
      check(found->is_boolean()) && (out = found->get<bool>(), true);
  }
  void read(const char* key, uint64_t& out) {
    if (const Json* found = find(key)) {
      check(found->is_number_unsigned()) && (out = found->get<uint64_t>(), true);
    }
  }
  void read(const char* key, double& out) {
    if (const Json* found = find(key))
      check(found->is_number()) && (out = found->get<double>(), true);
  }
  void read(const char* key, std::string& out) {
    if (const Json* found = find(key)) {
      check(found->is_string()) && (out = found->get<std::string>(), true);
    }
  }
  const Json* list(const char* key) {
    const Json* found = find(key);
    return found && check(found->is_array()) ? found : nullptr;
  }

 private:
  const Json* find(const char* key) {
    if (!fine_) return nullptr;
    auto found = value_.find(key);
    return found == value_.end() ? nullptr : &*found;
  }
  bool check(bool right) {
    if (!right) fine_ = false;
    return right;
  }
  const Json& value_;
  bool fine_;
};

}  // namespace

std::string_view to_text(MoveReason reason) {
  for (const auto& [each, word] : kReasons) {
    if (each == reason) return word;
  }
  return "new";
}

size_t lane_count(const SyncOptions& options) {
  return static_cast<size_t>(options.links == 0 ? kUsualLanes
                                                : std::min(options.links - 1, kMostLanes));
}

Json to_json(const SyncOptions& options) {
  Json out = Json::object();
  out["exclude"] = options.exclude;
  if (!options.only.empty()) out["only"] = options.only;
  out["use_ignore_files"] = options.use_ignore_files;
  out["delete_extra"] = options.delete_extra;
  out["checkpoints"] = options.checkpoints;
  out["dry_run"] = options.dry_run;
  out["compare_content"] = options.compare_content;
  out["durable"] = options.durable;
  out["outside_links"] = options.outside_links.value_or(false);
  out["links"] = options.links;
  out["rate"] = options.rate;
  out["packing"] = static_cast<unsigned>(options.packing.value_or(Packing::never));
  out["settle"] = options.settle;
  return out;
}

Result<SyncOptions> sync_options_from_json(const Json& value) {
  SyncOptions options;
  Fields fields(value);
  if (const Json* list = fields.list("exclude")) {
    for (const Json& pattern : *list) {
      if (!pattern.is_string()) return bad("list of exclude patterns");
      options.exclude.push_back(pattern.get<std::string>());
    }
  }
  if (const Json* list = fields.list("only")) {
    for (const Json& path : *list) {
      if (!path.is_string()) return bad("list of paths");
      options.only.push_back(path.get<std::string>());
    }
  }
  bool outside_links = false;
  fields.read("use_ignore_files", options.use_ignore_files);
  fields.read("delete_extra", options.delete_extra);
  fields.read("checkpoints", options.checkpoints);
  fields.read("dry_run", options.dry_run);
  fields.read("compare_content", options.compare_content);
  fields.read("durable", options.durable);
  fields.read("outside_links", outside_links);
  fields.read("links", options.links);
  fields.read("rate", options.rate);
  uint64_t packing = 0;
  fields.read("packing", packing);
  fields.read("settle", options.settle);
  options.outside_links = outside_links;
  if (packing > static_cast<uint64_t>(Packing::always)) return bad("set of options");
  options.packing = static_cast<Packing>(packing);
  if (!fields.fine() || !(options.settle >= 0 && options.settle <= 3600))
    return bad("set of options");
  return options;
}

void add_note(std::vector<SyncNote>& list, std::string path, std::string why) {
  if (list.size() < kListLimit) list.push_back({std::move(path), std::move(why)});
}

void add_notes(std::vector<SyncNote>& list, const std::vector<SyncNote>& more) {
  for (const SyncNote& note : more) add_note(list, note.path, note.why);
}

Json to_json(const std::vector<SyncNote>& notes) {
  Json out = Json::array();
  size_t bytes = 0;
  for (const SyncNote& note : notes) {
    bytes += note.path.size() + note.why.size();
    if (bytes > kListBytes) break;
    Json entry = Json::object();
    entry["path"] = note.path;
    entry["why"] = note.why;
    out.push_back(std::move(entry));
  }
  return out;
}

Result<std::vector<SyncNote>> notes_from_json(const Json& value) {
  if (!value.is_array()) return bad("list of notes");
  std::vector<SyncNote> notes;
  for (const Json& entry : value) {
    SyncNote note;
    Fields fields(entry);
    fields.read("path", note.path);
    fields.read("why", note.why);
    if (!fields.fine()) return bad("note");
    add_note(notes, std::move(note.path), std::move(note.why));
  }
  return notes;
}

Json to_json(const SyncReport& report) {
  Json out = Json::object();
  out["entries"] = report.entries;
  out["files_moved"] = report.files_moved;
  out["bytes_moved"] = report.bytes_moved;
  out["touched"] = report.touched;
  out["removed"] = report.removed;
  out["unchanged"] = report.unchanged;
  out["skipped"] = to_json(report.skipped);
  out["failed"] = to_json(report.failed);
  Json moves = Json::array();
  size_t bytes = 0;
  for (const SyncMove& move : report.moves) {
    bytes += move.path.size();
    if (bytes > kListBytes) break;
    Json entry = Json::object();
    entry["path"] = move.path;
    entry["reason"] = std::string(to_text(move.reason));
    entry["bytes"] = move.bytes;
    moves.push_back(std::move(entry));
  }
  out["moves"] = std::move(moves);
  return out;
}

Result<SyncReport> sync_report_from_json(const Json& value) {
  SyncReport report;
  Fields fields(value);
  fields.read("entries", report.entries);
  fields.read("files_moved", report.files_moved);
  fields.read("bytes_moved", report.bytes_moved);
  fields.read("touched", report.touched);
  fields.read("removed", report.removed);
  fields.read("unchanged", report.unchanged);
  for (auto [key, list] : {std::pair{"skipped", &report.skipped}, {"failed", &report.failed}}) {
    const Json* found = fields.list(key);
    if (!found) continue;
    Result<std::vector<SyncNote>> notes = notes_from_json(*found);
    if (!notes.ok()) return notes.error();
    *list = std::move(notes).value();
  }
  if (const Json* moves = fields.list("moves")) {
    for (const Json& entry : *moves) {
      SyncMove move;
      std::string reason;
      Fields each(entry);
      each.read("path", move.path);
      each.read("reason", reason);
      each.read("bytes", move.bytes);
      if (!each.fine() || report.moves.size() >= kListLimit) return bad("list of moves");
      for (const auto& [kind, word] : kReasons) {
        if (word == reason) move.reason = kind;
      }
      report.moves.push_back(std::move(move));
    }
  }
  if (!fields.fine()) return bad("report");
  return report;
}

Json to_json(const Checkpoint& checkpoint) {
  Json out = Json::object();
  out["name"] = checkpoint.name;
  if (checkpoint.step) out["step"] = *checkpoint.step;
  out["mtime"] = checkpoint.mtime;
  out["bytes"] = checkpoint.bytes;
  return out;
}

Result<Checkpoint> checkpoint_from_json(const Json& value) {
  Checkpoint out;
  uint64_t step = 0;
  Fields fields(value);
  fields.read("name", out.name);
  fields.read("mtime", out.mtime);
  fields.read("bytes", out.bytes);
  fields.read("step", step);
  // The name becomes a part of paths: it has to be one name.
  bool one_name = !out.name.empty() && out.name != "." && out.name != ".." &&
                  out.name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
  if (!fields.fine() || !one_name) return bad("checkpoint");
  if (value.contains("step")) out.step = step;
  return out;
}

}  // namespace choline
