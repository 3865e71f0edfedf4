// The event loop: one thread, timers, descriptors, signals, child exits. EpollLoop is the real one,
// SimLoop runs on virtual time. Nothing here knows Lua.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

namespace choline {

using TimerId = uint64_t;
using WatchId = uint64_t;

enum Ready : unsigned { kReadable = 1, kWritable = 2, kHangup = 4 };

struct ExitStatus {
  int code = 0;    // exit code, or 128 + signal
  int signal = 0;  // 0 when it exited by itself
};

class Loop {
 public:
  using Fn = std::function<void()>;

  Loop() = default;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  virtual ~Loop() = default;

  // Seconds since 1970, as the wall says; may jump.
  virtual double wall() = 0;
  // Seconds since some start; counts through a suspend (CLOCK_BOOTTIME), never jumps back.
  virtual double ticks() = 0;

  // Calls `fn` once, `seconds` from now in ticks(). cancel() of a fired or unknown id does nothing.
  virtual TimerId timer(double seconds, Fn fn) = 0;
  virtual void cancel(TimerId id) = 0;

  // Level-triggered. `events` is a set of Ready bits; kHangup is always reported. The handler may
  // unwatch itself; an event for an unwatched id is never delivered, also when the descriptor's
  // number was reused within one batch. Several watches of one descriptor are fine; a regular file
  // is always ready. Unwatch before closing.
  virtual WatchId watch(int fd, unsigned events, std::function<void(unsigned)> fn) = 0;
  virtual void rewatch(WatchId id, unsigned events) = 0;
  virtual void unwatch(WatchId id) = 0;

  // Runs `fn` on the next turn, in order of posting.
  virtual void post(Fn fn) = 0;
  // The same, from any thread.
  virtual void post_from_thread(Fn fn) = 0;

  // Delivered on the loop; a signal with a handler no longer kills the process. One handler a
  // signal.
  virtual void on_signal(int number, std::function<void(int)> fn) = 0;
  // `fn` is called once when child `pid` has exited; the loop reaps it.
  virtual void on_exit(pid_t pid, std::function<void(ExitStatus)> fn) = 0;
  // Called when the wall clock jumped or the machine woke from a suspend.
  virtual void on_clock_jump(Fn fn) = 0;

  // Blocking work on a worker thread; `done` runs on the loop afterwards. SimLoop runs it inline.
  virtual void work(Fn blocking, Fn done) = 0;

  // Until stop(), or until nothing is left that could ever fire: no timer, watch, post, child or
  // work. Handlers of signals and clock jumps do not count, else a program that minds Ctrl-C would
  // never end; nor do threads that might post, unless something is watched for them meanwhile.
  // What a handler throws comes out of run(), which may then be called again.
  virtual void run() = 0;
  virtual void stop() = 0;
};

}  // namespace choline
