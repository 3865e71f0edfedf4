// What a two-way sync asks of one of its sides: what is there, digests, and changes that are only
// made where the side still is as it was seen. Blocking; the agent serves it, and here it runs on a
// worker.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "transfer/frame.h"
#include "transfer/two_way.h"

namespace choline {

struct SideList {
  bool absent = false;  // there is no folder at the place
  std::string root_id;  // of the folder: another one at the same place has another
  SideEntries entries;
  std::set<std::string, std::less<>> frozen;
  std::vector<SyncNote> notes;  // why something is frozen
  std::vector<IgnoreFile> rules;
};

struct SideChange {
  TwoWayAction::What what = TwoWayAction::What::copy;
  std::string path;
  std::optional<SideEntry> expect;  // what must be there; nothing: nothing may be
  SideEntry as;                     // of the other side: what it becomes
  std::string label, time;          // of an `aside`
};
struct SideResult {
  bool ok = false;
  std::string why;               // when not
  std::optional<SideEntry> now;  // what is there after it
  std::string kept;              // of an `aside`: the new name
};

// In a folder of this name below the place lies what copies bring, until it gets its own name.
std::string staging_name(std::string_view id);

Result<SideList> list_side(const std::string& root, const std::vector<std::string>& exclude,
                           bool use_ignore_files);
// In the order of the paths; an empty one for what cannot be read.
std::vector<std::string> digest_side(const std::string& root,
                                     const std::vector<std::string>& paths);
// Which of them are there, whoever ignores them.
std::vector<std::string> present_side(const std::string& root,
                                      const std::vector<std::string>& paths);
// In the order given; what cannot be done is told and passed over. Removes the staging folder.
Result<std::vector<SideResult>> change_side(const std::string& root, const std::string& staging,
                                            const std::vector<SideChange>& changes);

// The same as questions over a stream: `ask` is "list", "digests", "present" or "change".
Json side_question(const std::string& ask, const std::string& root, Json details);
Result<std::vector<Json>> answer_side(const std::string& root, const Json& request,
                                      const std::vector<Json>& items);
Status serve_side(FrameReader& in, FrameWriter& out, const std::string& root, const Json& request);
// Sends the question and its items, and gives the items of the answer.
Result<std::vector<Json>> ask_side(FrameReader& in, FrameWriter& out, const Json& question,
                                   const std::vector<Json>& items);

Json to_json(const SideEntry& entry);
Result<SideEntry> side_entry_from_json(const Json& value);
std::vector<Json> list_items(const SideList& list);
Result<SideList> list_from_items(const std::vector<Json>& items);
Json to_json(const SideChange& change);
Json to_json(const SideResult& result);
Result<SideResult> side_result_from_json(const Json& value);

}  // namespace choline
