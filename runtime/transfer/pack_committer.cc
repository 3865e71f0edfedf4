// How small files get their names: whole on the disk first, where that was asked for.
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iterator>
#include <system_error>

#include "base/text.h"
#include "transfer/posix.h"
#include "transfer/receive_pack.h"

namespace choline {

namespace {

constexpr size_t kFewFiles = 32;    // are synced one by one
constexpr size_t kSyncThreads = 8;  // where each waits for the disk, or for a server
constexpr size_t kMostRenamed = 64;
constexpr unsigned long kXfs = 0x58465342, kZfs = 0x2fc12fc1;

// Whether syncfs() here writes all that was written, and says when it could not. Linux says so
// since 5.8; file systems of the network or of a program are synced file by file.
bool syncs_whole(int root) {
  utsname name{};
  int major = 0, minor = 0;
  if (uname(&name) != 0 || sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  if (major < 5 || (major == 5 && minor < 8)) return false;
  struct statfs info {};
  if (fstatfs(root, &info) != 0) return false;
  auto type = static_cast<unsigned long>(info.f_type);
  constexpr unsigned long kKnown[] = {
      EXT4_SUPER_MAGIC, kXfs, BTRFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
      F2FS_SUPER_MAGIC, kZfs};
  return std::find(std::begin(kKnown), std::end(kKnown), type) != std::end(kKnown);
}

}  // namespace

PackCommitter::PackCommitter(int root, bool durable)
    : root_(root), durable_(durable), whole_disk_(durable && syncs_whole(root)) {
  // No signal may land on this thread, past a loop.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    // No more threads here: put() does it itself.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

PackCommitter::~PackCommitter() {
  abandoned_ = true;
  batches_.close();
  if (thread_.joinable()) thread_.join();
}

void PackCommitter::put(PackBatch batch) {
  if (!thread_.joinable()) return commit(batch);
  batches_.put(std::move(batch));
}

void PackCommitter::run() {
  while (std::optional<PackBatch> batch = batches_.take()) commit(*batch);
}

Status PackCommitter::finish() {
  batches_.close();
  if (thread_.joinable()) thread_.join();
  if (!durable_) return std::move(result_);
  // The new names, too.
  if (many_renamed_ && whole_disk_) {
    if (syncfs(root_) != 0 && result_.ok()) result_ = errno_error("sync the disk", errno);
    return std::move(result_);
  }
  for (const SharedFd& folder : renamed_) {
    if (fsync(folder->get()) != 0 && errno != EINVAL && result_.ok()) {
      result_ = errno_error("fsync a folder", errno);
    }
  }
  return std::move(result_);
}

void PackCommitter::commit(PackBatch& batch) {
  Status ready = abandoned_ || !result_.ok() ? Status(Error(ErrorKind::cancelled, "")) : done();
  if (ready.ok() && durable_) ready = sync(batch);
  if (!ready.ok() && ready.error().kind != ErrorKind::cancelled && result_.ok()) result_ = ready;
  for (const PackBatch::File& file : batch.files) {
    int folder = file.folder->get();
    Status status = ready.ok() ? give_name(batch, file) : ready;
    if (!status.ok()) {
      unlinkat(folder, batch.part_of(file).c_str(), 0);
      ++lost;
      if (status.error().kind != ErrorKind::cancelled) {
        add_note(failed, batch.path_of(file), status.error().message);
      }
      // A disk that fails does not get better with the next file.
      if (is_fatal(status.error()) && result_.ok()) result_ = status;
      continue;
    }
    if (!durable_ || (!renamed_.empty() && renamed_.back() == file.folder)) continue;
    many_renamed_ = many_renamed_ || renamed_.size() >= kMostRenamed;
    if (!many_renamed_ || !whole_disk_) renamed_.push_back(file.folder);
  }
  // Where the disk cannot be synced as a whole, folders are, before they take too many descriptors.
  if (!whole_disk_ && renamed_.size() >= kMostRenamed) {
    for (const SharedFd& folder : renamed_) (void)fsync(folder->get());
    renamed_.clear();
  }
}

// The contents of all its parts.
Status PackCommitter::sync(PackBatch& batch) {
  if (whole_disk_ && batch.files.size() > kFewFiles) {
    return syncfs(root_) == 0 ? done() : Status(errno_error("sync the disk", errno));
  }
  std::atomic<size_t> next{0};
  std::atomic<int> problem{0};
  std::atomic<bool> closed{false};
  auto work = [&] {
    for (size_t at = next++; at < batch.files.size(); at = next++) {
      const PackBatch::File& file = batch.files[at];
      std::string name = batch.part_of(file);
      UniqueFd part;
      for (int flags : {O_RDONLY, O_WRONLY}) {
        if (!part)
          part.reset(openat(file.folder->get(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
      }
      if (!part && errno == EACCES) {
        closed = true;
      } else if (!part || fsync(part.get()) != 0) {
        problem = errno;
      }
    }
  };
  std::vector<std::thread> threads;
  for (size_t count = std::min(kSyncThreads, batch.files.size() / 4); count > 1; --count) {
    try {
      threads.emplace_back(work);
    } catch (const std::system_error&) {
      break;
    }
  }
  work();
  for (std::thread& thread : threads) thread.join();
  // A file with a mode that keeps even us out cannot be opened again.
  if (closed && problem == 0 && syncfs(root_) != 0) problem = errno;
  return problem == 0 ? done() : Status(errno_error("fsync", problem));
}

Status PackCommitter::give_name(const PackBatch& batch, const PackBatch::File& file) {
  int folder = file.folder->get();
  std::string part = batch.part_of(file);
  if (renameat(folder, part.c_str(), folder, file.name.c_str()) == 0) return done();
  if (errno == EISDIR || errno == ENOTEMPTY || errno == EEXIST) {
    Status way = make_way(folder, file.name, file.may_clear);
    if (!way.ok()) return way;
    if (renameat(folder, part.c_str(), folder, file.name.c_str()) == 0) return done();
  }
  return errno_error("rename to " + choline::quoted(file.name), errno);
}

}  // namespace choline
