// Trees of files as the test thinks of them, next to what is on the disk. Nothing here uses the
// engine's own code for reading trees.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sim/random.h"

namespace choline::moves {

using sim::Dice;

enum class Kind { file, folder, link, fifo };

struct Node {
  Kind kind = Kind::file;
  std::shared_ptr<const std::string> bytes;  // of a file; where a link points
  unsigned mode = 0644;
  int64_t mtime = 0;  // nanoseconds; of files only

  const std::string& text() const { return *bytes; }
};

// What a sync promises to carry, by path relative to the root.
using Tree = std::map<std::string, Node>;

bool same(const Node& a, const Node& b);
std::string describe(const Node& node);
// The folder of a path, "" at the top.
std::string parent(const std::string& path);
bool is_below(std::string_view path, std::string_view folder);

// Reads what is on the disk. Files that a receiver is writing are counted, not read.
struct Found {
  Tree tree;
  size_t parts = 0;
};
Found read_tree(const std::string& folder);

// A tree on the disk that is changed at random, and what it has been.
class Garden {
 public:
  Garden(std::string folder, Dice& dice) : folder_(std::move(folder)), dice_(dice) {}

  void grow(int entries);
  // One change of any sort; says in words which. `sneaky`: contents may change although size and
  // time stay.
  std::string change(bool sneaky);
  // The same, of the biggest file, and where it lies.
  size_t put_long_file();  // its size
  std::string change_biggest();
  // From now on no time is given twice, so that equal size and time mean equal contents.
  void use_new_times() { new_times_ = 1; }
  // Becomes what the other is now, down to the times.
  void become(const Garden& other);

  void put(const std::string& path, Node node);
  void erase(const std::string& path);
  bool is_free(const std::string& path) const { return !tree_.contains(path); }

  const std::string& folder() const { return folder_; }
  const Tree& tree() const { return tree_; }
  // What is there after a sync wrote into it.
  void look_again() { tree_ = read_tree(folder_).tree; }
  // The digest of every content that a file here ever had.
  const std::set<uint64_t>& contents() const { return contents_; }

 private:
  std::string new_path();
  std::string pick(Kind kind);
  Node new_node();
  std::shared_ptr<const std::string> new_bytes();
  int64_t new_time();
  std::string change_file(const std::string& path, bool sneaky);
  std::string rename(const std::string& path);
  void write(const std::string& path, const Node& node) const;
  void write_in_place(const std::string& path, const Node& node) const;
  void set_times(const std::string& path, const Node& node) const;
  void remember(const Node& node);

  std::string folder_;
  Dice& dice_;
  Tree tree_;
  std::set<uint64_t> contents_;
  int64_t new_times_ = 0;
};

uint64_t content_of(const Node& node);

}  // namespace choline::moves
