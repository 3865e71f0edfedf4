// One direction of a line that delays and paces what goes through it, and the state of the line
// that its connections share.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>

namespace proxy {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

// What a person sets, at the start or by a command.
struct Settings {
  std::chrono::microseconds delay{0};  // each way
  uint64_t rate = 0;                   // bytes a second each way, over all connections; 0: no limit
  uint64_t cut_after = 0;              // bytes of a connection, both ways together; 0: never
  bool frozen = false;                 // nothing goes through, and nobody is told
  bool refuses = false;                // new connections are reset
};

// What is on its way in one direction, over all connections: the next byte begins when the line is
// free.
struct Pace {
  Time free{};
};

// Bytes on their way from one socket to the other. Takes them as fast as they come, up to what the
// line holds, so that the delay costs no throughput.
class Flow {
 public:
  Flow(int from, int to, Pace& pace) : from_(from), to_(to), pace_(pace) {}

  int from() const { return from_; }
  int to() const { return to_; }
  bool wants_bytes(const Settings& settings) const;
  bool wants_room() const { return blocked_; }
  bool over() const { return told_end_; }
  // When there is something to do again; the end of time when only a socket can tell.
  Time due() const;

  // Both are false when the connection is broken. `left`: how many bytes the connection may still
  // pass on before it is cut; counted down.
  bool take(const Settings& settings, Time now);
  bool give(Time now, uint64_t& left);
  void room() { blocked_ = false; }
  void heal(Time now);  // after a frozen time: what waited goes now

 private:
  struct Piece {
    std::string bytes;
    size_t at;
    Time due;
  };
  bool pass_on(Piece& piece, uint64_t& left);

  int from_, to_;
  Pace& pace_;
  std::deque<Piece> waiting_;
  uint64_t waiting_bytes_ = 0;
  bool blocked_ = false;   // the far socket has no room
  bool ended_ = false;     // no more bytes will come
  bool told_end_ = false;  // and the far side knows
  Time end_due_{};
};

}  // namespace proxy
