#include "transfer/receive_contents.h"

#include <algorithm>

#include "base/text.h"
#include "transfer/checkpoint.h"
#include "transfer/posix.h"

namespace choline {

std::string folder_of(std::string_view path) {
  size_t slash = path.find_last_of('/');
  return std::string(slash == std::string_view::npos ? std::string_view() : path.substr(0, slash));
}

void Received::fail(const std::string& path, std::string why) {
  broken.emplace(checkpoint_of(path));
  add_note(report.failed, path, std::move(why));
}

Status Received::note(const std::string& path, Status status) {
  if (status.ok()) return status;
  if (is_fatal(status.error())) return status;
  fail(path, status.error().message);
  return done();
}

ContentsReceiver::ContentsReceiver(Context context)
    : in_(context.in),
      options_(context.options),
      hooks_(context.hooks),
      target_(context.target),
      received_(context.received),
      open_folder_(std::move(context.open_folder)) {
  if (target_) parts_.emplace(*target_, options_.durable);
}

Status ContentsReceiver::take(PlanItem& item, const Entry& entry) {
  if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
  uint64_t before = received_.progress.bytes_done;
  Status status = answer(item, entry);
  if (!status.ok()) return status;
  ++received_.progress.files_done;
  received_.progress.bytes_done = before + entry.size;
  report_progress();
  return done();
}

// The answer to one wish: maybe several tries at a file.
Status ContentsReceiver::answer(PlanItem& item, const Entry& entry) {
  for (;;) {
    Result<Frame> frame = in_.next();
    if (!frame.ok()) return frame.error();
    Unpacker in(frame->payload);
    uint64_t index = 0;
    if (!in.number(index) || index != item.index) return protocol_error("a file that was not due");
    switch (frame->type) {
      case FrameType::file: {
        Result<bool> came = receive_file(item, entry, in);
        if (!came.ok()) return came.error();
        if (*came) return done();
        break;
      }
      case FrameType::same:
        item.action = PlanAction::touched;
        if (item.reason == MoveReason::content) {
          if (!item.other_mode) return leave(item);
          item.reason = MoveReason::mode;
        }
        if (options_.dry_run) return done();
        ++received_.report.touched;
        return received_.note(entry.path, adopt(entry));
      case FrameType::differs:
        if (!options_.dry_run) return protocol_error("a comparison in place of a file");
        item.reason = MoveReason::content;
        return done();
      case FrameType::file_skip:
        received_.broken.emplace(checkpoint_of(entry.path));
        received_.skipped.insert(item.index);
        return done();
      default:
        return protocol_error("something else in place of a file");
    }
  }
}

// False when the sender takes it back, to send it again.
Result<bool> ContentsReceiver::receive_file(const PlanItem& item, Entry entry, Unpacker& head) {
  uint64_t mode = 0;
  bool fine = head.number(entry.size) && entry.size < 1ULL << 62 &&
              head.signed_number(entry.mtime_ns) && head.number(mode) && mode <= 0777 &&
              head.at_end() && !options_.dry_run;
  if (!fine) return protocol_error("a file that cannot be read");
  entry.mode = static_cast<uint32_t>(mode);
  Status ready = begin(entry.path);
  bool discard = !ready.ok();
  if (discard && is_fatal(ready.error())) return ready.error();
  uint64_t got = 0;
  FastDigest digest;
  for (;;) {
    if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
    Result<Frame> frame = in_.next();
    if (!frame.ok()) return frame.error();
    if (frame->type == FrameType::data || frame->type == FrameType::hole) {
      Status status = take_bytes(*frame, entry.size, discard, got, digest);
      if (!status.ok()) return status.error();
      continue;
    }
    if (frame->type == FrameType::file_again) {
      parts_->drop();
      received_.progress.bytes_done -= std::min(received_.progress.bytes_done, got);
      return false;
    }
    if (frame->type != FrameType::file_end) return protocol_error("something else within a file");
    if (got != entry.size) return protocol_error("a file of another size than it said");
    if (frame->payload != digest.bytes()) {
      return Error(ErrorKind::io, "transfer: " + choline::quoted(entry.path) +
                                      " was damaged on the way; try again");
    }
    if (discard) {
      received_.fail(entry.path, ready.error().message);
      received_.skipped.insert(item.index);
      return true;
    }
    ++received_.report.files_moved;
    received_.report.bytes_moved += got;
    Status status = parts_->finish(entry, item.may_clear);
    return status.ok() ? Result<bool>(true) : Result<bool>(status.error());
  }
}

// It was asked for by its contents alone, and they are here.
Status ContentsReceiver::leave(const PlanItem& item) {
  ++received_.report.unchanged;
  received_.skipped.insert(item.index);
  return done();
}

Status ContentsReceiver::begin(const std::string& path) {
  std::string above = folder_of(path);
  if (!cleared_ || *cleared_ != above) {
    cleared_ = above;
    Result<SharedFd> folder = target_->folder(above);
    if (folder.ok()) clear_dead_parts((*folder)->get());
  }
  Status status = parts_->begin(path);
  if (status.ok() || !has_errno(status.error(), "EACCES") || above.empty()) return status;
  // A folder that is closed even to its owner: open it until the end.
  if (!open_folder_(above)) return status;
  return parts_->begin(path);
}

Status ContentsReceiver::take_bytes(const Frame& frame, uint64_t size, bool discard, uint64_t& got,
                                    FastDigest& digest) {
  uint64_t count = frame.payload.size();
  if (frame.type == FrameType::hole) {
    Unpacker in(frame.payload);
    if (!in.number(count) || !in.at_end()) return protocol_error("a hole that cannot be read");
  }
  if (count > size - got) return protocol_error("more of a file than it said");
  got += count;
  received_.progress.bytes_done += count;
  digest.update(frame.payload);
  report_progress();
  if (discard) return done();
  return frame.type == FrameType::hole ? parts_->hole(count) : parts_->write(frame.payload);
}

Status ContentsReceiver::commit() {
  Status status = parts_->commit();
  for (const SyncNote& note : parts_->failed) {
    received_.broken.emplace(checkpoint_of(note.path));
    --received_.report.files_moved;
  }
  add_notes(received_.report.failed, parts_->failed);
  return status;
}

Status ContentsReceiver::adopt(const Entry& entry) {
  Status status = target_->set_mode(entry.path, entry.mode, EntryKind::file);
  return status.ok() ? target_->set_mtime(entry.path, entry.mtime_ns) : status;
}

void ContentsReceiver::report_progress() {
  if (hooks_.progress) hooks_.progress(received_.progress);
}

}  // namespace choline
