// What a two-way sync does, decided from three things: how both sides were when they last agreed,
// and how each is now. Pure: no disk, no clock. A change is a difference from the memory, never a
// newer time, so clocks that differ do not matter. See docs/design/transfer.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "transfer/tree.h"

namespace choline {

// A path at one side.
struct SideEntry {
  EntryKind kind = EntryKind::file;
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;  // 0: changed so lately that the next change may bear the same times
  uint32_t mode = 0;
  std::string link;
  bool operator==(const SideEntry&) const = default;
};

struct PathOrder {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return path_less(a, b); }
};
using SideEntries = std::map<std::string, SideEntry, PathOrder>;

// A path at both sides when they agreed.
struct Agreed {
  SideEntry from, to;
};
using TwoWayMemory = std::map<std::string, Agreed, PathOrder>;

enum class TwoWaySide : uint8_t { from, to };
inline TwoWaySide other(TwoWaySide side) {
  return side == TwoWaySide::from ? TwoWaySide::to : TwoWaySide::from;
}

struct TwoWayAction {
  enum class What : uint8_t {
    copy,    // a file or link of the other side comes to `side`
    folder,  // a folder is made at `side`
    remove,  // goes at `side`, as it has gone at the other
    aside,   // a conflict: gets another name at `side`; the next round copies both
    adjust,  // equal contents: mode and time at `side` become those of the other
  };
  What what = What::copy;
  TwoWaySide side = TwoWaySide::to;
  std::string path;
};

struct TwoWayPlan {
  // Files of equal size that only their contents can tell apart. Nothing else in the plan is to be
  // done before their digests are known.
  std::vector<std::string> compare;
  std::vector<TwoWayAction> actions;  // in an order in which they can be done, for each side
  std::vector<std::string> agreed;    // to be remembered as they are
  std::vector<std::string> forgotten;
};

struct TwoWayInput {
  const TwoWayMemory& memory;
  const SideEntries& from;
  const SideEntries& to;
  // Whether the contents at both sides are equal, for paths that a plan asked to compare.
  const std::map<std::string, bool>& equal;
  // Left alone with all below: what could not be read, or is ignored at either side.
  const std::set<std::string, std::less<>>& frozen;
};

TwoWayPlan plan_two_way(const TwoWayInput& input);

// "notes.conflict-gpu-2026-11-21-175100.txt" for "notes.txt"; `number` from 2 on tells apart those
// of one second. Never longer than a name may be.
std::string conflict_name(std::string_view path, std::string_view side, std::string_view time,
                          int number);

}  // namespace choline
