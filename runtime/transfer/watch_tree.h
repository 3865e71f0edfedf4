// Tells that something may have changed in a tree of files, by inotify. No loop: whoever has one
// waits for the descriptor. The agent compiles it too.
#pragma once

#include <dirent.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "transfer/ignore.h"

namespace choline {

struct WatchOptions {
  std::vector<std::string> exclude;
  bool use_ignore_files = true;
  size_t most_folders = 50'000;
};

class TreeWatch {
 public:
  // Kind not_found when nothing is at `path`. What is to be watched is gathered by step().
  static Result<std::unique_ptr<TreeWatch>> open(const std::string& path, WatchOptions options);
  TreeWatch(const TreeWatch&) = delete;
  TreeWatch& operator=(const TreeWatch&) = delete;

  int fd() const { return notify_.get(); }  // readable when there is something for drain()
  // Folders are left that nobody watches yet.
  bool busy() const { return !waiting_.empty() || reading_; }
  // Takes up some of them; a big folder takes several calls.
  void step();
  // Reads what came. True when something that is not ignored may have changed.
  bool drain();
  // Why changes can escape it, or nothing: there are too many folders, or the system allows no
  // more.
  const std::string& limited() const { return limited_; }

 private:
  TreeWatch(std::string root, WatchOptions options);
  struct CloseFolder {
    void operator()(DIR* folder) const { ::closedir(folder); }
  };

  void begin_folder(const std::string& folder);
  void read_rules(const std::string& folder);
  void forget_below(const std::string& folder);
  void reset_rules();
  bool is_ignored(const std::string& path, bool is_folder) const;
  bool take(int watch, unsigned mask, std::string_view name);
  std::string place(const std::string& folder) const;

  std::string root_;
  std::string single_;  // of a file: its name in the folder `root_`
  WatchOptions options_;
  UniqueFd notify_;
  IgnoreRules rules_;
  std::map<int, std::string> folders_;  // by watch, relative to the root
  std::deque<std::string> waiting_;
  std::string reading_folder_;
  std::unique_ptr<DIR, CloseFolder> reading_;
  std::string limited_;
};

// Gathers changes until there is quiet, so that one look is made for many of them.
class Quiet {
 public:
  void changed(double now) {
    if (first_ == 0) first_ = now;
    last_ = now;
  }
  bool pending() const { return first_ > 0; }
  // When the changes so far are to be told; only while pending.
  double due() const { return std::min(last_ + kQuiet, first_ + kLongest); }
  void told() { first_ = last_ = 0; }

 private:
  static constexpr double kQuiet = 0.15;   // seconds without a change
  static constexpr double kLongest = 2.0;  // of one that goes on and on
  double first_ = 0, last_ = 0;
};

}  // namespace choline
