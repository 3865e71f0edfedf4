#include "transfer/two_way_side.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/digest_fast.h"
#include "base/text.h"
#include "transfer/plan.h"
#include "transfer/posix.h"
#include "transfer/session.h"
#include "transfer/source_file.h"
#include "transfer/target.h"

namespace choline {

namespace {

constexpr size_t kItemsPerFrame = 2000;
constexpr size_t kTextPerFrame = 1 << 20;  // bytes; escaped they still fit a frame
constexpr size_t kMostItems = 1'000'000;

Error bad_item() {
  return protocol_error("an item that cannot be read");
}

SideEntry entry_of(const Entry& entry, int64_t now) {
  SideEntry out{entry.kind,     entry.size,        entry.mtime_ns,
                entry.ctime_ns, entry.mode & 0777, entry.link};
  if (entry.kind != EntryKind::file) out.ctime_ns = out.mtime_ns = 0;
  if (out.ctime_ns > now - kClockTick) out.ctime_ns = 0;
  return out;
}

// Lets the tick pass in which entries were changed just now, and looks at them again: what is
// remembered without a time cannot be told from a change later.
Status see_fresh_again(const std::string& root, SideEntries& entries) {
  std::vector<SideEntries::value_type*> fresh;
  for (auto& each : entries) {
    if (each.second.kind == EntryKind::file && each.second.ctime_ns == 0) fresh.push_back(&each);
  }
  if (fresh.empty()) return done();
  nap(kClockTick / 1'000'000);
  Result<Target> target = Target::open(root, false);
  if (!target.ok()) return target.error();
  int64_t now = wall_nanoseconds();
  for (auto* each : fresh) {
    Result<std::optional<Entry>> found = target->look(each->first);
    if (!found.ok() || !*found) continue;
    SideEntry again = entry_of(**found, now);
    int64_t changed = std::exchange(again.ctime_ns, 0);
    if (again == each->second) each->second.ctime_ns = changed;
  }
  return done();
}

size_t text_in(const Json& item) {
  if (item.is_string()) return item.get_ref<const std::string&>().size();
  size_t sum = 0;
  if (item.is_structured()) {
    for (const Json& each : item) sum += text_in(each);
  }
  return sum;
}

// Batches of items with a mark at the last.
Status put_items(FrameWriter& out, const std::vector<Json>& items) {
  for (size_t at = 0;;) {
    Json frame = {{"items", Json::array()}};
    size_t text = 0;
    for (size_t count = 0; count < kItemsPerFrame && at < items.size(); ++count) {
      text += text_in(items[at]);
      frame["items"].push_back(items[at++]);
      if (text > kTextPerFrame) break;
    }
    frame["last"] = at == items.size();
    Status put = out.put_json(FrameType::report, frame);
    if (!put.ok()) return put;
    if (at == items.size()) return out.flush();
  }
}

Result<std::vector<Json>> get_items(FrameReader& in) {
  std::vector<Json> items;
  for (;;) {
    Result<Json> frame = in.expect_json(FrameType::report);
    if (!frame.ok()) return frame.error();
    if (!frame->is_object() || !frame->contains("items") || !(*frame)["items"].is_array())
      return bad_item();
    for (Json& item : (*frame)["items"]) items.push_back(std::move(item));
    if (items.size() > kMostItems) return protocol_error("too many items");
    if (frame->value("last", Json()) == true) return items;
  }
}

Result<std::vector<std::string>> texts_of(const std::vector<Json>& items) {
  std::vector<std::string> texts;
  for (const Json& item : items) {
    if (!item.is_string()) return bad_item();
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

Result<SideChange> change_from_json(const Json& value) {
  SideChange change;
  if (!value.is_object()) return bad_item();
  uint64_t what = value.value("what", uint64_t{99});
  if (what > static_cast<uint64_t>(TwoWayAction::What::adjust)) return bad_item();
  change.what = static_cast<TwoWayAction::What>(what);
  change.path = value.value("path", "");
  change.label = value.value("label", "");
  change.time = value.value("time", "");
  bool plain =
      (change.label + change.time).find_first_of(std::string_view("/\0", 2)) == std::string::npos;
  if (!plain || !is_safe_path(change.path)) return bad_item();
  if (value.contains("expect") && !value["expect"].is_null()) {
    Result<SideEntry> expect = side_entry_from_json(value["expect"]);
    if (!expect.ok()) return expect.error();
    change.expect = std::move(*expect);
  }
  Result<SideEntry> as = side_entry_from_json(value.value("as", Json()));
  if (!as.ok()) return as.error();
  change.as = std::move(*as);
  return change;
}

Result<std::vector<Json>> answer(const std::string& root, const Json& request,
                                 const std::vector<Json>& items) {
  std::string ask = request.value("ask", "");
  std::vector<Json> out;
  if (ask == "list") {
    std::vector<std::string> exclude = request.value("exclude", std::vector<std::string>());
    Result<SideList> list = list_side(root, exclude, request.value("use_ignore_files", true));
    if (!list.ok()) return list.error();
    return list_items(*list);
  }
  if (ask == "digests" || ask == "present") {
    Result<std::vector<std::string>> paths = texts_of(items);
    if (!paths.ok()) return paths.error();
    auto told = ask == "digests" ? digest_side(root, *paths) : present_side(root, *paths);
    for (std::string& each : told) out.push_back(std::move(each));
    return out;
  }
  if (ask != "change") return protocol_error("an unknown question");
  std::vector<SideChange> changes;
  for (const Json& item : items) {
    Result<SideChange> change = change_from_json(item);
    if (!change.ok()) return change.error();
    changes.push_back(std::move(*change));
  }
  Result<std::vector<SideResult>> results =
      change_side(root, request.value("staging", ""), changes);
  if (!results.ok()) return results.error();
  for (const SideResult& result : *results) out.push_back(to_json(result));
  return out;
}

std::string hex_digest(int file) {
  FastDigest digest;
  std::string block(kDataBlock, '\0');
  for (;;) {
    ssize_t got = read(file, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::string();
    if (got == 0) break;
    digest.update(std::string_view(block).substr(0, static_cast<size_t>(got)));
  }
  std::string out;
  for (char byte : digest.bytes()) {
    for (int half : {byte >> 4 & 15, byte & 15}) out += "0123456789abcdef"[half];
  }
  return out;
}

}  // namespace

std::string staging_name(std::string_view id) {
  return std::string(kPartPrefix) + "two-way-" + std::string(id);
}

Result<SideList> list_side(const std::string& root, const std::vector<std::string>& exclude,
                           bool use_ignore_files) {
  SideList list;
  struct stat info {};
  if (stat(root.c_str(), &info) != 0) {
    if (errno != ENOENT) return errno_error("look at " + root, errno);
    list.absent = true;
    return list;
  }
  if (!S_ISDIR(info.st_mode)) {
    return Error(ErrorKind::invalid,
                 "a two-way sync is between folders, and " + choline::quoted(root) + " is none");
  }
  list.root_id = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  ScanOptions scan;
  scan.exclude = exclude;
  scan.use_ignore_files = use_ignore_files;
  int64_t now = wall_nanoseconds();
  Result<Tree> tree = scan_tree(root, scan, nullptr);
  if (!tree.ok()) return tree.error();
  list.rules = std::move(tree->rules);
  for (const auto* notes : {&tree->skipped, &tree->failed}) {
    for (const SyncNote& note : *notes) {
      list.frozen.insert(note.path);
      list.notes.push_back(note);
    }
  }
  for (const Entry& entry : tree->entries) {
    if (entry.kind == EntryKind::link && leads_outside(entry.path, entry.link)) {
      list.frozen.insert(entry.path);
      list.notes.push_back({entry.path, "a link that leads out of the tree"});
      continue;
    }
    list.entries.emplace(entry.path, entry_of(entry, now));
  }
  Status seen = see_fresh_again(root, list.entries);
  if (!seen.ok()) return seen.error();
  return list;
}

std::vector<std::string> digest_side(const std::string& root,
                                     const std::vector<std::string>& paths) {
  std::vector<std::string> digests(paths.size());
  Result<Target> target = Target::open(root, false);
  for (size_t at = 0; target.ok() && at < paths.size(); ++at) {
    Result<UniqueFd> file = target->open_file(paths[at]);
    if (file.ok()) digests[at] = hex_digest(file->get());
  }
  return digests;
}

std::vector<std::string> present_side(const std::string& root,
                                      const std::vector<std::string>& paths) {
  std::vector<std::string> present;
  Result<Target> target = Target::open(root, false);
  for (const std::string& path : paths) {
    if (!target.ok()) break;
    Result<std::optional<Entry>> found = target->look(path);
    if (!found.ok() || *found) present.push_back(path);
  }
  return present;
}

Json side_question(const std::string& ask, const std::string& root, Json details) {
  details["magic"] = "choline-files";
  details["version"] = kTransferVersion;
  details["role"] = "two-way";
  details["ask"] = ask;
  details["path"] = root;
  return details;
}

Result<std::vector<Json>> answer_side(const std::string& root, const Json& request,
                                      const std::vector<Json>& items) {
  try {
    return answer(root, request, items);
  } catch (const Json::exception&) {  // a field of another type than it should be
    return bad_item();
  }
}

Status serve_side(FrameReader& in, FrameWriter& out, const std::string& root, const Json& request) {
  Result<std::vector<Json>> items = get_items(in);
  Result<std::vector<Json>> told = Error(ErrorKind::invalid, "");
  told = items.ok() ? answer_side(root, request, *items) : items.error();
  if (told.ok()) return put_items(out, *told);
  tell_failure(out, told.error());
  return told.error();
}

Result<std::vector<Json>> ask_side(FrameReader& in, FrameWriter& out, const Json& question,
                                   const std::vector<Json>& items) {
  Status asked = out.put_json(FrameType::request, question);
  if (asked.ok()) asked = put_items(out, items);
  if (!asked.ok()) return peer_reason(in, std::move(asked).error());
  return get_items(in);
}

Json to_json(const SideEntry& entry) {
  return Json::array({static_cast<int>(entry.kind), entry.size, entry.mtime_ns, entry.ctime_ns,
                      entry.mode, entry.link});
}

Result<SideEntry> side_entry_from_json(const Json& value) {
  bool whole = value.is_array() && value.size() == 6 && value[5].is_string();
  for (size_t at = 0; whole && at < 5; ++at) whole = value[at].is_number_integer();
  if (!whole) return bad_item();
  int64_t kind = value[0].get<int64_t>();
  if (kind < 1 || kind > 3) return bad_item();
  SideEntry entry;
  entry.kind = static_cast<EntryKind>(kind);
  entry.size = value[1].get<uint64_t>();
  entry.mtime_ns = value[2].get<int64_t>();
  entry.ctime_ns = value[3].get<int64_t>();
  entry.mode = value[4].get<uint32_t>() & 0777;
  entry.link = value[5].get<std::string>();
  return entry;
}

std::vector<Json> list_items(const SideList& list) {
  std::vector<Json> items;
  items.push_back({{"absent", list.absent}, {"root", list.root_id}});
  for (const SyncNote& note : list.notes)
    items.push_back({{"frozen", note.path}, {"why", note.why}});
  for (const IgnoreFile& rule : list.rules)
    items.push_back({{"folder", rule.folder}, {"text", rule.text}, {"above", rule.above}});
  for (const auto& [path, entry] : list.entries)
    items.push_back({{"path", path}, {"is", to_json(entry)}});
  return items;
}

Result<SideList> list_from_items(const std::vector<Json>& items) {
  SideList list;
  for (const Json& item : items) {
    if (!item.is_object()) return bad_item();
    auto text = [&item](const char* key) {
      auto found = item.find(key);
      return found != item.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    if (item.contains("absent")) {
      list.absent = item["absent"] == true;
      list.root_id = text("root");
    } else if (item.contains("frozen")) {
      list.frozen.insert(text("frozen"));
      list.notes.push_back({text("frozen"), text("why")});
    } else if (item.contains("text")) {
      list.rules.push_back({text("folder"), text("text"), text("above")});
    } else {
      Result<SideEntry> entry = side_entry_from_json(item.value("is", Json()));
      if (!entry.ok()) return entry.error();
      std::string path = text("path");
      if (!is_safe_path(path)) return protocol_error("a path that leads elsewhere");
      list.entries.emplace(std::move(path), std::move(*entry));
    }
  }
  return list;
}

Json to_json(const SideChange& change) {
  return {{"what", static_cast<unsigned>(change.what)},
          {"path", change.path},
          {"expect", change.expect ? to_json(*change.expect) : Json()},
          {"as", to_json(change.as)},
          {"label", change.label},
          {"time", change.time}};
}

Json to_json(const SideResult& result) {
  return {{"ok", result.ok},
          {"why", result.why},
          {"now", result.now ? to_json(*result.now) : Json()},
          {"kept", result.kept}};
}

Result<SideResult> side_result_from_json(const Json& value) {
  if (!value.is_object()) return bad_item();
  SideResult result;
  result.ok = value.value("ok", Json()) == true;
  for (auto [key, into] : {std::pair{"why", &result.why}, {"kept", &result.kept}}) {
    auto found = value.find(key);
    if (found == value.end() || !found->is_string()) return bad_item();
    *into = found->get<std::string>();
  }
  if (value.contains("now") && !value["now"].is_null()) {
    Result<SideEntry> now = side_entry_from_json(value["now"]);
    if (!now.ok()) return now.error();
    result.now = std::move(*now);
  }
  return result;
}

}  // namespace choline
