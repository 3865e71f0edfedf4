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
      open_folder_(std::move(context.open_folder)),
      settled_(std::move(context.settled)),
      meter_(received_.progress, hooks_) {
  if (!target_) return;
  parts_.emplace(*target_, options_.durable);
  big_.emplace(BigReceiver::Context{in_, context.out, options_, hooks_, target_, received_, meter_,
                                    &*parts_,
                                    [this](const std::string& path) { return open_part(path); },
                                    [this](const Entry& entry) { return adopt(entry); }, settled_});
}

void ContentsReceiver::expect(const PlanItem& item, const Entry& entry) {
  if (options_.dry_run || entry.size < kBigFile) return;
  big_bytes_ += entry.size;
  std::string above = folder_of(entry.path);
  std::string name = entry.path.substr(above.empty() ? 0 : above.size() + 1);
  parts_to_use_.insert((above.empty() ? "" : above + "/") + big_part_name(name));
  big_->expect(item, entry);
}

void ContentsReceiver::start() {
  if (big_ && !options_.dry_run) big_->start(big_bytes_);
}

Status ContentsReceiver::take(PlanItem& item, const Entry& entry) {
  if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
  moved_ = 0;
  bool is_later = false;
  Status status = answer(item, entry, is_later);
  if (status.ok() && !is_later) settled_(item);
  return explain(std::move(status));
}

Status ContentsReceiver::explain(Status status) {
  return status.ok() || !big_ ? status : Status(big_->explain(status.error()));
}

Result<bool> ContentsReceiver::take_pieces() {
  for (;;) {
    Result<FrameType> type = in_.peek();
    if (!type.ok()) return explain(type.error()).error();
    if (!big_ || !is_of_big(*type)) return false;
    Result<Frame> frame = in_.next();
    if (!frame.ok()) return explain(frame.error()).error();
    Result<bool> taken = big_->take(*frame);
    if (!taken.ok()) return explain(taken.error()).error();
    if (!*taken) held_ = std::move(frame).value();
    if (!*taken) return true;
  }
}

Result<Frame> ContentsReceiver::next_frame() {
  if (!held_) return in_.next();
  Frame frame = std::move(*held_);
  held_.reset();
  return frame;
}

// The answer to one wish: maybe several tries at a file.
Status ContentsReceiver::answer(PlanItem& item, const Entry& entry, bool& is_later) {
  for (;;) {
    Result<Frame> frame = next_frame();
    if (!frame.ok()) return frame.error();
    if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
    Result<bool> taken = big_ ? big_->take(*frame) : Result<bool>(false);
    if (!taken.ok()) return taken.error();
    if (*taken) continue;
    Unpacker in(frame->payload);
    uint64_t index = 0;
    if (!in.number(index) || index != item.index) return protocol_error("a file that was not due");
    switch (frame->type) {
      case FrameType::file: {
        Result<bool> came = receive_file(item, entry, frame->payload);
        if (!came.ok()) return came.error();
        if (!*came) break;
        forget(item);
        meter_.file(static_cast<int64_t>(entry.size) - moved_);
        return done();
      }
      case FrameType::big: {
        Entry said = entry;
        bool fine = !options_.dry_run && read_head(frame->payload, index, said);
        if (!fine) return protocol_error("a file that cannot be read");
        clear_parts(folder_of(entry.path));
        is_later = true;
        return big_->begin(item, said);
      }
      case FrameType::same:
        forget(item);
        meter_.file(static_cast<int64_t>(entry.size));
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
        meter_.file(static_cast<int64_t>(entry.size));
        return done();
      case FrameType::file_skip:
        received_.broken.emplace(checkpoint_of(entry.path));
        received_.skipped.insert(item.index);
        forget(item);
        meter_.file(static_cast<int64_t>(entry.size));
        return done();
      default:
        return protocol_error("something else in place of a file");
    }
  }
}

// False when the sender takes it back, to send it again.
Result<bool> ContentsReceiver::receive_file(const PlanItem& item, Entry entry,
                                            std::string_view head) {
  uint64_t index = 0;
  if (options_.dry_run || !read_head(head, index, entry)) {
    return protocol_error("a file that cannot be read");
  }
  Status ready = begin(entry.path, [&] { return parts_->begin(entry.path); });
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
      count(-static_cast<int64_t>(got));
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

Status ContentsReceiver::begin(const std::string& path, const std::function<Status()>& open) {
  std::string above = folder_of(path);
  clear_parts(above);
  Status status = open();
  if (status.ok() || !has_errno(status.error(), "EACCES") || above.empty()) return status;
  // A folder that is closed even to its owner: open it until the end.
  if (!open_folder_(above)) return status;
  return open();
}

// What dead writers left, but for what goes on from where they stopped.
void ContentsReceiver::clear_parts(const std::string& above) {
  if (cleared_ && *cleared_ == above) return;
  cleared_ = above;
  Result<SharedFd> folder = target_->folder(above);
  if (!folder.ok()) return;
  clear_dead_parts((*folder)->get(), [&](const std::string& name) {
    return parts_to_use_.contains(above.empty() ? name : above + "/" + name);
  });
}

Result<BigPart> ContentsReceiver::open_part(const std::string& path) {
  Result<BigPart> part = Error(ErrorKind::io, "");
  Status status = begin(path, [&] {
    part = BigPart::open(*target_, path);
    return part.ok() ? done() : Status(part.error());
  });
  if (!status.ok()) return status.error();
  return part;
}

// What is here of it is of no more interest.
void ContentsReceiver::forget(const PlanItem& item) {
  if (big_) big_->forget(item);
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
  this->count(static_cast<int64_t>(count));
  digest.update(frame.payload);
  if (discard) return done();
  return frame.type == FrameType::hole ? parts_->hole(count) : parts_->write(frame.payload);
}

Status ContentsReceiver::read_finished() {
  for (;;) {
    Result<Frame> frame = in_.next();
    if (!frame.ok()) return frame.error();
    if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
    if (frame->type != FrameType::finished) {
      Result<bool> taken = big_ ? big_->take(*frame) : Result<bool>(false);
      if (!taken.ok()) return taken.error();
      if (!*taken) return protocol_error("something else where the end was due");
      continue;
    }
    Result<Json> end = parse_json(frame->payload);
    if (!end.ok() || !end->is_object()) return protocol_error("an end that cannot be read");
    ended_ = std::move(end).value();
    return done();
  }
}

Status ContentsReceiver::finish() {
  Status status = read_finished();
  if (status.ok() && big_) status = big_->complete([this] { return read_finished(); });
  if (!status.ok()) return explain(std::move(status));
  SyncReport& report = received_.report;
  for (auto [key, list] : {std::pair{"skipped", &report.skipped}, {"failed", &report.failed}}) {
    Result<std::vector<SyncNote>> notes = notes_from_json(ended_.value(key, Json::array()));
    if (!notes.ok()) return notes.error();
    add_notes(*list, *notes);
  }
  return parts_ && !options_.dry_run ? commit() : done();
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

void ContentsReceiver::count(int64_t bytes) {
  moved_ += bytes;
  bytes < 0 ? meter_.taken_back(static_cast<uint64_t>(-bytes))
            : meter_.moved(static_cast<uint64_t>(bytes));
}

}  // namespace choline
