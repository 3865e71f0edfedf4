#include "lua/watchdog.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <string>

#include "base/log.h"
#include "lua/failure.h"
#include "lua/host.h"

namespace choline {

namespace {

constexpr double kTick = 0.25;
std::atomic<Watchdog*> active{nullptr};

int watchdog_signal() {
  return SIGRTMIN + 7;
}

}  // namespace

Watchdog::Watchdog(Host& host, double limit) : host_(host), limit_(limit) {
  Watchdog* none = nullptr;
  if (limit <= 0 || !active.compare_exchange_strong(none, this)) return;
  double tick = std::min(kTick, limit / 2);
  most_ticks_ = static_cast<unsigned>(std::ceil(limit / tick));
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(watchdog_signal(), &action, nullptr);
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = watchdog_signal();
  event._sigev_un._tid = gettid();
  if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer_) != 0) {
    log_warning(std::string("no watchdog for runaway Lua: timer_create: ") + std::strerror(errno));
    active.store(nullptr);
    return;
  }
  armed_ = true;
  itimerspec every{};
  every.it_interval.tv_sec = static_cast<time_t>(tick);
  every.it_interval.tv_nsec = static_cast<long>((tick - std::floor(tick)) * 1e9);
  every.it_value = every.it_interval;
  timer_settime(timer_, 0, &every, nullptr);
}

Watchdog::~Watchdog() {
  if (!armed_) return;
  timer_delete(timer_);
  active.store(nullptr);
}

void Watchdog::on_signal(int) {
  int saved = errno;
  if (Watchdog* watchdog = active.load()) watchdog->tick();
  errno = saved;
}

// In a signal handler: nothing here may allocate or lock.
void Watchdog::tick() {
  lua_State* running = host_.running.load(std::memory_order_relaxed);
  uint64_t resume = host_.resumes.load(std::memory_order_relaxed);
  if (!running || resume != resume_ || host_.in_native.load(std::memory_order_relaxed)) {
    resume_ = resume;
    ticks_ = 0;
    pending_.store(false);
    return;
  }
  ++ticks_;
  if (ticks_ < most_ticks_) return;
  if (ticks_ >= 3 * most_ticks_) {
    // A hook cannot interrupt a library function (a pathological pattern). A crash is safe.
    constexpr char kText[] =
        "choline: Lua code did not come back from a library function (a pattern that never ends?); "
        "stopping the process, the run can be resumed\n";
    ssize_t written = write(STDERR_FILENO, kText, sizeof kText - 1);
    _exit(written < 0 ? 71 : 70);
  }
  // Again on each tick: meanwhile another coroutine may be running.
  pending_.store(true);
  lua_sethook(running, stop_lua, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

void Watchdog::stop_lua(lua_State* L, lua_Debug*) {
  lua_sethook(L, nullptr, 0, 0);
  Watchdog* watchdog = active.load();
  // A hook left on a coroutine from an earlier alarm.
  if (!watchdog || !watchdog->pending_.exchange(false)) return;
  watchdog->ticks_ = 0;  // <close> handlers get the same time again
  if (Task* task = watchdog->host_.current()) task->runaway = true;
  raise_failure(L, "invalid",
                "ran for %f s without waiting and was stopped; a loop that never ends?",
                watchdog->limit_);
}

}  // namespace choline
