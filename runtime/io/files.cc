#include "io/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "base/random.h"
#include "base/text.h"

namespace choline {

namespace {

Error path_error(std::string_view what, const std::string& path) {
  int code = errno;
  return errno_error(std::string(what) + " " + choline::quoted(path), code);
}

Status write_fully(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t put = write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return path_error("write", path);
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return done();
}

std::string folder_of(const std::string& path) {
  size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status sync_folder(const std::string& path) {
  UniqueFd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return path_error("open", path);
  // Some file systems cannot fsync a folder and say EINVAL; there is nothing better to do then.
  if (fsync(folder.get()) != 0 && errno != EINVAL) return path_error("fsync", path);
  return done();
}

// Removes a half-made file unless it was given its name.
class Unfinished {
 public:
  explicit Unfinished(std::string path) : path_(std::move(path)) {}
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  ~Unfinished() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

Result<std::vector<std::string>> names_in(int fd, const std::string& path) {
  Folder folder(fdopendir(fd));
  if (!folder) {
    Error error = path_error("read folder", path);
    close(fd);
    return error;
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    dirent* entry = readdir(folder.get());
    if (!entry && errno != 0) return path_error("read folder", path);
    if (!entry) break;
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void keep_first(Status& first, Status next) {
  if (first.ok() && !next.ok()) first = std::move(next);
}

// Removes `name` below the open folder `parent`; `shown` is its path for messages.
Status remove_at(int parent, const std::string& name, const std::string& shown) {
  if (unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return done();
  if (errno != EISDIR && errno != EPERM) return path_error("remove", shown);
  int unlink_errno = errno;
  int fd = openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == EACCES && fchmodat(parent, name.c_str(), 0700, 0) == 0) {
    fd = openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  }
  if (fd < 0) {
    if (errno == ENOTDIR || errno == ELOOP) errno = unlink_errno;
    return path_error("remove", shown);
  }
  UniqueFd folder(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  Result<std::vector<std::string>> names = names_in(fd, shown);
  if (!names.ok()) return names.error();
  Status first = done();
  bool widened = false;
  for (const std::string& each : *names) {
    Status status = remove_at(folder.get(), each, shown + "/" + each);
    // A folder without write permission: ours all the same, so make it writable once.
    if (!status.ok() && !widened && fchmod(folder.get(), 0700) == 0) {
      widened = true;
      status = remove_at(folder.get(), each, shown + "/" + each);
    }
    keep_first(first, std::move(status));
  }
  if (first.ok() && unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
    return path_error("remove", shown);
  }
  return first;
}

}  // namespace

Result<std::string> read_file(const std::string& path, uint64_t limit) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return path_error("open", path);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return path_error("stat", path);
  std::string out;
  if (S_ISREG(info.st_mode)) {
    out.reserve(
        static_cast<size_t>(std::min<uint64_t>(static_cast<uint64_t>(info.st_size), limit)));
  }
  std::array<char, 65536> buffer;
  for (;;) {
    ssize_t got = read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return path_error("read", path);
    if (got == 0) return out;
    if (out.size() + static_cast<size_t>(got) > limit) {
      return Error(ErrorKind::invalid, "read " + choline::quoted(path) +
                                           ": larger than the limit of " + std::to_string(limit) +
                                           " bytes");
    }
    out.append(buffer.data(), static_cast<size_t>(got));
  }
}

Status write_atomic(const std::string& path, std::string_view bytes, unsigned mode) {
  std::string beside = path + ".tmp-" + random_id(10);
  UniqueFd file(open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file) return path_error("write", path);
  Unfinished unfinished(beside);
  Status written = write_fully(file.get(), bytes, path);
  if (!written.ok()) return written;
  if (fsync(file.get()) != 0) return path_error("fsync", path);
  if (rename(beside.c_str(), path.c_str()) != 0) return path_error("write", path);
  unfinished.keep();
  return sync_folder(folder_of(path));
}

Status append_file(const std::string& path, std::string_view bytes, unsigned mode) {
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode));
  if (!file) return path_error("open", path);
  return write_fully(file.get(), bytes, path);
}

Status make_folders(const std::string& path, unsigned mode) {
  if (path.empty()) return Error(ErrorKind::invalid, "make folder: an empty path");
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      // A parent we may not write in can exist all the same (EROFS, EACCES).
      struct stat info {};
      int code = errno;
      if (stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
        errno = code;
        return path_error("make folder", part);
      }
    }
    if (end == std::string::npos) break;
  }
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return path_error("make folder", path);
  if (S_ISDIR(info.st_mode)) return done();
  errno = ENOTDIR;
  return path_error("make folder", path);
}

Status remove_tree(const std::string& path) {
  std::string plain = path;
  while (plain.size() > 1 && plain.ends_with('/')) plain.pop_back();
  if (plain.empty() || plain == "/" || plain == "." || plain == ".." || plain.ends_with("/..") ||
      plain.ends_with("/.")) {
    return Error(ErrorKind::invalid,
                 "remove " + choline::quoted(path) + ": refused; name the thing itself");
  }
  return remove_at(AT_FDCWD, plain, plain);
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return path_error("read folder", path);
  return names_in(fd, path);
}

Result<std::optional<FileInfo>> file_info(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::optional<FileInfo>();
    return path_error("stat", path);
  }
  FileInfo out;
  out.kind = S_ISREG(info.st_mode)   ? FileKind::file
             : S_ISDIR(info.st_mode) ? FileKind::folder
             : S_ISLNK(info.st_mode) ? FileKind::link
                                     : FileKind::other;
  out.size = static_cast<uint64_t>(info.st_size);
  out.mode = info.st_mode & 07777;
  out.mtime =
      static_cast<double>(info.st_mtim.tv_sec) + static_cast<double>(info.st_mtim.tv_nsec) * 1e-9;
  return std::optional<FileInfo>(out);
}

Result<DiskSpace> disk_space(const std::string& path) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0) return path_error("statvfs", path);
  return DiskSpace{info.f_bavail * info.f_frsize, info.f_blocks * info.f_frsize};
}

Result<bool> is_network_filesystem(const std::string& path) {
  struct statfs info {};
  if (statfs(path.c_str(), &info) != 0) return path_error("statfs", path);
  // linux/magic.h, and for those it lacks the file systems' own sources.
  constexpr std::array<uint32_t, 11> kNetwork = {
      0x6969,      // nfs
      0x517B,      // smb
      0xFF534D42,  // cifs
      0xFE534D42,  // smb2
      0x5346414F,  // afs
      0x73757245,  // coda
      0x01021997,  // 9p
      0x00C36400,  // ceph
      0x0BD00BD0,  // lustre
      0x7461636F,  // ocfs2
      0x65735546,  // fuse
  };
  auto type = static_cast<uint32_t>(info.f_type);
  return std::find(kNetwork.begin(), kNetwork.end(), type) != kNetwork.end();
}

Result<FileLock> FileLock::take(const std::string& path) {
  UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return path_error("lock", path);
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (fcntl(file.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno == EAGAIN || errno == EACCES) {
      return Error(ErrorKind::conflict,
                   "lock " + choline::quoted(path) + ": held by another process");
    }
    return path_error("lock", path);
  }
  return FileLock(std::move(file));
}

Status FileLock::note(std::string_view text) {
  if (ftruncate(fd_.get(), 0) != 0 || lseek(fd_.get(), 0, SEEK_SET) != 0) {
    return errno_error("write the lock's note", errno);
  }
  return write_fully(fd_.get(), text, "lock");
}

}  // namespace choline
