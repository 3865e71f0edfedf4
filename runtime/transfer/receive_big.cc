#include "transfer/receive_big.h"

#include <fcntl.h>

#include <algorithm>

#include "base/text.h"
#include "transfer/checkpoint.h"
#include "transfer/posix.h"
#include "transfer/receive_contents.h"
#include "transfer/source_file.h"
#include "transfer/squeeze.h"

namespace choline {

namespace {
constexpr uint64_t kSyncEvery = 16 << 20;  // bytes; the disk writes while more comes
constexpr int kMostRounds = 100;           // of asking for what lacks

// The file that was listed is there still, as it was.
bool is_still(Target& target, const std::string& path, const struct stat& seen) {
  Result<UniqueFd> file = target.open_file(path);
  struct stat now {};
  return file.ok() && fstat(file->get(), &now) == 0 && now.st_ino == seen.st_ino &&
         now.st_dev == seen.st_dev && is_same_file(now, seen);
}
}  // namespace

bool is_of_big(FrameType type) {
  return type >= FrameType::big && type <= FrameType::enough && type != FrameType::lane_end;
}

bool read_head(std::string_view payload, uint64_t& index, Entry& entry) {
  Unpacker in(payload);
  uint64_t mode = 0;
  bool fine = in.number(index) && in.number(entry.size) && entry.size < 1ULL << 62 &&
              in.signed_number(entry.mtime_ns) && in.number(mode) && mode <= 0777 && in.at_end();
  entry.mode = static_cast<uint32_t>(mode);
  return fine;
}

BigReceiver::BigReceiver(const Context& context) : context_(context), voice_(context.out) {}

BigReceiver::~BigReceiver() {
  {
    std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  if (context_.hooks.lanes) context_.hooks.lanes->stop(true);
  if (lister_) lister_->stop([this] { context_.in.abandon(); });
}

void BigReceiver::expect(const PlanItem& item, const Entry& entry) {
  if (item.action == PlanAction::patch) jobs_.push_back({item.index, entry.path, entry.size});
}

void BigReceiver::start(uint64_t bytes) {
  if (!jobs_.empty()) {
    lister_.emplace(context_.target->twin(), voice_, context_.hooks.stop);
    lister_->start(std::exchange(jobs_, {}));
  }
  LaneSource* lanes = context_.hooks.lanes;
  if (!lanes || bytes < kLaneBulk) return;
  lanes->start(
      lane_count(context_.options),
      [this](LanePipe pipe, const LaneWaker& waker) { run_lane(std::move(pipe), waker); },
      [this](uint64_t number) {
        (void)voice_.say(FrameType::lane_lost, std::move(Packer().number(number).out()));
      });
}

void BigReceiver::run_lane(LanePipe pipe, const LaneWaker& waker) {
  LaneStream stream(pipe.in.get(), pipe.out.get(), waker);
  Status status = read_lane(stream);
  if (status.ok() || waker.woken()) return;
  bool broke = status.error().kind == ErrorKind::lost ||
               status.error().message.starts_with("transfer: read");
  if (!broke) return give_up(status.error());
  (void)voice_.say(FrameType::lane_lost, std::move(Packer().number(pipe.number).out()));
}

Status BigReceiver::read_lane(LaneStream& stream) {
  std::string payload(kPiece + kMostPieceHead, '\0');
  for (;;) {
    unsigned char header[5];
    Status status = stream.read_all(reinterpret_cast<char*>(header), sizeof header);
    if (!status.ok()) return status;
    size_t length = size_t{header[1]} | size_t{header[2]} << 8 | size_t{header[3]} << 16;
    if (length > payload.size() || header[4] != 0)
      return protocol_error("a piece that is too long");
    status = stream.read_all(payload.data(), length);
    if (!status.ok()) return status;
    std::string_view bytes(payload.data(), length);
    switch (static_cast<FrameType>(header[0])) {
      case FrameType::piece:
        status = take_piece(bytes);
        break;
      case FrameType::zeros:
        status = take_zeros(bytes);
        break;
      case FrameType::lane_end:
        return done();
      default:
        return protocol_error("something else on a lane");
    }
    if (!status.ok()) return status;
  }
}

// The session's own thread may wait for the far end, which ends when it hears of this.
void BigReceiver::give_up(const Error& error) {
  {
    std::lock_guard lock(mutex_);
    if (given_up_) return;
    given_up_ = error;
    changed_.notify_all();
  }
  (void)voice_.say(FrameType::fail, to_text(to_json(error)));
}

Error BigReceiver::explain(Error error) {
  std::lock_guard lock(mutex_);
  return given_up_ ? *given_up_ : error;
}

Status BigReceiver::begin(const PlanItem& item, const Entry& entry) {
  return open(item, entry);
}

Status BigReceiver::open(const PlanItem& item, Entry entry) {
  auto file = std::make_shared<File>();
  file->item = item;
  OpenedPart opened;
  bool first = item.action == PlanAction::patch && !again_.contains(item.index);
  if (first && lister_) opened = lister_->take(item.index);
  file->base = std::move(opened.base);
  Result<BigPart> part = std::move(opened.part);
  if (!part.ok()) part = context_.open_part(entry.path);
  if (part.ok()) {
    bool keeps = file->base && file->base->in_place;
    Status sized = part->resize(entry.size, !keeps);
    if (sized.ok()) {
      file->part.emplace(std::move(part).value());
    } else {
      file->broken = sized.error();
    }
  } else {
    file->broken = part.error();
  }
  if (file->broken && is_fatal(*file->broken)) return *file->broken;
  file->entry = std::move(entry);
  std::lock_guard lock(mutex_);
  again_.erase(item.index);
  file->ticket = next_ticket_++;
  files_[file->ticket] = file;
  changed_.notify_all();
  return done();
}

void BigReceiver::forget(const PlanItem& item) {
  if (item.action == PlanAction::patch && lister_) (void)lister_->take(item.index);
}

// The file that bytes are for; null when they are of no use any more.
Result<BigReceiver::FilePtr> BigReceiver::claim(uint64_t ticket, uint64_t offset, uint64_t length,
                                                bool fresh) {
  std::unique_lock lock(mutex_);
  // Lanes may be ahead of the session's own stream, which says what begins.
  bool may_wait = std::this_thread::get_id() != own_thread_;
  changed_.wait(lock, [&] { return ticket < next_ticket_ || over_ || given_up_ || !may_wait; });
  if (ticket >= next_ticket_) return protocol_error("a part of a file that has not begun");
  auto found = files_.find(ticket);
  if (found == files_.end()) return FilePtr();
  File& file = *found->second;
  bool fits = offset <= file.entry.size && length <= file.entry.size - offset;
  if (!fits || !file.claimed.add(offset, length))
    return protocol_error("more of a file than it said");
  ++file.writers;
  if (fresh) file.fresh += length;
  return found->second;
}

// What was claimed is written, or could not be.
Status BigReceiver::written(const FilePtr& file, uint64_t length, Status status) {
  bool start_disk = false;
  {
    std::lock_guard lock(mutex_);
    --file->writers;
    file->unsynced += length;
    if (context_.options.durable && file->unsynced >= kSyncEvery) {
      file->unsynced = 0;
      start_disk = true;
    }
    if (!status.ok() && !file->broken) {
      file->broken = status.error();
      if (file->part && is_fatal(status.error())) file->part->forget();
    }
    changed_.notify_all();
  }
  if (start_disk && file->part) sync_file_range(file->part->file(), 0, 0, SYNC_FILE_RANGE_WRITE);
  context_.meter.moved(length);
  return !status.ok() && is_fatal(status.error()) ? status : done();
}

Status BigReceiver::take_piece(std::string_view payload) {
  PieceHead head;
  std::string_view bytes;
  if (!unpack_piece(payload, head, bytes)) return protocol_error("a piece that cannot be read");
  Result<FilePtr> file = claim(head.ticket, head.offset, head.length, true);
  if (!file.ok() || !*file) return file.ok() ? done() : Status(file.error());
  std::string whole;
  if (head.method == PieceMethod::zstd) {
    // The length has been claimed, and lies within the file.
    if (!unsqueeze(bytes, static_cast<size_t>(head.length), whole)) {
      return protocol_error("a piece that cannot be unpacked");
    }
    bytes = whole;
  }
  if (digest_piece(bytes) != head.digest) {
    return Error(ErrorKind::io, "transfer: " + choline::quoted((*file)->entry.path) +
                                    " was damaged on the way; try again");
  }
  Status status = (*file)->broken ? done() : (*file)->part->write(head.offset, bytes);
  return written(*file, head.length, std::move(status));
}

Status BigReceiver::take_zeros(std::string_view payload) {
  Unpacker in(payload);
  uint64_t ticket = 0, offset = 0, length = 0;
  bool fine = in.number(ticket) && in.number(offset) && in.number(length) && in.at_end();
  if (!fine || length == 0) return protocol_error("a hole that cannot be read");
  Result<FilePtr> file = claim(ticket, offset, length, true);
  if (!file.ok() || !*file) return file.ok() ? done() : Status(file.error());
  // A part that began empty has zeros there.
  bool needed = !(*file)->broken && (*file)->base && (*file)->base->in_place;
  Status status = needed ? (*file)->part->zero(offset, length) : done();
  return written(*file, length, std::move(status));
}

// What is here already, in the part or in the old file.
Status BigReceiver::take_held(FrameType type, std::string_view payload) {
  Unpacker in(payload);
  uint64_t ticket = 0, offset = 0, from = 0, length = 0;
  bool fine = in.number(ticket) && in.number(offset);
  if (type == FrameType::copy) fine = fine && in.number(from);
  fine = fine && in.number(length) && in.at_end() && length > 0 && length < 1ULL << 62;
  if (!fine) return protocol_error("a copy that cannot be read");
  if (type == FrameType::keep) from = offset;
  Result<FilePtr> claimed = claim(ticket, offset, length, false);
  if (!claimed.ok() || !*claimed) return claimed.ok() ? done() : Status(claimed.error());
  const FilePtr& file = *claimed;
  std::vector<Base::Item> items;
  if (file->base) items = file->base->items(from, length);
  if (items.empty()) return protocol_error("a copy of what was not listed");
  bool waits = type == FrameType::keep && file->fresh == 0;
  if (file->broken || file->base->in_place) return written(file, length, done());
  if (waits) {
    file->kept.insert(file->kept.end(), items.begin(), items.end());
    return written(file, length, done());
  }
  Status status = copy_kept(file);
  if (status.ok()) status = copy_items(file, offset, items);
  return written(file, length, std::move(status));
}

Status BigReceiver::copy_kept(const FilePtr& file) {
  std::vector<Base::Item> kept = std::exchange(file->kept, {});
  Status status = done();
  for (size_t at = 0; at < kept.size() && status.ok(); ++at) {
    status = copy_items(file, kept[at].offset, {kept[at]});
  }
  return status;
}

// From the old file. What has changed there since it was listed counts as lacking.
Status BigReceiver::copy_items(const FilePtr& file, uint64_t offset,
                               const std::vector<Base::Item>& items) {
  std::string block;
  size_t done_items = 0;
  while (done_items < items.size()) {
    // As much as is worth one call, in whole items.
    uint64_t from = items[done_items].offset, length = 0;
    size_t next = done_items;
    while (next < items.size() && (length == 0 || length + items[next].length <= kPiece)) {
      length += items[next++].length;
    }
    block.resize(length);
    bool sound = read_at(file->base->old.get(), from, block.data(), length) == length;
    uint64_t at = 0;
    for (size_t each = done_items; sound && each < next; ++each) {
      std::string_view bytes = std::string_view(block).substr(at, items[each].length);
      sound = digest_piece(bytes) == items[each].digest;
      at += bytes.size();
    }
    if (sound) {
      Status status = file->part->write(offset, block);
      if (!status.ok()) return status;
    } else {
      std::lock_guard lock(mutex_);
      file->claimed.remove(offset, length);
      file->fresh = std::max<uint64_t>(file->fresh, 1);
    }
    offset += length;
    done_items = next;
  }
  return done();
}

Status BigReceiver::take_end(std::string_view payload) {
  Unpacker in(payload);
  uint64_t ticket = 0, end = 0;
  if (!in.number(ticket) || !in.number(end) || !in.at_end() || end > 2) {
    return protocol_error("the end of a file that cannot be read");
  }
  std::unique_lock lock(mutex_);
  auto found = files_.find(ticket);
  if (found == files_.end()) {
    // Once more, after what was lacking came.
    if (ticket < next_ticket_ && end == static_cast<uint64_t>(BigEnd::whole)) return done();
    return protocol_error("the end of a file that has not begun");
  }
  FilePtr file = found->second;
  if (end == static_cast<uint64_t>(BigEnd::whole)) {
    file->ended = true;
    return done();
  }
  files_.erase(found);
  // Lanes may still write to it; what they bring from now on is dropped.
  changed_.wait(lock, [&] { return file->writers == 0; });
  context_.meter.taken_back(file->claimed.bytes());
  if (file->part) file->part->forget();
  if (end == static_cast<uint64_t>(BigEnd::again)) {
    again_[file->item.index] = {file->item, file->entry.path};
  } else {
    context_.received.broken.emplace(checkpoint_of(file->entry.path));
    context_.received.skipped.insert(file->item.index);
    context_.settled(file->item);
  }
  return done();
}

Result<bool> BigReceiver::take(const Frame& frame) {
  Status status = done();
  switch (frame.type) {
    case FrameType::piece:
      status = take_piece(frame.payload);
      break;
    case FrameType::zeros:
      status = take_zeros(frame.payload);
      break;
    case FrameType::keep:
    case FrameType::copy:
      status = take_held(frame.type, frame.payload);
      break;
    case FrameType::big_end:
      status = take_end(frame.payload);
      break;
    case FrameType::enough: {
      uint64_t index = 0;
      if (!Unpacker(frame.payload).number(index)) status = protocol_error("a bad end of a list");
      if (lister_) lister_->enough(index);
      break;
    }
    case FrameType::big: {
      uint64_t index = 0;
      auto again = Unpacker(frame.payload).number(index) ? again_.find(index) : again_.end();
      if (again == again_.end()) return false;
      Entry entry;
      entry.path = again->second.path;
      if (!read_head(frame.payload, index, entry))
        return protocol_error("a file that cannot be read");
      status = open(PlanItem(again->second.item), std::move(entry));
      break;
    }
    default:
      return false;
  }
  if (status.ok()) status = finish_whole();
  if (!status.ok()) return status.error();
  return true;
}

// Gives files that are all there over to be named.
Status BigReceiver::finish_whole() {
  for (;;) {
    FilePtr whole;
    {
      std::lock_guard lock(mutex_);
      if (given_up_) return *given_up_;
      for (const auto& [ticket, file] : files_) {
        bool all = file->ended && file->writers == 0 &&
                   (file->broken || file->claimed.bytes() == file->entry.size);
        if (all) whole = file;
        if (all) break;
      }
    }
    if (!whole) return done();
    Status status = finish(whole);
    if (!status.ok()) return status;
  }
}

Status BigReceiver::finish(const FilePtr& file) {
  Received& received = context_.received;
  bool same = !file->broken && file->fresh == 0 && file->base && file->base->old &&
              file->base->kind == ListKind::blocks && file->base->size == file->entry.size &&
              is_still(*context_.target, file->entry.path, file->base->seen);
  if (!same && !file->broken) {
    Status status = copy_kept(file);
    if (!status.ok() && is_fatal(status.error())) file->part->forget();
    if (!status.ok() && is_fatal(status.error())) return status;
    if (!status.ok()) file->broken = status.error();
    // What was kept had changed meanwhile, and will be asked for.
    if (status.ok() && file->claimed.bytes() != file->entry.size) return done();
  }
  {
    std::lock_guard lock(mutex_);
    files_.erase(file->ticket);
  }
  context_.meter.file(0);
  if (file->broken) {
    if (file->part) file->part->forget();
    received.fail(file->entry.path, file->broken->message);
    received.skipped.insert(file->item.index);
    context_.settled(file->item);
    return done();
  }
  if (same) {
    file->part->forget();
    file->item.action = PlanAction::touched;
    bool asked_by_content = file->item.reason == MoveReason::content;
    if (asked_by_content) file->item.reason = MoveReason::mode;
    bool right = asked_by_content && !file->item.other_mode;
    if (right) received.skipped.insert(file->item.index);
    ++(right ? received.report.unchanged : received.report.touched);
    context_.settled(file->item);
    return right ? done() : received.note(file->entry.path, context_.adopt(file->entry));
  }
  ++received.report.files_moved;
  received.report.bytes_moved += file->fresh;
  context_.settled(file->item);
  Target::Place place = std::move(file->part->place);
  std::string name = std::move(file->part->name);
  return context_.parts->add(std::move(place), std::move(name), file->part->take(), file->entry,
                             file->item.may_clear);
}

Status BigReceiver::ask(const std::vector<FilePtr>& files) {
  for (const FilePtr& file : files) {
    Packer words;
    words.number(file->ticket);
    for (const Coverage::Gap& gap : file->claimed.gaps(file->entry.size)) {
      words.number(gap.offset).number(gap.length);
      if (words.out().size() > 256 << 10) break;  // the rest in the next round
    }
    Status status = voice_.say(FrameType::lack, words.out());
    if (!status.ok()) return status;
  }
  return voice_.say(FrameType::lack_end, std::string_view());
}

Status BigReceiver::complete(const std::function<Status()>& next_finished) {
  {
    std::lock_guard lock(mutex_);
    over_ = true;  // no file begins that lanes would have to wait for
    changed_.notify_all();
  }
  if (context_.hooks.lanes) context_.hooks.lanes->stop(true);
  for (int round = 0; round < kMostRounds; ++round) {
    Status status = finish_whole();
    if (!status.ok()) return status;
    std::vector<FilePtr> lacking;
    for (const auto& [ticket, file] : files_) {
      if (!file->ended) return protocol_error("no end of a file");
      lacking.push_back(file);
    }
    if (!again_.empty()) return protocol_error("no second try of a file");
    if (lacking.empty()) {
      // The report is said by another voice.
      if (lister_) lister_->stop([this] { context_.in.abandon(); });
      return done();
    }
    status = ask(lacking);
    if (status.ok()) status = next_finished();
    if (!status.ok()) return status;
  }
  return protocol_error("never all of a file");
}

}  // namespace choline
