#include "line.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace proxy {

namespace {

constexpr size_t kPiece = 256 << 10;
constexpr uint64_t kHeld = 64 << 20;  // on an unlimited line: 25 ms of 2.5 GB a second

// A paced line holds what its delay and a fifth of a second make, as a router's queue does.
uint64_t held(const Settings& settings) {
  if (settings.rate == 0) return kHeld;
  auto time = settings.delay + std::chrono::milliseconds(200);
  auto bytes = settings.rate * static_cast<uint64_t>(time.count()) / 1'000'000;
  return std::clamp<uint64_t>(bytes, 4096, kHeld);
}

// Of a paced line so small that it flows rather than bursts.
size_t piece_size(const Settings& settings) {
  if (settings.rate == 0) return kPiece;
  return std::clamp<size_t>(settings.rate / 200, 512, kPiece);
}

}  // namespace

bool Flow::wants_bytes(const Settings& settings) const {
  return !ended_ && waiting_bytes_ < held(settings);
}

Time Flow::due() const {
  if (blocked_ || told_end_) return Time::max();
  if (!waiting_.empty()) return waiting_.front().due;
  return ended_ ? end_due_ : Time::max();
}

bool Flow::take(const Settings& settings, Time now) {
  std::string bytes(piece_size(settings), '\0');
  ssize_t got = recv(from_, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) {
    ended_ = true;
    end_due_ = std::max(now, pace_.free) + settings.delay;
    return true;
  }
  bytes.resize(static_cast<size_t>(got));
  pace_.free = std::max(now, pace_.free);
  if (settings.rate > 0) {
    pace_.free += std::chrono::nanoseconds(bytes.size() * 1'000'000'000 / settings.rate);
  }
  waiting_bytes_ += bytes.size();
  waiting_.push_back(Piece{std::move(bytes), 0, pace_.free + settings.delay});
  return true;
}

bool Flow::pass_on(Piece& piece, uint64_t& left) {
  size_t most = std::min<size_t>(piece.bytes.size() - piece.at, left);
  ssize_t sent = send(to_, piece.bytes.data() + piece.at, most, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    blocked_ = errno == EAGAIN;
    return blocked_ || errno == EINTR;
  }
  piece.at += static_cast<size_t>(sent);
  waiting_bytes_ -= static_cast<uint64_t>(sent);
  left -= static_cast<uint64_t>(sent);
  return left > 0;
}

bool Flow::give(Time now, uint64_t& left) {
  while (!waiting_.empty() && !blocked_ && waiting_.front().due <= now) {
    if (!pass_on(waiting_.front(), left)) return false;
    if (waiting_.front().at == waiting_.front().bytes.size()) waiting_.pop_front();
  }
  if (ended_ && waiting_.empty() && !told_end_ && end_due_ <= now) {
    told_end_ = true;
    shutdown(to_, SHUT_WR);  // a socket that is gone needs no word
  }
  return true;
}

void Flow::heal(Time now) {
  for (Piece& piece : waiting_) piece.due = std::max(piece.due, now);
}

}  // namespace proxy
