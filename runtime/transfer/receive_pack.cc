#include "transfer/receive_pack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/mutant.h"
#include "base/random.h"
#include "base/text.h"
#include "transfer/checkpoint.h"
#include "transfer/posix.h"

namespace choline {

namespace {
constexpr size_t kPackBatchFiles = 4096;
constexpr uint64_t kPackBatchBytes = 64 << 20;
constexpr size_t kPackBatchFolders = 200;  // each holds a descriptor
}  // namespace

std::string PackBatch::part_of(const File& file) const {
  if (mutant("torn-file")) return file.name;
  return std::string(kSmallPartPrefix) + id + "-" + std::to_string(file.number);
}

std::string PackBatch::path_of(const File& file) const {
  const std::string& above = folders[file.above];
  return above.empty() ? file.name : above + "/" + file.name;
}

PackReceiver::PackReceiver(Context context) : context_(std::move(context)) {
  batch_.id = random_id(12);
}

PackReceiver::~PackReceiver() {
  for (const PackBatch::File& file : batch_.files) {
    unlinkat(file.folder->get(), batch_.part_of(file).c_str(), 0);
  }
}

Result<bool> PackReceiver::has_next(bool may) {
  if (!pack_.at_end()) return true;
  if (!may) return false;
  Result<FrameType> type = context_.in.peek();
  if (!type.ok()) return type.error();
  if (*type != FrameType::pack) return false;
  Result<Frame> frame = context_.in.next();
  if (!frame.ok()) return frame.error();
  Status status = pack_.open(std::move(frame->payload));
  if (!status.ok()) return status.error();
  if (pack_.at_end()) return protocol_error("an empty pack of files");
  return true;
}

Status PackReceiver::take(const PlanItem& item, const Entry& entry) {
  Result<PackReader::Item> next = pack_.next();
  if (!next.ok()) return next.error();
  if (next->index != item.index || context_.options.dry_run) {
    return protocol_error("a file that was not due");
  }
  Received& received = context_.received;
  context_.meter.file(static_cast<int64_t>(entry.size));
  if (next->skipped) {
    received.broken.emplace(checkpoint_of(entry.path));
    received.skipped.insert(item.index);
    return done();
  }
  Status status = write(item, entry, *next);
  if (status.ok()) {
    ++received.report.files_moved;
    received.report.bytes_moved += next->bytes.size();
    return done();
  }
  received.skipped.insert(item.index);
  return received.note(entry.path, std::move(status));
}

Status PackReceiver::enter(const std::string& above) {
  if (above_ && *above_ == above) return done();
  above_.reset();
  Result<SharedFd> folder = context_.target.folder(above);
  if (!folder.ok()) return folder.error();
  folder_ = *folder;
  fitting_mode_ = UINT32_MAX;
  hold_small_parts(folder_->get());
  above_ = above;
  if (batch_.folders.empty() || batch_.folders.back() != above) batch_.folders.push_back(above);
  return done();
}

Status PackReceiver::write(const PlanItem& wish, const Entry& entry, const PackReader::Item& item) {
  std::string above = folder_of(entry.path);
  PackBatch::File file;
  file.number = ++number_;
  file.name = entry.path.substr(above.empty() ? 0 : above.size() + 1);
  file.may_clear = wish.may_clear;
  Status status = enter(above);
  if (status.ok()) status = write_part(item, file);
  if (!status.ok() && has_errno(status.error(), "EACCES") && !above.empty()) {
    // A folder that is closed even to its owner: open it until the end.
    if (!context_.open_folder(above)) return status;
    above_.reset();
    status = enter(above);
    if (status.ok()) status = write_part(item, file);
  }
  if (!status.ok()) return status;
  file.folder = folder_;
  file.above = static_cast<uint32_t>(batch_.folders.size() - 1);
  batch_.files.push_back(std::move(file));
  batch_.bytes += item.bytes.size();
  if (batch_.files.size() >= kPackBatchFiles || batch_.bytes >= kPackBatchBytes ||
      batch_.folders.size() >= kPackBatchFolders) {
    send_batch();
  }
  return done();
}

Status PackReceiver::write_part(const PackReader::Item& item, const PackBatch::File& part) {
  std::string name = batch_.part_of(part);
  int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd file(openat(folder_->get(), name.c_str(), flags, item.mode));
  if (!file) return errno_error("write " + choline::quoted(name), errno);
  auto fail = [&](const char* what) {
    Error error = errno_error(what + (" " + choline::quoted(name)), errno);
    unlinkat(folder_->get(), name.c_str(), 0);
    return error;
  };
  std::string_view bytes = item.bytes;
  while (!bytes.empty()) {
    ssize_t put = ::write(file.get(), bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail("write");
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  if (item.mode != fitting_mode_) {
    // The mask of this process or the folder's own rules may have taken bits away.
    struct stat info {};
    if (fstat(file.get(), &info) != 0) return fail("stat");
    if ((info.st_mode & 07777) == item.mode) {
      fitting_mode_ = item.mode;
    } else if (fchmod(file.get(), item.mode) != 0) {
      return fail("chmod");
    }
  }
  timespec times[2] = {{0, UTIME_OMIT}, time_of(item.mtime_ns)};
  if (futimens(file.get(), times) != 0) return fail("set the time of");
  return done();
}

void PackReceiver::send_batch() {
  if (batch_.files.empty()) return;
  if (!committer_) {
    Result<SharedFd> root = context_.target.folder("");
    committer_.emplace((*root)->get(), context_.options.durable);
  }
  PackBatch next;
  next.id = batch_.id;
  committer_->put(std::exchange(batch_, std::move(next)));
  above_.reset();
}

Status PackReceiver::finish() {
  if (!pack_.at_end()) return protocol_error("a file that was not due");
  send_batch();
  if (!committer_) return done();
  Status status = committer_->finish();
  Received& received = context_.received;
  received.report.files_moved -= committer_->lost;
  add_notes(received.report.failed, committer_->failed);
  committer_.reset();
  return status;
}

}  // namespace choline
