#include "transfer/relay.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "loop/await.h"
#include "transfer/frame.h"
#include "transfer/session.h"

namespace choline {

namespace {

constexpr size_t kRelayBlock = 256 << 10;
constexpr size_t kFrameHead = 5;    // type and length
constexpr double kTellEvery = 0.1;  // seconds
constexpr double kOthersWords = 2;  // seconds that an end has to say why it has gone

class TextStream : public Stream {
 public:
  Result<size_t> read(char*, size_t) override { return size_t{0}; }
  Status write(std::string_view bytes) override {
    text += bytes;
    return done();
  }
  std::string text;
};

Result<std::string> request_text(ServeRole role, const std::string& path,
                                 const SyncOptions& options) {
  TextStream stream;
  FrameWriter out(stream);
  Status written = write_request(out, {role, path, options, {}, {}});
  if (!written.ok()) return written.error();
  return std::move(stream.text);
}

// Reads along: counts, and keeps the last word of a session, its report or its failure.
class Overhearing {
 public:
  Status hear(std::string_view bytes) {
    while (!bytes.empty() && !told_) {
      if (head_.size() < kFrameHead) {
        size_t part = std::min(kFrameHead - head_.size(), bytes.size());
        head_ += bytes.substr(0, part);
        bytes.remove_prefix(part);
        if (head_.size() < kFrameHead) return done();
        Status begun = begin();
        if (!begun.ok()) return begun;
      }
      size_t part = std::min<size_t>(left_, bytes.size());
      if (keeps_) payload_ += bytes.substr(0, part);
      left_ -= part;
      bytes.remove_prefix(part);
      if (left_ == 0) end();
    }
    return done();
  }
  bool told() const { return told_; }
  uint64_t files() const { return files_; }
  uint64_t bytes() const { return bytes_; }

  Result<SyncReport> take() {
    Result<Json> said = parse_json(payload_);
    if (!said.ok()) return protocol_error("a last word that cannot be read");
    if (type_ == FrameType::fail) {
      Error why = error_from_json(*said);
      return why;
    }
    return sync_report_from_json(*said);
  }

 private:
  Status begin() {
    type_ = static_cast<FrameType>(head_[0]);
    left_ = 0;
    for (size_t at = kFrameHead - 1; at > 0; --at)
      left_ = left_ << 8 | static_cast<unsigned char>(head_[at]);
    if (left_ > kFrameLimit) return protocol_error("a frame that is too long");
    keeps_ = type_ == FrameType::report || type_ == FrameType::fail;
    bool is_contents =
        type_ == FrameType::data || type_ == FrameType::pack || type_ == FrameType::piece;
    if (is_contents) bytes_ += left_;
    return done();
  }
  void end() {
    if (type_ == FrameType::file_end || type_ == FrameType::big_end) ++files_;
    if (keeps_) told_ = true;
    head_.clear();
  }

  std::string head_, payload_;
  FrameType type_ = FrameType::fail;
  size_t left_ = 0;
  bool keeps_ = false, told_ = false;
  uint64_t files_ = 0, bytes_ = 0;
};

// One direction, until its last word has been passed on.
Co<Status> pass_on(Channel& from, Channel& to, std::string first, Overhearing& heard) {
  if (!first.empty()) {
    Status asked = co_await to.write(std::move(first));
    if (!asked.ok()) co_return asked;
  }
  while (!heard.told()) {
    Result<std::string> bytes = co_await from.read(kRelayBlock);
    if (!bytes.ok()) co_return bytes.error();
    if (bytes->empty()) {
      co_return Error(ErrorKind::lost, "transfer: an end has gone in the middle of it");
    }
    Status sane = heard.hear(*bytes);
    if (!sane.ok()) co_return sane;
    Status wrote = co_await to.write(std::move(*bytes));
    if (!wrote.ok()) co_return wrote;
  }
  co_return done();
}

// One direction with how it ended.
struct Way {
  explicit Way(Event& the_event) : event(the_event) {}
  Way(const Way&) = delete;
  Way& operator=(const Way&) = delete;
  void start(Co<Status> passing) {
    std::function<void(Status)> finish = [this](Status status) {
      ended = true;
      if (!status.ok()) error = std::move(status).error();
      event.set();
    };
    work = Started(std::move(passing), std::move(finish));
  }
  bool told() const { return ended && !error; }

  Event& event;
  Overhearing heard;
  bool ended = false;
  std::optional<Error> error;
  Started work;
};

Co<Result<bool>> wait_until_set(Event& event) {
  co_await event.wait();
  co_return true;
}

}  // namespace

Co<Result<SyncReport>> relay_files(Loop& loop, SyncEnd from, SyncEnd to, SyncOptions options,
                                   SyncProgressFn progress) {
  if (!options.outside_links) options.outside_links = false;
  Result<std::string> send = request_text(ServeRole::send, from.path, options);
  if (!send.ok()) co_return send.error();
  Result<std::string> receive = request_text(ServeRole::receive, to.path, options);
  if (!receive.ok()) co_return receive.error();
  Event forth_ended(loop), back_ended(loop);
  Way forth(forth_ended), back(back_ended);
  forth.start(pass_on(*from.channel, *to.channel, std::move(*receive), forth.heard));
  back.start(pass_on(*to.channel, *from.channel, std::move(*send), back.heard));
  // The receiver's report ends it; a failure may come from either.
  double given_up = 0;
  while (!back.told() && !forth.told()) {
    if (forth.ended && back.ended) break;
    double now = loop.ticks();
    if ((forth.error || back.error) && given_up == 0) given_up = now + kOthersWords;
    if (given_up > 0 && now >= given_up) break;
    Event& next = back.ended ? forth_ended : back_ended;
    std::optional<Result<bool>> ended =
        co_await WithTimeout<Result<bool>>(loop, kTellEvery, wait_until_set(next));
    (void)ended;
    SyncProgress passed;
    passed.files_done = forth.heard.files();
    passed.bytes_done = forth.heard.bytes();
    if (progress) progress(passed);
  }
  if (back.told()) co_return back.heard.take();
  if (forth.told()) co_return forth.heard.take();
  co_return back.error&& back.error->kind != ErrorKind::lost ? *back.error
  : forth.error                                              ? *forth.error
                                                             : *back.error;
}

}  // namespace choline
