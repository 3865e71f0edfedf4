// A walk of a tree on a thread of its own, which runs some way ahead of who takes its batches: both
// ends of a transfer read their trees at the same time, and neither holds a whole one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/result.h"
#include "transfer/entries.h"
#include "transfer/handoff.h"
#include "transfer/tree.h"

namespace choline {

struct RecordBatch {
  std::string bytes;     // for a RecordReader
  uint32_t entries = 0;  // how many of the records have an index
};

struct WalkOptions {
  ScanOptions scan;
  bool with_rules = false;    // files of ignore rules become records
  bool outside_links = true;  // else links that lead out of the tree are left out, and said
};

class TreeWalk {
 public:
  TreeWalk(TreePlace place, WalkOptions options, const std::atomic<bool>* stop);
  TreeWalk(const TreeWalk&) = delete;
  TreeWalk& operator=(const TreeWalk&) = delete;
  ~TreeWalk();  // ends the walk

  // Nothing at its end, which may be an error.
  Result<std::optional<RecordBatch>> next();
  // Nobody wants what is below this folder, nor anything before it.
  void pass(std::string_view folder);
  // After the end.
  TreePlace& place() { return place_; }

 private:
  class Sink;
  void run();

  TreePlace place_;
  WalkOptions options_;
  const std::atomic<bool>* stop_;
  Handoff<RecordBatch> batches_;
  std::string passed_;  // of the hand-off's lock
  Status result_ = done();
  std::thread thread_;
};

// The records of a walk one by one, compared with paths that come in the same order.
class WalkReader {
 public:
  explicit WalkReader(std::unique_ptr<TreeWalk> walk) : walk_(std::move(walk)) {}
  // Null at the end; the same until pop().
  Result<const Record*> peek();
  void pop() { have_ = false; }
  // Leaves out what is below `folder`, which was just popped.
  void pass(std::string_view folder);

 private:
  std::unique_ptr<TreeWalk> walk_;  // gone at its end
  RecordBatch batch_;
  RecordReader reader_;
  Record record_;
  std::string below_;  // what is left out
  bool have_ = false;
};

}  // namespace choline
