#include "transfer/two_way.h"

#include <algorithm>

namespace choline {

namespace {

using What = TwoWayAction::What;
constexpr size_t kLongestName = 255;

const SideEntry* find(const SideEntries& entries, const std::string& path) {
  auto found = entries.find(path);
  return found == entries.end() ? nullptr : &found->second;
}

bool is_folder(const SideEntry* entry) {
  return entry && entry->kind == EntryKind::folder;
}

// As it was when both agreed. The times of a folder say nothing about it.
bool is_same(const SideEntry* now, const SideEntry* then) {
  if (!now || !then) return !now && !then;
  if (now->kind != then->kind) return false;
  switch (now->kind) {
    case EntryKind::folder:
      return now->mode == then->mode;
    case EntryKind::link:
      return now->link == then->link;
    case EntryKind::file:
      return now->size == then->size && now->mtime_ns == then->mtime_ns &&
             now->mode == then->mode && now->ctime_ns == then->ctime_ns && now->ctime_ns != 0;
  }
  return false;
}

class Planner {
 public:
  explicit Planner(const TwoWayInput& input) : in_(input) {}

  TwoWayPlan run() {
    std::set<std::string, PathOrder> paths;
    for (const auto& [path, agreed] : in_.memory) paths.insert(path);
    for (const auto& [path, entry] : in_.from) paths.insert(path);
    for (const auto& [path, entry] : in_.to) paths.insert(path);
    // From below, so that a folder knows whether something in it stays.
    for (auto path = paths.rbegin(); path != paths.rend(); ++path) decide(*path);
    put_in_order();
    return std::move(plan_);
  }

 private:
  struct Seen {
    const SideEntry *from, *to;
    const Agreed* then;
    bool from_changed, to_changed;
  };

  bool is_frozen(std::string_view path) const {
    for (size_t slash = path.find('/'); slash != std::string_view::npos;
         slash = path.find('/', slash + 1)) {
      if (in_.frozen.contains(path.substr(0, slash))) return true;
    }
    return in_.frozen.contains(path);
  }

  void decide(const std::string& path) {
    if (is_frozen(path)) return;
    Seen seen{find(in_.from, path), find(in_.to, path), nullptr, false, false};
    auto known = in_.memory.find(path);
    if (known != in_.memory.end()) seen.then = &known->second;
    seen.from_changed = !is_same(seen.from, seen.then ? &seen.then->from : nullptr);
    seen.to_changed = !is_same(seen.to, seen.then ? &seen.then->to : nullptr);
    if (!seen.from && !seen.to) return forget(path);
    if (seen.from && seen.to) return decide_both(path, seen);
    decide_one(path, seen);
  }

  // It is at one side only: new or changed there, or gone from the other.
  void decide_one(const std::string& path, const Seen& seen) {
    TwoWaySide here = seen.from ? TwoWaySide::from : TwoWaySide::to;
    const SideEntry* entry = seen.from ? seen.from : seen.to;
    bool changed = seen.from ? seen.from_changed : seen.to_changed;
    bool needed = needed_.contains(path);  // as a folder, by something that stays in it
    if (is_folder(entry)) {
      // A folder whose mode changed is no reason to bring back what was removed.
      bool was_folder = seen.then && is_folder(seen.from ? &seen.then->from : &seen.then->to);
      if (was_folder && !needed) return act(What::remove, here, path);
      keep_above(path);
      return act(What::folder, other(here), path);
    }
    if (!changed) return act(What::remove, here, path);
    keep_above(path);
    act(What::copy, other(here), path);
  }

  void decide_both(const std::string& path, const Seen& seen) {
    bool from_folder = is_folder(seen.from), to_folder = is_folder(seen.to);
    if (from_folder && to_folder) {
      keep_above(path);
      if (seen.from->mode == seen.to->mode) return agree(path, seen);
      bool from_wins = seen.from_changed || !seen.then;
      return act(What::adjust, from_wins ? TwoWaySide::to : TwoWaySide::from, path);
    }
    if (from_folder || to_folder) return decide_kinds(path, seen, from_folder);
    keep_above(path);
    if (!seen.from_changed && !seen.to_changed) return;
    decide_contents(path, seen);
  }

  // A folder at one side, something else at the other.
  void decide_kinds(const std::string& path, const Seen& seen, bool from_folder) {
    TwoWaySide folder = from_folder ? TwoWaySide::from : TwoWaySide::to;
    TwoWaySide file = other(folder);
    bool file_changed = from_folder ? seen.to_changed : seen.from_changed;
    bool folder_is_old = seen.then && is_folder(from_folder ? &seen.then->from : &seen.then->to);
    keep_above(path);
    if (needed_.contains(path) || !folder_is_old) {
      // The folder stays. A file that is as it was when both agreed was replaced by it.
      act(file_changed ? What::aside : What::remove, file, path);
      return act(What::folder, file, path);
    }
    // The folder was replaced, and nothing in it stays.
    act(What::remove, folder, path);
    act(What::copy, folder, path);
  }

  void decide_contents(const std::string& path, const Seen& seen) {
    bool both_files = seen.from->kind == EntryKind::file && seen.to->kind == EntryKind::file;
    bool both_links = seen.from->kind == EntryKind::link && seen.to->kind == EntryKind::link;
    if (both_links && seen.from->link == seen.to->link) return agree(path, seen);
    if (both_files && seen.from->size == seen.to->size) {
      auto known = in_.equal.find(path);
      if (known == in_.equal.end()) {
        plan_.compare.push_back(path);
        return;
      }
      if (known->second) return decide_details(path, seen);
    }
    if (seen.from_changed && seen.to_changed) return conflict(path, TwoWaySide::to);
    act(What::copy, seen.from_changed ? TwoWaySide::to : TwoWaySide::from, path);
  }

  // Equal contents: the mode, and the time when only one side has another than before.
  void decide_details(const std::string& path, const Seen& seen) {
    bool same_mode = seen.from->mode == seen.to->mode;
    bool one_changed = seen.from_changed != seen.to_changed;
    bool same_time = seen.from->mtime_ns == seen.to->mtime_ns || !one_changed;
    if (same_mode && same_time) return agree(path, seen);
    act(What::adjust, seen.from_changed ? TwoWaySide::to : TwoWaySide::from, path);
  }

  void conflict(const std::string& path, TwoWaySide side) {
    keep_above(path);
    act(What::aside, side, path);
  }

  // All folders above stay, whatever became of them at either side.
  void keep_above(std::string_view path) {
    for (size_t slash = path.rfind('/'); slash != std::string_view::npos && slash > 0;
         slash = path.rfind('/', slash - 1)) {
      if (!needed_.insert(std::string(path.substr(0, slash))).second) return;
    }
  }

  void act(What what, TwoWaySide side, const std::string& path) {
    plan_.actions.push_back({what, side, path});
  }
  void agree(const std::string& path, const Seen& seen) {
    bool known = seen.then && seen.then->from == *seen.from && seen.then->to == *seen.to;
    if (!known) plan_.agreed.push_back(path);
  }
  void forget(const std::string& path) { plan_.forgotten.push_back(path); }

  // Conflicts first; then what goes, inner things first; then folders from the top down; then
  // files.
  void put_in_order() {
    auto rank = [](const TwoWayAction& action) {
      switch (action.what) {
        case What::aside:
          return 0;
        case What::remove:
          return 1;
        case What::folder:
          return 2;
        default:
          return 3;
      }
    };
    std::stable_sort(plan_.actions.begin(), plan_.actions.end(),
                     [&](const TwoWayAction& a, const TwoWayAction& b) {
                       if (rank(a) != rank(b)) return rank(a) < rank(b);
                       return rank(a) == 1 ? path_less(b.path, a.path) : path_less(a.path, b.path);
                     });
  }

  const TwoWayInput& in_;
  std::set<std::string, std::less<>> needed_;
  TwoWayPlan plan_;
};

}  // namespace

TwoWayPlan plan_two_way(const TwoWayInput& input) {
  return Planner(input).run();
}

std::string conflict_name(std::string_view path, std::string_view side, std::string_view time,
                          int number) {
  size_t slash = path.rfind('/');
  std::string folder(slash == std::string_view::npos ? "" : path.substr(0, slash + 1));
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  size_t dot = name.rfind('.');
  bool has_end = dot != std::string_view::npos && dot > 0 && name.size() - dot <= 16;
  std::string_view stem = has_end ? name.substr(0, dot) : name;
  std::string_view end = has_end ? name.substr(dot) : std::string_view();
  std::string mark = ".conflict-" + std::string(side.substr(0, 64)) + "-" + std::string(time);
  if (number > 1) mark += "-" + std::to_string(number);
  size_t room = kLongestName - mark.size() - end.size();
  return folder + std::string(stem.substr(0, room)) + mark + std::string(end);
}

}  // namespace choline
