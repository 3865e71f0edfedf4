#include "transfer/target.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/mutant.h"
#include "base/random.h"
#include "base/text.h"
#include "transfer/posix.h"

namespace choline {

namespace {

constexpr size_t kBatchFiles = 128;
constexpr uint64_t kBatchBytes = 64 << 20;

Error path_error(const char* what, std::string_view path) {
  int code = errno;
  return errno_error(std::string(what) + " " + choline::quoted(path), code);
}

int open_folder(int parent, const std::string& name) {
  return openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

std::vector<std::string> names_in(int folder) {
  std::vector<std::string> names;
  int copy = fcntl(folder, F_DUPFD_CLOEXEC, 3);
  std::unique_ptr<DIR, CloseFolder> list(copy < 0 ? nullptr : fdopendir(copy));
  if (!list) {
    if (copy >= 0) close(copy);
    return names;
  }
  rewinddir(list.get());  // the copy shares its place with `folder`
  while (dirent* entry = readdir(list.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

// The whole of `name`, by descriptors only, so that no link is followed.
Status remove_all(int parent, const std::string& name, size_t depth) {
  if (unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return done();
  if (errno != EISDIR && errno != EPERM) return path_error("remove", name);
  UniqueFd folder(open_folder(parent, name));
  if (!folder || depth > kMostDepth) return path_error("remove", name);
  for (const std::string& each : names_in(folder.get())) {
    Status status = remove_all(folder.get(), each, depth + 1);
    if (!status.ok()) return status;
  }
  if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return done();
  return path_error("remove", name);
}

Status make_path(const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    std::string part = path.substr(0, slash);
    if (mkdir(part.c_str(), 0755) != 0 && errno != EEXIST) {
      Error error = path_error("make folder", part);
      struct stat info {};
      if (stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) return error;
    }
    if (slash == std::string::npos) return done();
  }
}

}  // namespace

Status make_way(int parent, const std::string& name, bool whole) {
  if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0) return done();
  if (errno == ENOENT || errno == ENOTDIR) return done();
  if (whole && (errno == ENOTEMPTY || errno == EEXIST)) return remove_all(parent, name, 0);
  return path_error("a folder that is not empty is in the way of", name);
}

Result<Target> Target::open(const std::string& path, bool create) {
  if (create) {
    Status made = make_path(path);
    if (!made.ok()) return made.error();
  }
  UniqueFd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return path_error("open folder", path);
  return Target(std::move(root));
}

Result<SharedFd> Target::folder(std::string_view path) {
  size_t level = 0;
  while (!path.empty()) {
    size_t slash = path.find('/');
    std::string name(path.substr(0, slash));
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
    if (level >= cache_.size() || cache_[level].first != name) {
      cache_.resize(level);
      int parent = level == 0 ? root_->get() : cache_[level - 1].second->get();
      UniqueFd next(open_folder(parent, name));
      if (!next) return path_error("open folder", name);
      cache_.emplace_back(std::move(name), std::make_shared<UniqueFd>(std::move(next)));
    }
    ++level;
  }
  return level == 0 ? root_ : cache_[level - 1].second;
}

Result<Target::Place> Target::place(std::string_view path) {
  if (!is_safe_path(path)) {
    return Error(ErrorKind::refused, "transfer: refused the path " + choline::quoted(path));
  }
  size_t slash = path.find_last_of('/');
  std::string_view above =
      slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  Result<SharedFd> parent = folder(above);
  if (!parent.ok()) return parent.error();
  return Place{*parent,
               std::string(slash == std::string_view::npos ? path : path.substr(slash + 1))};
}

Result<std::optional<Entry>> Target::look(std::string_view path) {
  Result<Place> found = place(path);
  if (!found.ok()) {
    const Json& name = found.error().fields;
    bool absent = name.is_object() && (name["errno"] == "ENOENT" || name["errno"] == "ENOTDIR" ||
                                       name["errno"] == "ELOOP");
    if (absent) return std::optional<Entry>();
    return found.error();
  }
  struct stat info {};
  int folder = found->folder->get();
  if (fstatat(folder, found->name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::optional<Entry>();
    return path_error("stat", path);
  }
  Entry entry;
  entry.path = path;
  entry.mode = info.st_mode & 07777;
  entry.size = static_cast<uint64_t>(info.st_size);
  entry.mtime_ns = nanoseconds(info.st_mtim);
  entry.ctime_ns = nanoseconds(info.st_ctim);
  entry.kind = S_ISDIR(info.st_mode) ? EntryKind::folder : EntryKind::file;
  if (S_ISLNK(info.st_mode)) {
    entry.kind = EntryKind::link;
    std::array<char, 4097> buffer;
    ssize_t length = readlinkat(folder, found->name.c_str(), buffer.data(), buffer.size());
    if (length < 0) return path_error("read link", path);
    entry.link.assign(buffer.data(), static_cast<size_t>(length));
  } else if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
    entry.size = UINT64_MAX;  // a socket or device: like no file that comes
  }
  return std::optional<Entry>(std::move(entry));
}

Result<UniqueFd> Target::open_file(std::string_view path) {
  Result<Place> found = place(path);
  if (!found.ok()) return found.error();
  // Without O_NONBLOCK a fifo put in the file's place would hold us for ever.
  UniqueFd file(openat(found->folder->get(), found->name.c_str(),
                       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) return path_error("open", path);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return path_error("stat", path);
  if (!S_ISREG(info.st_mode)) {
    return Error(ErrorKind::io, "open " + choline::quoted(path) + ": no longer a file");
  }
  return file;
}

Status Target::make_folder(std::string_view path) {
  Result<Place> found = place(path);
  if (!found.ok()) return found.error();
  int parent = found->folder->get();
  const char* name = found->name.c_str();
  if (mkdirat(parent, name, 0700) == 0) return done();
  if (errno != EEXIST) return path_error("make folder", path);
  struct stat info {};
  if (fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return path_error("stat", path);
  if (!S_ISDIR(info.st_mode)) {
    // A file or link gives way to a folder, as it would to another file.
    if (unlinkat(parent, name, 0) != 0) return path_error("replace", path);
    if (mkdirat(parent, name, 0700) != 0) return path_error("make folder", path);
    return done();
  }
  if ((info.st_mode & 0700) == 0700) return done();
  UniqueFd folder(open_folder(parent, found->name));
  // Its own mode comes back at the end. When it cannot be changed, a write will say what is wrong.
  if (folder && fchmod(folder.get(), (info.st_mode & 07777) | 0700) == 0) return done();
  return fchmodat(parent, name, (info.st_mode & 07777) | 0700, 0) == 0 ? done()
                                                                       : path_error("chmod", path);
}

Status Target::set_mode(std::string_view path, uint32_t mode, EntryKind kind) {
  Result<Place> found = place(path);
  if (!found.ok()) return found.error();
  int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  if (kind == EntryKind::folder) flags |= O_DIRECTORY;
  UniqueFd thing(openat(found->folder->get(), found->name.c_str(), flags));
  if (thing) return fchmod(thing.get(), mode) == 0 ? done() : path_error("chmod", path);
  if (errno != EACCES) return path_error("chmod", path);
  // Ours, but not readable for us. fchmodat follows links, so look first.
  struct stat info {};
  if (fstatat(found->folder->get(), found->name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
      S_ISLNK(info.st_mode)) {
    return path_error("chmod", path);
  }
  return fchmodat(found->folder->get(), found->name.c_str(), mode, 0) == 0
             ? done()
             : path_error("chmod", path);
}

Status Target::set_mtime(std::string_view path, int64_t mtime_ns) {
  Result<Place> found = place(path);
  if (!found.ok()) return found.error();
  timespec times[2] = {{0, UTIME_OMIT}, time_of(mtime_ns)};
  return utimensat(found->folder->get(), found->name.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0
             ? done()
             : path_error("set the time of", path);
}

Status Target::make_link(std::string_view path, const std::string& to) {
  Result<Place> found = place(path);
  if (!found.ok()) return found.error();
  int parent = found->folder->get();
  std::string part = std::string(kPartPrefix) + random_id(12);
  if (symlinkat(to.c_str(), parent, part.c_str()) != 0) return path_error("make link", path);
  Status way = make_way(parent, found->name, false);
  if (way.ok() && renameat(parent, part.c_str(), parent, found->name.c_str()) == 0) return done();
  if (way.ok()) way = path_error("make link", path);
  unlinkat(parent, part.c_str(), 0);
  return way;
}

Status Target::remove(std::string_view path, bool whole) {
  Result<Place> found = place(path);
  if (!found.ok()) return found.error();
  forget_cache();
  int parent = found->folder->get();
  if (unlinkat(parent, found->name.c_str(), 0) == 0 || errno == ENOENT) return done();
  if (errno != EISDIR && errno != EPERM) return path_error("remove", path);
  if (unlinkat(parent, found->name.c_str(), AT_REMOVEDIR) == 0) return done();
  if (whole) return remove_all(parent, found->name, 0);
  return path_error("remove", path);
}

Status Target::sync_folder(std::string_view path) {
  Result<SharedFd> found = folder(path);
  if (!found.ok()) return found.error();
  if (fsync((*found)->get()) != 0 && errno != EINVAL) return path_error("fsync", path);
  return done();
}

PartFiles::~PartFiles() {
  drop();
  for (Part& part : finished_) unlinkat(part.place.folder->get(), part.part_name.c_str(), 0);
}

Status PartFiles::begin(std::string_view path) {
  Result<Target::Place> place = target_.place(path);
  if (!place.ok()) return place.error();
  Part part;
  part.place = std::move(place).value();
  part.part_name = std::string(kPartPrefix) + random_id(12);
  if (mutant("torn-file")) part.part_name = part.place.name;
  part.file.reset(openat(part.place.folder->get(), part.part_name.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!part.file) return path_error("write", path);
  // Tells others that its writer lives. Where locks do not work, nobody clears parts away either.
  if (flock(part.file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return path_error("lock", path);
  }
  current_ = std::move(part);
  return done();
}

Status PartFiles::write(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t put = pwrite(current_->file.get(), bytes.data(), bytes.size(),
                         static_cast<off_t>(current_->written));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return path_error("write", current_->place.name);
    bytes.remove_prefix(static_cast<size_t>(put));
    current_->written += static_cast<uint64_t>(put);
  }
  return done();
}

Status PartFiles::hole(uint64_t count) {
  current_->written += count;
  if (ftruncate(current_->file.get(), static_cast<off_t>(current_->written)) != 0) {
    return path_error("write", current_->place.name);
  }
  return done();
}

void PartFiles::drop() {
  if (!current_) return;
  unlinkat(current_->place.folder->get(), current_->part_name.c_str(), 0);
  current_.reset();
}

Status PartFiles::finish(const Entry& entry, bool may_remove_tree) {
  current_->entry = entry;
  current_->may_remove_tree = may_remove_tree;
  waiting_bytes_ += current_->written;
  // The disk may begin now, so that the fsync of the batch finds little left to do.
  if (durable_ && current_->written > 1 << 20) {
    sync_file_range(current_->file.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
  }
  finished_.push_back(std::move(*current_));
  current_.reset();
  if (finished_.size() >= kBatchFiles || waiting_bytes_ >= kBatchBytes) return commit();
  return done();
}

Status PartFiles::add(Target::Place place, std::string part_name, UniqueFd file, const Entry& entry,
                      bool may_remove_tree) {
  Part part;
  part.place = std::move(place);
  part.part_name = std::move(part_name);
  part.file = std::move(file);
  part.entry = entry;
  part.written = entry.size;
  part.may_remove_tree = may_remove_tree;
  waiting_bytes_ += entry.size;
  finished_.push_back(std::move(part));
  if (finished_.size() >= kBatchFiles || waiting_bytes_ >= kBatchBytes) return commit();
  return done();
}

// Mode and time first: what follows the rename must change nothing.
Status PartFiles::settle(Part& part) {
  int file = part.file.get();
  timespec times[2] = {{0, UTIME_OMIT}, time_of(part.entry.mtime_ns)};
  if (fchmod(file, part.entry.mode) != 0) return path_error("chmod", part.entry.path);
  if (futimens(file, times) != 0) return path_error("set the time of", part.entry.path);
  if (durable_ && fsync(file) != 0) return path_error("fsync", part.entry.path);
  return done();
}

Status PartFiles::commit() {
  std::vector<Part> batch = std::move(finished_);
  finished_.clear();
  waiting_bytes_ = 0;
  std::vector<SharedFd> folders;
  Status fatal = done();
  for (Part& part : batch) {
    int folder = part.place.folder->get();
    Status status = settle(part);
    if (status.ok()) status = make_way(folder, part.place.name, part.may_remove_tree);
    if (status.ok() &&
        renameat(folder, part.part_name.c_str(), folder, part.place.name.c_str()) != 0) {
      status = path_error("rename to", part.entry.path);
    }
    if (status.ok()) {
      ++committed;
      if (folders.empty() || folders.back() != part.place.folder)
        folders.push_back(part.place.folder);
      continue;
    }
    unlinkat(folder, part.part_name.c_str(), 0);
    add_note(failed, part.entry.path, status.error().message);
    // A disk that fails does not get better with the next file.
    const Json& name = status.error().fields;
    if (name.is_object() && (name["errno"] == "ENOSPC" || name["errno"] == "EIO" ||
                             name["errno"] == "EDQUOT" || name["errno"] == "EROFS")) {
      if (fatal.ok()) fatal = std::move(status);
    }
  }
  if (!durable_) return fatal;
  for (const SharedFd& folder : folders) {
    if (fsync(folder->get()) != 0 && errno != EINVAL && fatal.ok())
      fatal = path_error("fsync", "folder");
  }
  return fatal;
}

void clear_dead_parts(int folder, const std::function<bool(const std::string&)>& keep) {
  clear_dead_small_parts(folder);
  for (const std::string& name : names_in(folder)) {
    if (!name.starts_with(kPartPrefix) || name.starts_with(kSmallPartPrefix)) continue;
    if (keep && keep(name)) continue;
    UniqueFd file(openat(folder, name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    bool is_link = !file && errno == ELOOP;  // links are made and renamed at once: left by the dead
    if (is_link || (file && flock(file.get(), LOCK_EX | LOCK_NB) == 0)) {
      unlinkat(folder, name.c_str(), 0);
    }
  }
}

void clear_dead_small_parts(int folder) {
  UniqueFd own(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own || flock(own.get(), LOCK_EX | LOCK_NB) != 0) return;
  for (const std::string& name : names_in(own.get())) {
    if (name.starts_with(kSmallPartPrefix)) unlinkat(own.get(), name.c_str(), 0);
  }
}

void hold_small_parts(int folder) {
  // Whoever clears dead ones away holds it for a moment only.
  for (int attempt = 0; attempt < 100; ++attempt) {
    if (flock(folder, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
    timespec pause{0, 10'000'000};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace choline
