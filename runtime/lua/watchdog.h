// Stops Lua that runs on and on without waiting. A timer over the thread's processor time sends a
// signal a few times a second, and only while something is being computed: an idle process is never
// woken, and waiting, suspends and a busy machine do not count.
#pragma once

#include <signal.h>
#include <time.h>

#include <atomic>
#include <cstdint>
#include <lua.hpp>

namespace choline {

class Host;

class Watchdog {
 public:
  // `limit` in seconds of processor time for one resume. One watchdog a process.
  Watchdog(Host& host, double limit);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

 private:
  static void on_signal(int);
  static void stop_lua(lua_State* L, lua_Debug* frame);
  void tick();

  Host& host_;
  double limit_;
  unsigned most_ticks_ = 0;
  unsigned ticks_ = 0;  // seen in the present resume
  uint64_t resume_ = 0;
  std::atomic<bool> pending_{false};  // the hook is set and has not been called yet
  timer_t timer_{};
  bool armed_ = false;
};

}  // namespace choline
