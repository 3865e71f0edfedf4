#include "io/ssh2_stream.h"

#include <libssh2.h>
#include <poll.h>

#include <algorithm>
#include <utility>

namespace choline {
namespace {

constexpr size_t kOut = size_t{64} << 10;        // taken ahead: more would make urgent bytes wait
constexpr size_t kPiece = size_t{64} << 10;      // read at once
constexpr size_t kTurn = size_t{512} << 10;      // read in one turn of the loop
constexpr unsigned kWindow = unsigned{4} << 20;  // what the host may send ahead
constexpr char kChannelType[] = "session";       // RFC 4254, 6.1
constexpr size_t kComplaint = 4096;
constexpr double kExitPatience = 1;  // seconds for the exit code after the end of the output

}  // namespace

Ssh2Stream::Ssh2Stream(Loop& loop, std::unique_ptr<Ssh2Session> session)
    : loop_(loop), session_(std::move(session)) {}

Ssh2Stream::~Ssh2Stream() {
  *alive_ = false;
  close();
}

Co<Status> Ssh2Stream::start(std::string command) {
  end_ = End();
  out_.clear();
  sent_ = 0;
  sender_ = Sender::none;
  blocked_ = end_wanted_ = end_sent_ = starved_ = told_ = false;
  LIBSSH2_CHANNEL* channel = nullptr;
  std::function<int()> open = [this, &channel] {
    channel = libssh2_channel_open_ex(session_->raw, kChannelType, sizeof kChannelType - 1, kWindow,
                                      LIBSSH2_CHANNEL_PACKET_DEFAULT, nullptr, 0);
    return channel ? 0 : libssh2_session_last_errno(session_->raw);
  };
  int code = co_await drive_ssh2(loop_, *session_, std::move(open));
  if (code == LIBSSH2_ERROR_CHANNEL_FAILURE) {
    co_return Error(ErrorKind::refused, session_->host + " opens no channel for a command (" +
                                            session_->last_words() + "); is MaxSessions 0 there?");
  }
  std::function<int()> run = [&channel, &command] {
    return libssh2_channel_process_startup(channel, "exec", sizeof "exec" - 1, command.data(),
                                           static_cast<unsigned>(command.size()));
  };
  if (code == 0) code = co_await drive_ssh2(loop_, *session_, std::move(run));
  if (code == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED) {
    co_return Error(ErrorKind::refused, session_->host + " runs no command for this login");
  }
  if (code != 0) {
    end_.broken = Error(ErrorKind::transient,
                        "ssh to " + session_->host + " broke off (" + session_->last_words() + ")");
    co_return *end_.broken;
  }
  channel_ = channel;
  co_return done();
}

void Ssh2Stream::listen(Handlers handlers) {
  handlers_ = std::move(handlers);
  if (watch_ || is_over()) return;
  interest_ = kReadable;
  watch_ = loop_.watch(session_->fd.get(), interest_, [this](unsigned) { turn(); });
  go_on();  // what came with the answer to the start lies in the session already
}

size_t Ssh2Stream::write(std::string_view bytes) {
  if (is_over()) return bytes.size();  // `ended` tells that nobody reads
  size_t taken = 0;
  while (taken < bytes.size() && out_.empty()) {
    size_t some = std::min(bytes.size() - taken, kOut);
    out_.assign(bytes.substr(taken, some));
    taken += some;
    if (!flush()) break;
  }
  blocked_ = taken < bytes.size();
  go_on();  // a write reads too, and nothing would tell what it has found
  return taken;
}

void Ssh2Stream::end_input() {
  end_wanted_ = true;
  go_on();
}

void Ssh2Stream::close() {
  handlers_ = {};
  stop_watching();
  channel_ = nullptr;
  session_.reset();
}

void Ssh2Stream::stop_watching() {
  if (watch_) loop_.unwatch(std::exchange(watch_, 0));
  if (end_timer_) loop_.cancel(std::exchange(end_timer_, 0));
}

bool Ssh2Stream::has_news() const {
  pollfd one{session_->fd.get(), POLLIN | POLLRDHUP, 0};
  return ::poll(&one, 1, 0) != 0;
}

// After a call of libssh2: is a message of ours half sent?
void Ssh2Stream::take_note(Sender who, long code) {
  int directions = libssh2_session_block_directions(session_->raw);
  bool stuck = code == LIBSSH2_ERROR_EAGAIN && (directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0;
  if (sender_ == Sender::none && stuck) sender_ = who;
  if (sender_ == who && !stuck) sender_ = Sender::none;
}

// False when not all went, or the connection broke; the rest goes when the socket takes it.
bool Ssh2Stream::flush() {
  while (sent_ < out_.size()) {
    if (sender_ == Sender::reader) return false;
    // After a short send libssh2 wants the same bytes again: out_ does not change meanwhile.
    ssize_t wrote = libssh2_channel_write_ex(channel_, 0, out_.data() + sent_, out_.size() - sent_);
    take_note(Sender::writer, wrote);
    if (wrote == 0 || wrote == LIBSSH2_ERROR_EAGAIN) return false;
    if (wrote < 0) {
      break_off("writing: " + session_->last_words());
      return false;
    }
    sent_ += static_cast<size_t>(wrote);
  }
  out_.clear();
  sent_ = 0;
  if (!end_wanted_ || end_sent_ || sender_ == Sender::reader) return true;
  int code = libssh2_channel_send_eof(channel_);
  take_note(Sender::writer, code);
  if (code == LIBSSH2_ERROR_EAGAIN) return false;
  end_sent_ = true;
  if (code != 0) break_off("ending the input: " + session_->last_words());
  return code == 0;
}

// Reading may widen the window, which is a message of its own: not while another lies half sent.
bool Ssh2Stream::may_read() const {
  if (sender_ != Sender::writer) return true;
  unsigned long whole = 0;
  unsigned long left = libssh2_channel_window_read_ex(channel_, nullptr, &whole);
  return left >= whole / 4 * 3 + kPiece;
}

// 1: there may be more, 0: nothing now, -1: broken, or handed to somebody who ended it.
int Ssh2Stream::read_some_of(int stream, size_t& budget) {
  char piece[kPiece];
  if (!may_read()) {
    starved_ = true;
    return 0;
  }
  ssize_t got = libssh2_channel_read_ex(channel_, stream, piece, sizeof piece);
  take_note(Sender::reader, got);
  if (got == 0 || got == LIBSSH2_ERROR_EAGAIN) return 0;
  if (got < 0) {
    break_off(session_->last_words());
    return -1;
  }
  size_t count = static_cast<size_t>(got);
  budget -= std::min(budget, count);
  if (stream != 0) {
    end_.complaint.append(piece, count);
    if (end_.complaint.size() > kComplaint) {
      end_.complaint.erase(0, end_.complaint.size() - kComplaint);
    }
    return 1;
  }
  std::shared_ptr<bool> alive = alive_;
  auto bytes = handlers_.bytes;  // a copy: the handler may set others
  if (bytes) bytes({piece, count});
  return *alive && !is_over() ? 1 : -1;
}

void Ssh2Stream::drain() {
  size_t budget = kTurn;
  starved_ = false;
  for (int stream : {SSH_EXTENDED_DATA_STDERR, 0}) {
    int state = 1;
    while (state == 1 && budget > 0) state = read_some_of(stream, budget);
    if (state < 0) return;
  }
  if (budget == 0) return go_on();
  if (!starved_ && libssh2_channel_eof(channel_) == 1) at_end();
}

// One turn of the loop.
void Ssh2Stream::turn() {
  if (is_over()) return;
  std::shared_ptr<bool> alive = alive_;  // a handler may lead to our end
  bool through = flush();
  if (!*alive || is_over()) return;
  if (through && blocked_) {
    blocked_ = false;
    auto writable = handlers_.writable;
    if (writable) writable();
    if (!*alive || is_over()) return;
  }
  drain();
  if (!*alive || is_over()) return;
  set_interest();
}

// The code follows the output, mostly at once.
void Ssh2Stream::at_end() {
  int code = libssh2_channel_wait_closed(channel_);
  take_note(Sender::reader, code);
  if (code == LIBSSH2_ERROR_EAGAIN) {
    if (end_timer_) return;
    end_timer_ = loop_.timer(kExitPatience, [this] {
      end_timer_ = 0;
      tell_end();
    });
    return;
  }
  if (code != 0) return break_off(session_->last_words());
  end_.code = libssh2_channel_get_exit_status(channel_);
  char* signal = nullptr;
  size_t length = 0;
  libssh2_channel_get_exit_signal(channel_, &signal, &length, nullptr, nullptr, nullptr, nullptr);
  if (length > 0) end_.code = 128;
  if (signal) libssh2_free(session_->raw, signal);
  // Both sides have closed it: this waits for nothing.
  if (libssh2_channel_free(channel_) == 0) {
    channel_ = nullptr;
  } else {
    end_.broken = Error(ErrorKind::lost, "the channel could not be closed");
  }
  tell_end();
}

void Ssh2Stream::tell_end() {
  if (told_) return;
  told_ = true;
  stop_watching();
  if (channel_ && !end_.broken) {
    end_.broken = Error(ErrorKind::lost,
                        "ssh to " + session_->host + ": the command ended its output and stays");
  }
  auto ended = handlers_.ended;
  if (ended) ended();
}

void Ssh2Stream::break_off(const std::string& why) {
  if (end_.broken || told_) return;
  end_.broken = Error(ErrorKind::lost, "ssh to " + session_->host + " broke off (" + why + ")");
  stop_watching();
  // By a post: this may be within a call of the owner.
  loop_.post([this, alive = alive_] {
    if (*alive && session_) tell_end();
  });
}

void Ssh2Stream::go_on() {
  if (again_ || !watch_) return;
  again_ = true;
  loop_.post([this, alive = alive_] {
    if (!*alive) return;
    again_ = false;
    turn();
  });
}

void Ssh2Stream::set_interest() {
  if (!watch_) return;
  unsigned wanted = starved_ ? 0 : unsigned{kReadable};
  if (sender_ != Sender::none) wanted |= kWritable;
  if (wanted == interest_ || wanted == 0) return;
  interest_ = wanted;
  loop_.rewatch(watch_, wanted);
}

}  // namespace choline
