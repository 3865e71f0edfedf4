#include "transfer/checkpoint.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

namespace choline {

namespace {

bool has_unfinished_end(std::string_view name) {
  return name.ends_with(".tmp") || name.ends_with(".part") || name.ends_with(".partial");
}

std::string_view last_name(std::string_view path) {
  size_t slash = path.find_last_of('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// Why a checkpoint stays behind; absent ones are complete.
using Reasons = std::map<std::string, std::string, std::less<>>;

Reasons judge_names(const Tree& tree) {
  Reasons reasons;
  for (const Entry& entry : tree.entries) {
    std::string_view unit = checkpoint_of(entry.path);
    std::string_view name = last_name(entry.path);
    bool top = unit.size() == entry.path.size();
    std::string why;
    if (top && (name.starts_with('.') || name.starts_with("tmp-"))) {
      why = "its name says that it is not finished";
    } else if (has_unfinished_end(name)) {
      why = top ? "its name says that it is not finished"
                : "holds '" + std::string(name) + "', which is not finished";
    } else if (!top && name == kIncompleteMarker) {
      why = "holds " + std::string(kIncompleteMarker);
    }
    if (!why.empty()) reasons.emplace(unit, std::move(why));
  }
  return reasons;
}

double newest_change(const Tree& tree) {
  int64_t newest = 0;
  for (const Entry& entry : tree.entries)
    newest = std::max({newest, entry.mtime_ns, entry.ctime_ns});
  return static_cast<double>(newest) * 1e-9;
}

double wall_seconds() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

bool is_same(const Entry& a, const Entry& b) {
  return a.path == b.path && a.kind == b.kind && a.size == b.size && a.mtime_ns == b.mtime_ns &&
         a.ctime_ns == b.ctime_ns;
}

// Checkpoints of which anything differs between two looks.
void judge_changes(const Tree& first, const Tree& second, Reasons& reasons) {
  constexpr const char* kWriting = "is still being written";
  size_t a = 0, b = 0;
  while (a < first.entries.size() || b < second.entries.size()) {
    bool only_first =
        b == second.entries.size() ||
        (a < first.entries.size() && path_less(first.entries[a].path, second.entries[b].path));
    bool only_second = !only_first && (a == first.entries.size() ||
                                       path_less(second.entries[b].path, first.entries[a].path));
    if (only_first) {
      reasons.emplace(checkpoint_of(first.entries[a++].path), kWriting);
    } else if (only_second) {
      reasons.emplace(checkpoint_of(second.entries[b++].path), kWriting);
    } else if (!is_same(first.entries[a++], second.entries[b++])) {
      reasons.emplace(checkpoint_of(second.entries[b - 1].path), kWriting);
    }
  }
}

// False when asked to stop.
bool wait_for(double seconds, const std::atomic<bool>* stop) {
  for (double left = seconds; left > 0; left -= 0.05) {
    if (stop && *stop) return false;
    double nap = std::min(left, 0.05);
    timespec time{0, static_cast<long>(nap * 1e9)};
    nanosleep(&time, nullptr);
  }
  return true;
}

// The number at the end of a name, before its extensions: "step-00100.tar.pt" has 100.
std::optional<uint64_t> step_of(std::string_view name) {
  auto digit = [](char letter) { return letter >= '0' && letter <= '9'; };
  for (;;) {
    size_t start = name.size();
    while (start > 0 && digit(name[start - 1])) --start;
    if (start < name.size()) {
      uint64_t step = 0;
      std::string_view digits = name.substr(start);
      auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
      return status == std::errc() ? std::optional<uint64_t>(step) : std::nullopt;
    }
    size_t dot = name.find_last_of('.');
    if (dot == std::string_view::npos || dot == 0) return std::nullopt;
    name = name.substr(0, dot);
  }
}

}  // namespace

std::string_view checkpoint_of(std::string_view path) {
  return path.substr(0, path.find('/'));
}

Result<Tree> scan_checkpoints(const std::string& path, const ScanOptions& scan, double settle,
                              const std::atomic<bool>* stop) {
  Result<Tree> tree = scan_tree(path, scan, stop);
  if (!tree.ok()) return tree;
  Reasons reasons = judge_names(*tree);
  double age = wall_seconds() - newest_change(*tree);
  // A time in the future says nothing: look twice as well.
  if (!tree->entries.empty() && settle > 0 && age < settle) {
    if (!wait_for(age < 0 ? settle : settle - age, stop)) {
      return Error(ErrorKind::cancelled, "transfer: stopped");
    }
    Result<Tree> again = scan_tree(path, scan, stop);
    if (!again.ok()) return again;
    judge_changes(*tree, *again, reasons);
    for (auto& [unit, why] : judge_names(*again)) reasons.emplace(unit, why);
    tree = std::move(again);
  }
  // What could not be read might belong to it.
  for (const SyncNote& note : tree->failed) {
    reasons.emplace(checkpoint_of(note.path), "cannot be read whole: " + note.why);
  }
  std::erase_if(tree->entries,
                [&](const Entry& entry) { return reasons.contains(checkpoint_of(entry.path)); });
  for (const auto& [unit, why] : reasons) add_note(tree->skipped, unit, why);
  return tree;
}

Result<std::vector<Checkpoint>> find_checkpoints(const std::string& path) {
  ScanOptions options;
  options.use_ignore_files = false;
  Result<Tree> tree = scan_checkpoints(path, options, 0, nullptr);
  if (!tree.ok() && tree.error().kind == ErrorKind::not_found) return std::vector<Checkpoint>();
  if (!tree.ok()) return tree.error();
  std::vector<Checkpoint> list;
  for (const Entry& entry : tree->entries) {
    std::string_view unit = checkpoint_of(entry.path);
    if (list.empty() || list.back().name != unit) {
      Checkpoint checkpoint;
      checkpoint.name = unit;
      checkpoint.step = step_of(unit);
      list.push_back(std::move(checkpoint));
    }
    list.back().bytes += entry.size;
    list.back().mtime = std::max(list.back().mtime, static_cast<double>(entry.mtime_ns) * 1e-9);
  }
  // A folder with no file in it is none yet.
  std::erase_if(list, [](const Checkpoint& each) { return each.mtime == 0; });
  std::sort(list.begin(), list.end(), [](const Checkpoint& a, const Checkpoint& b) {
    if (a.step != b.step) return a.step < b.step;
    return a.mtime != b.mtime ? a.mtime < b.mtime : a.name < b.name;
  });
  return list;
}

}  // namespace choline
