// Whole files, folders and locks of this machine. Blocking: what may take long belongs on a worker.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace choline {

// All of it, or an error; one that is larger than `limit` is an error too.
Result<std::string> read_file(const std::string& path, uint64_t limit = 256 << 20);

// The file is the old one or the new one at every instant, also after a power cut: written beside,
// fsynced, renamed, and the folder fsynced. A link at `path` is replaced, not followed.
Status write_atomic(const std::string& path, std::string_view bytes, unsigned mode = 0644);
Status append_file(const std::string& path, std::string_view bytes, unsigned mode = 0644);

// `mode` for each folder that is made; what exists stays as it is.
Status make_folders(const std::string& path, unsigned mode = 0755);

// The file, link or folder with all below it; never follows a link, never leaves the file system
// object named. What does not exist is no error. Goes on after a failure and tells the first.
Status remove_tree(const std::string& path);

// Names in a folder, sorted bytewise, without "." and "..".
Result<std::vector<std::string>> list_folder(const std::string& path);

enum class FileKind { file, folder, link, other };
struct FileInfo {
  FileKind kind = FileKind::other;
  uint64_t size = 0;
  unsigned mode = 0;
  double mtime = 0;  // wall seconds
};
// Of a link itself. Absent is a value: nullopt.
Result<std::optional<FileInfo>> file_info(const std::string& path);

struct DiskSpace {
  uint64_t free = 0;  // for us, without root's reserve
  uint64_t total = 0;
};
Result<DiskSpace> disk_space(const std::string& path);

// NFS, SMB, and their like, where SQLite's WAL and locks do not hold; also FUSE, of which nothing
// is known, except for an overlay in a container.
Result<bool> is_network_filesystem(const std::string& path);

// An OFD lock on a file, for the life of the object. The kernel lets go when the process dies,
// however it dies; children do not inherit it past exec.
class FileLock {
 public:
  // Makes the file if needed. Kind `conflict` when someone else holds it.
  static Result<FileLock> take(const std::string& path);
  // Writes who holds it into the file, for messages of others.
  Status note(std::string_view text);
  int fd() const { return fd_.get(); }

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace choline
