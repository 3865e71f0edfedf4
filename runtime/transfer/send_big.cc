#include "transfer/send_big.h"

#include <algorithm>

#include "base/mutant.h"
#include "transfer/match.h"
#include "transfer/posix.h"
#include "transfer/source_file.h"

namespace choline {

namespace {

constexpr size_t kMostOpen = 32;  // files whose stretches are dealt at a time

class OwnSink : public PieceSink {
 public:
  OwnSink(FrameWriter& out, Squeezer& squeezer_of_it) : PieceSink(squeezer_of_it), out_(out) {}
  Status put(FrameType type, std::string_view head, std::string_view bytes) override {
    return out_.put(type, head, bytes);
  }

 private:
  FrameWriter& out_;
};

class LaneSink : public PieceSink {
 public:
  LaneSink(LaneStream& lane, const SyncOptions& options)
      : PieceSink(own_squeezer_),
        lane_(lane),
        own_squeezer_(options.packing.value_or(Packing::never), gauge_, options.rate) {}
  Status put(FrameType type, std::string_view head, std::string_view bytes) override {
    std::string start = frame_header(type, head.size() + bytes.size());
    start += head;
    int64_t began = LinkGauge::now();
    Status status = lane_.write(start, bytes);
    gauge_.wrote(start.size() + bytes.size(), began, LinkGauge::now());
    return status;
  }

 private:
  LaneStream& lane_;
  LinkGauge gauge_;
  Squeezer own_squeezer_;
};

Error stopped() {
  return Error(ErrorKind::cancelled, "transfer: stopped");
}

bool is_stopped(const SessionHooks& hooks) {
  return hooks.stop && *hooks.stop;
}

// Sends a stretch; false when the file is shorter than it was, or cannot be read.
Result<bool> send_stretch(PieceSink& sink, const BigSender::Context& context, Dealer& dealer,
                          const Dealer::Stretch& stretch, std::string& block) {
  BigFile& file = *stretch.file;
  uint64_t at = stretch.offset, end = stretch.offset + stretch.length;
  while (at < end) {
    if (is_stopped(context.hooks)) return stopped();
    Extent extent = next_extent(file.file.get(), at, end, file.sparse);
    if (extent.hole) {
      context.meter.moved(extent.length);
      Packer head;
      head.number(file.ticket).number(at).number(extent.length);
      Status status = sink.put(FrameType::zeros, head.out(), std::string_view());
      if (!status.ok()) return status.error();
    } else {
      extent.length = std::min<uint64_t>(extent.length, kPiece);
      block.resize(kPiece);
      size_t got = read_at(file.file.get(), at, block.data(), extent.length);
      if (got < extent.length) return false;
      std::string_view bytes(block.data(), got);
      Status status = send_piece(sink, context, dealer, file, at, bytes);
      if (!status.ok()) return status.error();
    }
    at += extent.length;
  }
  return true;
}

}  // namespace

Status send_piece(PieceSink& sink, const BigSender::Context& context, Dealer& dealer, BigFile& file,
                  uint64_t offset, std::string_view bytes) {
  PieceHead head;
  head.ticket = file.ticket;
  head.offset = offset;
  head.length = bytes.size();
  head.digest = digest_piece(bytes);
  dealer.sent(file, {offset, bytes.size(), head.digest});
  std::string_view squeezed = sink.squeezer.squeeze(bytes);
  if (!squeezed.empty()) head.method = PieceMethod::zstd;
  std::string_view travels = squeezed.empty() ? bytes : squeezed;
  if (!context.pace.wait(travels.size(), context.hooks)) return stopped();
  Status status = sink.put(FrameType::piece, pack(head), travels);
  if (status.ok()) context.meter.moved(bytes.size());
  return status;
}

BigSender::BigSender(const Context& context)
    : context_(context),
      own_(std::make_unique<OwnSink>(context.out, context.squeezer)),
      block_(kPiece, '\0'),
      listener_(context.in) {}

BigSender::~BigSender() {
  dealer_.close();
  if (context_.hooks.lanes) context_.hooks.lanes->stop(true);
}

void BigSender::start(uint64_t bytes) {
  LaneSource* lanes = context_.hooks.lanes;
  listener_.start(
      [lanes](uint64_t number) {
        if (lanes) lanes->drop(number);
      },
      [this] { dealer_.close(); });
  if (!lanes || bytes < kLaneBulk) return;
  lanes->start(
      lane_count(context_.options),
      [this](LanePipe pipe, const LaneWaker& waker) { run_lane(std::move(pipe), waker); },
      [](uint64_t) {});
}

void BigSender::run_lane(LanePipe pipe, const LaneWaker& waker) {
  LaneStream stream(pipe.in.get(), pipe.out.get(), waker);
  LaneSink sink(stream, context_.options);
  std::string block;
  ++lanes_;
  bool alive = true;
  while (alive) {
    std::optional<Dealer::Stretch> stretch = dealer_.take(true);
    if (!stretch) break;
    Result<bool> sent = send_stretch(sink, context_, dealer_, *stretch, block);
    alive = sent.ok();
    // What a dead lane had taken the receiver will lack, and say so.
    dealer_.done(*stretch, alive && !*sent);
  }
  --lanes_;
  dealer_.wake();
  if (!alive || !sink.put(FrameType::lane_end, std::string_view(), std::string_view()).ok()) return;
  // What is on its way must not be cut off: the receiver closes first.
  char nothing = 0;
  (void)stream.read(&nothing, 1);
}

Status BigSender::check_peer() {
  if (is_stopped(context_.hooks)) return stopped();
  std::optional<Error> told = listener_.error();
  return told ? Status(*told) : done();
}

Error BigSender::explain(Error error) {
  bool write_failed = error.message.starts_with("transfer: write");
  if (!write_failed || !listener_.started()) return error;
  Result<Listener::Word> word = listener_.word();
  if (word.ok() || word.error().kind == ErrorKind::lost) return error;
  return word.error();
}

Result<BigFilePtr> BigSender::begin(const Source& source, UniqueFd file, const BigFile* before) {
  auto big = std::make_shared<BigFile>();
  int attempts = context_.options.checkpoints ? 1 : kAttempts;
  big->attempt = before ? before->attempt + 1 : 1;
  while (big->attempt <= attempts && !is_at_rest(file.get(), source.listed, big->before)) {
    nap(20L << big->attempt++);
  }
  if (big->attempt > attempts) return BigFilePtr();
  big->index = source.index;
  big->path = source.path;
  big->source = source.place;
  big->listed = source.listed;
  big->file = std::move(file);
  big->size = static_cast<uint64_t>(big->before.st_size);
  big->sparse = static_cast<uint64_t>(big->before.st_blocks) * 512 < big->size;
  big->ticket = next_ticket_++;
  Packer head;
  head.number(big->index).number(big->size).signed_number(nanoseconds(big->before.st_mtim));
  head.number(big->before.st_mode & 0777);
  Status status = before ? tell_end(*before, BigEnd::again) : done();
  if (status.ok()) status = context_.out.put(FrameType::big, head.out());
  if (!status.ok()) return status.error();
  open_.push_back(big);
  return big;
}

Status BigSender::send(const Source& source, UniqueFd file, bool by_list) {
  Result<BigFilePtr> big = begin(source, std::move(file), nullptr);
  if (!big.ok()) return big.error();
  if (!*big) {
    add_note(context_.skipped, source.path, kKeepsChanging);
    return context_.out.put(FrameType::file_skip, std::move(Packer().number(source.index).out()));
  }
  Status status = by_list ? send_by_list(*big) : send_rest(*big, 0);
  return status.ok() ? work(false) : status;
}

Status BigSender::send_rest(const BigFilePtr& file, uint64_t from) {
  if (from < file->size) dealer_.add({file, from, file->size - from});
  return done();
}

Status BigSender::send_by_list(const BigFilePtr& file) {
  Matcher matcher(*own_, context_, listener_, dealer_);
  Result<uint64_t> matched = matcher.run(*file);
  if (!matched.ok()) return matched.error();
  listener_.forget(file->index);
  Status status =
      context_.out.put(FrameType::enough, std::move(Packer().number(file->index).out()));
  return status.ok() ? send_rest(file, *matched) : status;
}

Status BigSender::work(bool to_the_end) {
  uint64_t seen = 0;
  for (;;) {
    Status status = check_peer();
    if (status.ok()) status = end_sent_files();
    if (!status.ok()) return status;
    if (open_.empty()) return done();
    bool alone = lanes_ == 0;
    if (alone) {
      std::optional<Dealer::Stretch> stretch = dealer_.take(false);
      if (stretch) {
        Result<bool> sent = send_stretch(*own_, context_, dealer_, *stretch, block_);
        if (!sent.ok()) return sent.error();
        dealer_.done(*stretch, !*sent);
        continue;
      }
    }
    if (!to_the_end && open_.size() < kMostOpen && !alone) return done();
    // Our own words must not wait for what lanes do.
    status = context_.out.flush();
    if (!status.ok()) return status;
    dealer_.wait_change(seen);
  }
}

Status BigSender::end_sent_files() {
  for (size_t at = 0; at < open_.size();) {
    std::optional<uint64_t> pending = dealer_.pending(*open_[at]);
    if (pending && *pending > 0) {
      ++at;
      continue;
    }
    BigFilePtr file = open_[at];
    open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(at));
    Status status = end_file(file, !pending);
    if (!status.ok()) return status;
  }
  return done();
}

Status BigSender::end_file(const BigFilePtr& file, bool torn) {
  struct stat after {};
  bool fine = !torn && fstat(file->file.get(), &after) == 0;
  bool grew = fine && after.st_size > file->before.st_size;
  if (fine && !is_same_file(file->before, after) && !mutant("no-second-look")) {
    fine = grew && !context_.options.checkpoints && is_steady(*file);
  }
  if (fine) {
    file->sent = {};
    file->tried = {};
    file->file.reset();
    if (ended_.emplace(file->ticket, file).second) context_.meter.file(0);
    return tell_end(*file, BigEnd::whole);
  }
  if (!grew) file->sent = {};
  context_.meter.taken_back(file->size);
  return begin_again(file);
}

// A checkpoint must not change at all; anything else gets a few more tries.
Status BigSender::begin_again(const BigFilePtr& before) {
  nap(10L << before->attempt);
  Result<UniqueFd> file = context_.root.open_file(before->source);
  Result<BigFilePtr> big = BigFilePtr();
  if (file.ok()) {
    big = begin({before->index, before->path, before->source, before->listed},
                std::move(file).value(), &*before);
  }
  if (!big.ok()) return big.error();
  if (*big) (*big)->tried = std::move(before->sent);
  if (*big) return send_rest(*big, 0);
  add_note(context_.skipped, before->path, kKeepsChanging);
  return tell_end(*before, BigEnd::skipped);
}

// A file that only grew is a true copy of what it was: so a log can be fetched while it is
// written. Read again, the same bytes must be there. That it grew by its end, and was not written
// anew and longer just before it was read, shows only when it begins as it did in the try before.
bool BigSender::is_steady(BigFile& file) {
  if (file.sparse) return false;
  return !file.tried.empty() && has_bytes(file, file.tried) && has_bytes(file, file.sent);
}

bool BigSender::has_bytes(const BigFile& file, const std::vector<BigFile::Sent>& pieces) {
  for (const BigFile::Sent& piece : pieces) {
    block_.resize(std::max<size_t>(kPiece, piece.length));
    std::string_view bytes(block_.data(), piece.length);
    if (read_at(file.file.get(), piece.offset, block_.data(), piece.length) < piece.length ||
        digest_piece(bytes) != piece.digest) {
      return false;
    }
  }
  return true;
}

Status BigSender::tell_end(const BigFile& file, BigEnd end) {
  Packer words;
  words.number(file.ticket).number(static_cast<uint64_t>(end));
  return context_.out.put(FrameType::big_end, words.out());
}

Status BigSender::finish() {
  Status status = work(true);
  if (!status.ok()) return status;
  dealer_.close();
  // Only when each lane has come to its end does the receiver know what it lacks.
  if (context_.hooks.lanes) context_.hooks.lanes->stop(false);
  return check_peer();
}

Status BigSender::send_lack(const Listener::Lack& lack) {
  auto found = ended_.find(lack.ticket);
  if (found == ended_.end()) return protocol_error("a lack of a file that was not sent");
  BigFilePtr file = found->second;
  uint64_t last = 0;
  for (const Coverage::Gap& gap : lack.gaps) {
    bool fine = gap.offset >= last && gap.offset <= file->size && gap.length > 0 &&
                gap.length <= file->size - gap.offset;
    if (!fine) return protocol_error("a lack that cannot be");
    last = gap.offset + gap.length;
  }
  Result<UniqueFd> again = context_.root.open_file(file->source);
  struct stat now {};
  bool same = again.ok() && fstat(again->get(), &now) == 0 && is_same_file(file->before, now);
  if (!same) return begin_again(file);
  file->file = std::move(again).value();
  open_.push_back(file);
  for (const Coverage::Gap& gap : lack.gaps) dealer_.add({file, gap.offset, gap.length});
  return done();
}

Result<Json> BigSender::report(const std::function<Status()>& say_finished) {
  Status status = say_finished();
  if (!status.ok()) return status.error();
  // Nobody listens where nothing can be lacking.
  if (!listener_.started()) return context_.in.expect_json(FrameType::report);
  for (;;) {
    Result<Listener::Word> word = listener_.word();
    if (!word.ok()) return word.error();
    if (word->report) return std::move(*word->report);
    for (const Listener::Lack& lack : word->lacks) {
      status = check_peer();
      if (status.ok()) status = send_lack(lack);
      if (!status.ok()) return status.error();
    }
    status = work(true);
    if (status.ok()) status = say_finished();
    if (!status.ok()) return status.error();
  }
}

}  // namespace choline
