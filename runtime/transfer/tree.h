// What is in a tree of files, in an order that both ends agree on.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "transfer/ignore.h"
#include "transfer/options.h"

namespace choline {

enum class EntryKind : uint8_t { file = 1, folder = 2, link = 3 };

struct Entry {
  std::string path;  // relative, without "." and ".."; any bytes but NUL
  EntryKind kind = EntryKind::file;
  uint64_t size = 0;     // files only
  int64_t mtime_ns = 0;  // files only
  uint32_t mode = 0;     // permission bits; not of links
  std::string link;      // where a link points
  int64_t ctime_ns = 0;  // known to the scan only; does not travel
};

struct Tree {
  std::vector<Entry> entries;  // by path_less, each folder before what is in it
  std::vector<IgnoreFile> rules;
  bool single = false;  // the place is one file or link: one entry, named `name`
  std::string name;
  std::string folder;  // what entries are relative to, here; of a single one, where it really lies
  std::string source;  // of a single one, its name there, which a link may have hidden
  std::vector<SyncNote> skipped;
  std::vector<SyncNote> failed;
};

struct ScanOptions {
  std::vector<std::string> exclude;
  bool use_ignore_files = true;
  // Also what is ignored, though not what is in an ignored folder, with all bits of its mode.
  bool everything = false;
};

// Names by bytes, folder by folder: "a/b" comes before "a-b", as it does in a walk.
bool path_less(std::string_view a, std::string_view b);
// Relative, of sane length and depth, with no part that is empty, "." or "..", and none of ours.
bool is_safe_path(std::string_view path);

// Files that a receiver is still writing start with this; no scan sees them.
constexpr std::string_view kPartPrefix = ".choline-part-";
constexpr size_t kMostEntries = 4'000'000;
constexpr size_t kMostDepth = 128;
constexpr size_t kMostPath = 4000;

// Where a walk of a tree puts what it meets, in order.
class TreeSink {
 public:
  TreeSink() = default;
  TreeSink(const TreeSink&) = delete;
  TreeSink& operator=(const TreeSink&) = delete;
  virtual ~TreeSink() = default;

  // `ignored` by the rules here, or closed to us: of a folder nothing follows. Only with
  // `everything`. An error ends the walk.
  virtual Status entry(const Entry& entry, bool ignored) = 0;
  // Neither a file, a folder nor a link, or a part of ours. Only with `everything`.
  virtual Status other(const Entry& entry) = 0;
  // Before the entries that they are about.
  virtual Status rules(const IgnoreFile& file) = 0;
  // Whether what is in the folder is of interest.
  virtual bool enters(std::string_view folder) = 0;
};

// What is at a place before its walk, and what became of it afterwards.
struct TreePlace {
  bool single = false;
  std::string name, folder, source;  // as those of a Tree
  std::vector<SyncNote> skipped, failed;
};

// Kind `not_found` when there is nothing at `path`.
Result<TreePlace> look_at_tree(const std::string& path);
// Kind `cancelled` when `stop` became true.
Status walk_tree(TreePlace& place, const ScanOptions& options, const std::atomic<bool>* stop,
                 TreeSink& sink);

// These paths and the folders above them, as far as they are there; no rules (tree_only.cc).
Result<Tree> look_at_only(const std::string& path, const std::vector<std::string>& paths);

// Kind `not_found` when there is nothing at `path`; `cancelled` when `stop` became true.
Result<Tree> scan_tree(const std::string& path, const ScanOptions& options,
                       const std::atomic<bool>* stop);

}  // namespace choline
