#include "transfer/send_pack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/mutant.h"
#include "base/text.h"
#include "transfer/source_file.h"

namespace choline {

namespace {

constexpr size_t kGroupFiles = 128;  // descriptors open at once
constexpr uint64_t kGroupBytes = 256 << 10;

}  // namespace

Status PackSender::add(const PlanItem& item, const Entry& entry, const std::string& source) {
  group_.emplace_back();
  Waiting& waiting = group_.back();
  waiting.item = item;
  waiting.entry = entry;
  waiting.source = source;
  group_bytes_ += entry.size;
  open(waiting);
  return group_.size() >= kGroupFiles || group_bytes_ >= kGroupBytes ? flush() : done();
}

void PackSender::open(Waiting& waiting) {
  std::string_view source = waiting.source;
  size_t slash = source.find_last_of('/');
  std::string_view above = slash == std::string_view::npos ? "" : source.substr(0, slash);
  if (!folder_ || above != folder_path_) {
    Result<SharedFd> folder = context_.root.folder(above);
    if (!folder.ok()) {
      folder_.reset();
      waiting.problem = EACCES;
      for (auto [name, code] : {std::pair{"ENOENT", ENOENT},
                                {"ENOTDIR", ENOENT},
                                {"ELOOP", ELOOP},
                                {"EMFILE", EMFILE}}) {
        if (has_errno(folder.error(), name)) waiting.problem = code;
      }
      return;
    }
    folder_ = *folder;
    folder_path_ = above;
  }
  const char* name = waiting.source.c_str() + (slash == std::string_view::npos ? 0 : slash + 1);
  // Without O_NONBLOCK a fifo put in the file's place would hold us for ever.
  int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  waiting.file.reset(openat(folder_->get(), name, flags));
  if (!waiting.file || fstat(waiting.file.get(), &waiting.before) != 0) {
    waiting.problem = errno;
  } else if (!S_ISREG(waiting.before.st_mode)) {
    waiting.problem = EINVAL;
  }
}

// One nap for the whole group. What is touched again meanwhile goes alone.
void PackSender::let_ticks_pass() {
  int64_t now = wall_nanoseconds();
  int64_t newest = 0;
  for (const Waiting& each : group_) {
    if (each.problem != 0) continue;
    Listed listed{each.entry.size, each.entry.mtime_ns};
    if (!listed.is(each.before)) newest = kClockTick;  // as in is_at_rest()
    for (const timespec& time : {each.before.st_mtim, each.before.st_ctim}) {
      int64_t age = now - nanoseconds(time);
      if (age >= 0 && age < kClockTick) newest = std::max(newest, kClockTick - age);
    }
  }
  if (newest == 0) return;
  timespec time{0, static_cast<long>(newest)};
  nanosleep(&time, nullptr);
}

Status PackSender::flush() {
  let_ticks_pass();
  for (Waiting& each : group_) {
    if (context_.hooks.stop && *context_.hooks.stop) {
      return Error(ErrorKind::cancelled, "transfer: stopped");
    }
    Status status = send(each);
    if (!status.ok()) return status;
    each.file.reset();
  }
  group_.clear();
  group_bytes_ = 0;
  return send_pack();
}

Status PackSender::send_pack() {
  if (pack_.empty()) return done();
  std::string files = pack_.take();
  std::string_view squeezed = context_.squeezer.squeeze(files);
  std::string head = wrapping(files, squeezed);
  std::string_view bytes = squeezed.empty() ? files : squeezed;
  if (!context_.pace.wait(bytes.size(), context_.hooks)) {
    return Error(ErrorKind::cancelled, "transfer: stopped");
  }
  return context_.out.put(FrameType::pack, head, bytes);
}

// True when the block has the file, as it was before and is still.
bool PackSender::read_whole(const Waiting& waiting) {
  auto size = static_cast<size_t>(waiting.before.st_size);
  if (size > kSmallFile) return false;
  block_.resize(size);
  if (read_at(waiting.file.get(), 0, block_.data(), size) < size) return false;
  struct stat after {};
  if (fstat(waiting.file.get(), &after) != 0) return false;
  return is_same_file(waiting.before, after) || mutant("no-second-look");
}

Status PackSender::send(Waiting& waiting) {
  if (waiting.problem != 0) return leave_out(waiting, waiting.problem);
  if (!read_whole(waiting)) {
    Status status = send_pack();
    return status.ok() ? context_.send_alone(waiting.item, waiting.entry, waiting.source) : status;
  }
  PackWriter::File file;
  file.index = waiting.item.index;
  file.mtime_ns = nanoseconds(waiting.before.st_mtim);
  file.mode = waiting.before.st_mode & 0777;
  pack_.add(file, block_);
  context_.meter.file(static_cast<int64_t>(waiting.entry.size));
  if (!pack_.full()) return done();
  return send_pack();
}

Status PackSender::leave_out(const Waiting& waiting, int code) {
  // Deleted since the scan: as if it had never been there.
  if (code == ENOENT) {
    add_note(skipped, waiting.entry.path, "went away before it was read");
  } else if (code == EINVAL) {
    add_note(failed, waiting.entry.path,
             "open " + choline::quoted(waiting.source) + ": no longer a file");
  } else {
    add_note(failed, waiting.entry.path,
             errno_error("open " + choline::quoted(waiting.source), code).message);
  }
  pack_.skip(waiting.item.index);
  context_.meter.file(static_cast<int64_t>(waiting.entry.size));
  return done();
}

}  // namespace choline
