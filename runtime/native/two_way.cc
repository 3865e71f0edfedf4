// A two-way sync: rounds of looking, deciding and doing, until nothing is left to do. What both
// sides were when they agreed is kept in a file here, and written after each round: wherever it is
// stopped, the next one decides from what it then finds.
#include <algorithm>
#include <ctime>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "base/time.h"
#include "durable/owned_run.h"
#include "io/files.h"
#include "loop/await.h"
#include "native/module.h"
#include "native/transfer.h"
#include "native/two_way_memory.h"
#include "store/store.h"
#include "transfer/two_way_side.h"

namespace choline {
namespace {

using What = TwoWayAction::What;
constexpr int kMostRounds = 8;
constexpr size_t kPathsAtOnce = 4 << 20;  // bytes of paths in one request
constexpr const char* kAsBefore = "it changed meanwhile";
constexpr const char* kNotEmpty = "something that is left out is in it";

const char* word_of(What what) {
  switch (what) {
    case What::copy:
      return "copy";
    case What::folder:
      return "folder";
    case What::remove:
      return "remove";
    case What::aside:
      return "conflict";
    case What::adjust:
      return "mode";
  }
  return "";
}

std::string label_of(const Json& side) {
  std::string label = text_field(side, "label");
  if (label.empty()) label = text_field(side, "tag").empty() ? "here" : "there";
  for (char& letter : label) {
    bool plain = std::isalnum(static_cast<unsigned char>(letter)) || letter == '_' ||
                 letter == '.' || letter == '-';
    if (!plain) letter = '-';
  }
  return label;
}

std::string time_text(double wall) {
  auto seconds = static_cast<time_t>(wall);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d-%H%M%S", &parts);
  return text;
}

class TwoWaySync {
 public:
  TwoWaySync(Services& services, Json fields, SyncOptions options, SyncProgressFn progress)
      : services_(services),
        fields_(std::move(fields)),
        options_(std::move(options)),
        progress_(std::move(progress)) {
    sides_[0] = field(fields_, "from");
    sides_[1] = field(fields_, "to");
  }
  TwoWaySync(const TwoWaySync&) = delete;
  TwoWaySync& operator=(const TwoWaySync&) = delete;

  Co<Result<Json>> run() {
    Result<std::string> place = memory_path(services_, fields_);
    if (!place) co_return place.error();
    Result<MemoryFile> opened = MemoryFile::open(*place);
    if (!opened) co_return opened.error();
    file_.emplace(std::move(*opened));
    memory_ = file_->take();
    if (!file_->problem().empty()) skipped_[""] = file_->problem();
    staging_ = staging_name(file_->id());
    for (int round = 1; round <= kMostRounds; ++round) {
      Result<bool> went_on = co_await do_round();
      if (!went_on) co_return went_on.error();
      if (!*went_on) break;
    }
    co_return report();
  }

 private:
  static size_t at(TwoWaySide side) { return side == TwoWaySide::from ? 0 : 1; }

  Co<Result<std::vector<Json>>> ask(size_t side, std::string question, Json details,
                                    std::vector<Json> items) {
    Result<TransferSide> opened = co_await open_side(services_, sides_[side]);
    if (!opened) co_return opened.error();
    SyncEnd end = end_of(*opened);
    Json asked = side_question(question, end.path, std::move(details));
    Result<std::vector<Json>> told =
        co_await ask_place(services_.loop, std::move(end), std::move(asked), std::move(items));
    co_return told;
  }

  // False when nothing was left to do, or nothing of it could be done.
  Co<Result<bool>> do_round() {
    Status looked = co_await look();
    if (!looked) co_return looked.error();
    std::map<std::string, bool> equal;
    TwoWayPlan plan = plan_two_way({memory_, lists_[0].entries, lists_[1].entries, equal, frozen_});
    if (!plan.compare.empty()) {
      Status compared = co_await compare(plan.compare, equal);
      if (!compared) co_return compared.error();
      plan = plan_two_way({memory_, lists_[0].entries, lists_[1].entries, equal, frozen_});
    }
    if (options_.dry_run) {
      plan_ = std::move(plan.actions);
      co_return false;
    }
    for (const std::string& path : plan.agreed) remember(path);
    for (const std::string& path : plan.forgotten) memory_.erase(path);
    Status checked = co_await check_removals(plan.actions);
    if (!checked) co_return checked.error();
    troubles_.clear();
    bool did = false;
    for (TwoWaySide side : {TwoWaySide::to, TwoWaySide::from}) {
      Result<bool> done = co_await change(side, plan.actions);
      if (!done) co_return done.error();
      did = did || *done;
    }
    Status kept = file_->save(memory_, lists_[0].root_id, lists_[1].root_id);
    if (!kept) co_return kept.error();
    co_return did;
  }

  // What is at both sides, without what either ignores.
  Co<Status> look() {
    frozen_.clear();
    for (size_t side = 0; side < 2; ++side) {
      Json details = {{"exclude", options_.exclude},
                      {"use_ignore_files", options_.use_ignore_files}};
      std::vector<Json> nothing;
      Result<std::vector<Json>> items =
          co_await ask(side, "list", std::move(details), std::move(nothing));
      if (!items) co_return items.error();
      Result<SideList> list = list_from_items(*items);
      if (!list) co_return list.error();
      lists_[side] = std::move(*list);
      Status sane = check_root(side);
      if (!sane) co_return sane;
      for (const std::string& path : lists_[side].frozen) frozen_.insert(path);
      for (const SyncNote& note : lists_[side].notes) skipped_[note.path] = note.why;
    }
    if (lists_[0].absent && lists_[1].absent)
      co_return Error(ErrorKind::not_found, "there is nothing at either side of the sync");
    ignore_both_ways();
    co_return done();
  }

  // A disk that is not mounted is no wish to delete everything.
  Status check_root(size_t side) {
    const SideList& list = lists_[side];
    bool another = list.root_id != (side == 0 ? file_->from_root() : file_->to_root());
    if (memory_.empty() || !(list.absent || (list.entries.empty() && another))) return done();
    return Error(ErrorKind::refused,
                 "two-way sync: " + choline::quoted(text_field(sides_[side], "path")) + " (" +
                     label_of(sides_[side]) + ") is " +
                     (list.absent ? "not there" : "another folder, and empty") +
                     ", though it was synced before; nothing was changed. If that is meant, begin "
                     "anew: remove " +
                     file_->path());
  }

  void ignore_both_ways() {
    for (size_t side = 0; side < 2; ++side) {
      IgnoreRules rules;
      for (const IgnoreFile& rule : lists_[side].rules) rules.add(rule);
      if (lists_[side].rules.empty()) continue;
      std::set<std::string> paths;
      for (const auto& [path, entry] : lists_[1 - side].entries) {
        if (rules.covers(path, entry.kind == EntryKind::folder)) paths.insert(path);
      }
      for (const auto& [path, agreed] : memory_) {
        if (rules.covers(path, agreed.from.kind == EntryKind::folder)) paths.insert(path);
      }
      frozen_.insert(paths.begin(), paths.end());
    }
  }

  Co<Status> compare(const std::vector<std::string>& paths, std::map<std::string, bool>& equal) {
    std::vector<Json> asked(paths.begin(), paths.end());
    std::vector<Json> told[2];
    for (size_t side = 0; side < 2; ++side) {
      Json details = Json::object();
      std::vector<Json> items = asked;
      Result<std::vector<Json>> digests =
          co_await ask(side, "digests", std::move(details), std::move(items));
      if (!digests) co_return digests.error();
      if (digests->size() != paths.size())
        co_return Error(ErrorKind::invalid, "two-way sync: a side left out digests");
      told[side] = std::move(*digests);
    }
    for (size_t each = 0; each < paths.size(); ++each) {
      bool read = told[0][each] != Json("") && told[1][each] != Json("");
      if (!read) frozen_.insert(paths[each]);
      equal[paths[each]] = told[0][each] == told[1][each];
    }
    co_return done();
  }

  // What goes at one side must really be absent at the other, and not only be left out there.
  Co<Status> check_removals(std::vector<TwoWayAction>& actions) {
    for (TwoWaySide side : {TwoWaySide::from, TwoWaySide::to}) {
      std::vector<Json> paths;
      size_t there = at(other(side));
      for (const TwoWayAction& action : actions) {
        bool goes = action.what == What::remove && action.side == side;
        if (goes && !lists_[there].entries.contains(action.path)) paths.push_back(action.path);
      }
      if (paths.empty()) continue;
      Json details = Json::object();
      Result<std::vector<Json>> present =
          co_await ask(there, "present", std::move(details), std::move(paths));
      if (!present) co_return present.error();
      std::set<Json> stay(present->begin(), present->end());
      std::erase_if(actions, [&](const TwoWayAction& action) {
        return action.what == What::remove && stay.contains(Json(action.path));
      });
    }
    co_return done();
  }

  // Brings what is to be copied to `side` beside its place there.
  Co<Status> stage(TwoWaySide side, std::vector<std::string> paths) {
    for (size_t next = 0; next < paths.size();) {
      SyncOptions options = options_;
      options.delete_extra = options.compare_content = false;
      for (size_t bytes = 0; next < paths.size() && bytes < kPathsAtOnce; ++next) {
        bytes += paths[next].size();
        options.only.push_back(paths[next]);
      }
      Result<TransferSide> from = co_await open_side(services_, sides_[at(other(side))]);
      if (!from) co_return from.error();
      Result<TransferSide> to = co_await open_side(services_, sides_[at(side)]);
      if (!to) co_return to.error();
      SyncEnd source = end_of(*from), target = end_of(*to);
      target.path += "/" + staging_;
      Result<SyncReport> moved = co_await sync_files(services_.loop, std::move(source),
                                                     std::move(target), options, progress_);
      if (!moved) co_return moved.error();
      bytes_ += moved->bytes_moved;
      for (const SyncNote& note : moved->failed) did_not_come_[note.path] = note.why;
    }
    co_return done();
  }

  SideChange wish_for(const TwoWayAction& action, std::set<std::string>& removed) {
    size_t here = at(action.side);
    SideChange wish;
    wish.what = action.what;
    wish.path = action.path;
    auto there = lists_[1 - here].entries.find(action.path);
    if (there != lists_[1 - here].entries.end()) wish.as = there->second;
    auto now = lists_[here].entries.find(action.path);
    bool expects = now != lists_[here].entries.end() && !removed.contains(action.path);
    if (expects) wish.expect = now->second;
    if (action.what == What::remove || action.what == What::aside) removed.insert(action.path);
    wish.label = label_of(sides_[here]);
    wish.time = time_text(services_.loop.wall());
    return wish;
  }

  // All that is to be done at one side. True when any of it was.
  Co<Result<bool>> change(TwoWaySide side, const std::vector<TwoWayAction>& actions) {
    std::vector<const TwoWayAction*> mine;
    std::vector<std::string> copies;
    for (const TwoWayAction& action : actions) {
      if (action.side != side) continue;
      mine.push_back(&action);
      if (action.what == What::copy) copies.push_back(action.path);
    }
    if (mine.empty()) co_return false;
    did_not_come_.clear();
    Status staged = co_await stage(side, std::move(copies));
    if (!staged) co_return staged.error();
    std::set<std::string> removed;
    std::vector<Json> items;
    items.reserve(mine.size());
    for (const TwoWayAction* action : mine) items.push_back(to_json(wish_for(*action, removed)));
    Json details = {{"staging", staging_}};
    Result<std::vector<Json>> told =
        co_await ask(at(side), "change", std::move(details), std::move(items));
    if (!told) co_return told.error();
    if (told->size() != mine.size())
      co_return Error(ErrorKind::invalid, "two-way sync: a side left out what became of changes");
    bool did = false;
    for (size_t each = 0; each < mine.size(); ++each) {
      Result<SideResult> result = side_result_from_json((*told)[each]);
      if (!result) co_return result.error();
      take(*mine[each], *result);
      did = did || result->ok;
    }
    co_return did;
  }

  void take(const TwoWayAction& action, const SideResult& result) {
    size_t here = at(action.side);
    if (!result.ok) {
      auto known = did_not_come_.find(action.path);
      troubles_[action.path] = known == did_not_come_.end() ? result.why : known->second;
      return;
    }
    switch (action.what) {
      case What::aside:
        conflicts_.push_back(
            {{"path", action.path}, {"kept", result.kept}, {"side", label_of(sides_[here])}});
        return;
      case What::remove:
        memory_.erase(action.path);
        ++deleted_;
        return;
      case What::copy:
        ++files_;
        break;
      default:
        ++touched_;
    }
    auto there = lists_[1 - here].entries.find(action.path);
    if (there == lists_[1 - here].entries.end() || !result.now) return;
    Agreed& agreed = memory_[action.path];
    (here == 0 ? agreed.from : agreed.to) = *result.now;
    (here == 0 ? agreed.to : agreed.from) = there->second;
  }

  void remember(const std::string& path) {
    memory_[path] = Agreed{lists_[0].entries.at(path), lists_[1].entries.at(path)};
  }

  Json plan_json() const {
    Json plan = Json::array();
    for (const TwoWayAction& action : plan_) {
      size_t there = at(other(action.side));
      auto entry = lists_[there].entries.find(action.path);
      uint64_t bytes = action.what == What::copy && entry != lists_[there].entries.end()
                           ? entry->second.size
                           : 0;
      plan.push_back({{"path", action.path},
                      {"why", word_of(action.what)},
                      {"bytes", bytes},
                      {"to", label_of(sides_[at(action.side)])}});
    }
    return plan;
  }

  Result<Json> report() const {
    Json skipped = Json::array(), failed = Json::array();
    for (const auto& [path, why] : skipped_) skipped.push_back({{"path", path}, {"why", why}});
    for (const auto& [path, why] : troubles_) {
      bool later = why == kAsBefore || why == kNotEmpty;
      (later ? skipped : failed).push_back({{"path", path}, {"why", why}});
    }
    uint64_t files = files_, bytes = bytes_, deleted = deleted_;
    for (const TwoWayAction& action : plan_) {
      if (action.what == What::copy) ++files;
      if (action.what == What::remove) ++deleted;
    }
    Json told = {{"files", files},
                 {"deleted", deleted},
                 {"unchanged", memory_.size() - std::min(memory_.size(), files_)},
                 {"conflicts", conflicts_},
                 {"skipped", std::move(skipped)}};
    if (options_.dry_run) {
      told["plan"] = plan_json();
      for (const Json& each : told["plan"]) bytes += each["bytes"].get<uint64_t>();
    }
    told["bytes"] = bytes;
    if (failed.empty()) return told;
    std::string message = "sync " + choline::quoted(text_field(fields_, "name")) + ": " +
                          choline::quoted(failed[0]["path"].get<std::string>()) + ": " +
                          failed[0]["why"].get<std::string>();
    if (failed.size() > 1) message += ", and " + std::to_string(failed.size() - 1) + " more";
    told["failed"] = std::move(failed);
    return Error(ErrorKind::io, message, std::move(told));
  }

  Services& services_;
  Json fields_;
  SyncOptions options_;
  SyncProgressFn progress_;
  Json sides_[2];
  std::optional<MemoryFile> file_;
  TwoWayMemory memory_;
  std::string staging_;
  SideList lists_[2];
  std::set<std::string, std::less<>> frozen_;
  std::vector<TwoWayAction> plan_;  // of a dry run
  std::map<std::string, std::string> skipped_, troubles_, did_not_come_;
  Json conflicts_ = Json::array();
  uint64_t files_ = 0, bytes_ = 0, deleted_ = 0, touched_ = 0;
};

}  // namespace

Co<Result<Json>> sync_two_ways(Services& services, Json fields, SyncOptions options,
                               SyncProgressFn progress) {
  TwoWaySync sync(services, std::move(fields), std::move(options), std::move(progress));
  Result<Json> done = co_await sync.run();
  co_return done;
}

}  // namespace choline
