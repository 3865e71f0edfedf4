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
  bool everything = false;  // ignored things too; the rules are gathered all the same
};

// Names by bytes, folder by folder: "a/b" comes before "a-b", as it does in a walk.
bool path_less(std::string_view a, std::string_view b);
// Relative, of sane length and depth, with no part that is empty, "." or "..", and none of ours.
bool is_safe_path(std::string_view path);

// Files that a receiver is still writing start with this; no scan sees them.
constexpr std::string_view kPartPrefix = ".choline-part-";
constexpr size_t kMostEntries = 4'000'000;
constexpr size_t kMostDepth = 128;

// Kind `not_found` when there is nothing at `path`; `cancelled` when `stop` became true.
Result<Tree> scan_tree(const std::string& path, const ScanOptions& options,
                       const std::atomic<bool>* stop);

}  // namespace choline
