// A tree of files on disk that is read and written without ever leaving it: no path goes through a
// link, whatever the far end names. Files are written aside and get their names when complete.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "transfer/tree.h"

namespace choline {

using SharedFd = std::shared_ptr<UniqueFd>;  // shared: the walk's cache and files being written

class Target {
 public:
  // `path` may itself go through links: the user named it. With `create`, missing folders are made.
  static Result<Target> open(const std::string& path, bool create);

  // The folder `path` ("" is the root), each part opened without following a link.
  Result<SharedFd> folder(std::string_view path);
  struct Place {
    SharedFd folder;
    std::string name;
  };
  Result<Place> place(std::string_view path);  // the folder of `path` and its last name

  // Of a link itself; nullopt when it, or a folder above it, is absent.
  Result<std::optional<Entry>> look(std::string_view path);
  // For reading; a regular file or an error.
  Result<UniqueFd> open_file(std::string_view path);

  // Makes the folder, or makes an existing one writable for us. Nothing else may be in its place.
  Status make_folder(std::string_view path);
  Status set_mode(std::string_view path, uint32_t mode, EntryKind kind);
  Status set_mtime(std::string_view path, int64_t mtime_ns);
  Status make_link(std::string_view path, const std::string& to);
  // A file or link, or a folder: an empty one, or with `whole` all below it.
  Status remove(std::string_view path, bool whole);
  Status sync_folder(std::string_view path);

  void forget_cache() { cache_.clear(); }
  // The same folder, for another thread.
  Target twin() const { return Target(root_); }

 private:
  explicit Target(UniqueFd root) : root_(std::make_shared<UniqueFd>(std::move(root))) {}
  explicit Target(SharedFd root) : root_(std::move(root)) {}
  SharedFd root_;
  // The open folders on the way to the last one asked for: paths come in order, so the next is
  // near.
  std::vector<std::pair<std::string, SharedFd>> cache_;
};

// Files on their way: written under a name of their own, locked while their writer lives, then
// fsynced, given mode and time, and renamed, a batch at a time.
class PartFiles {
 public:
  PartFiles(Target& target, bool durable) : target_(target), durable_(durable) {}
  PartFiles(const PartFiles&) = delete;
  PartFiles& operator=(const PartFiles&) = delete;
  ~PartFiles();  // removes what has not got its name

  // One file at a time is written; begin() after finish() or drop().
  Status begin(std::string_view path);
  Status write(std::string_view bytes);
  Status hole(uint64_t count);
  void drop();
  // All of it is written. Commits the batch when it has grown.
  Status finish(const Entry& entry, bool may_remove_tree);
  // The same for a file that somebody else wrote, in a part that is ours from now on.
  Status add(Target::Place place, std::string part_name, UniqueFd file, const Entry& entry,
             bool may_remove_tree);
  // Gives all that is finished its name. Files that could not get it are told in `failed`.
  Status commit();

  std::vector<SyncNote> failed;
  uint64_t committed = 0;

 private:
  struct Part {
    Target::Place place;
    std::string part_name;
    UniqueFd file;
    Entry entry;
    uint64_t written = 0;
    bool may_remove_tree = false;
  };
  Status settle(Part& part);

  Target& target_;
  bool durable_;
  std::optional<Part> current_;
  std::vector<Part> finished_;
  uint64_t waiting_bytes_ = 0;
};

// Makes way for a file or link: a folder in its place goes when it is empty or `whole` is set.
Status make_way(int parent, const std::string& name, bool whole);

// Removes what dead writers left in a folder, but for what `keep` says is wanted.
void clear_dead_parts(int folder, const std::function<bool(const std::string& name)>& keep = {});

// Parts of small files have no locks of their own: their writer holds one on their folder, by this
// descriptor of it and its life. Where locks do not work, nobody clears parts away either.
constexpr std::string_view kSmallPartPrefix = ".choline-part-small-";
void hold_small_parts(int folder);
void clear_dead_small_parts(int folder);

}  // namespace choline
