// native.clock and native.wait: time as the run sees it, and time as it is.
#include <algorithm>
#include <array>
#include <cstdio>
#include <deque>
#include <memory>

#include "base/time.h"
#include "durable/owned_run.h"
#include "durable/rehearsal.h"
#include "loop/await.h"
#include "native/module.h"
#include "native/services.h"

namespace choline {

namespace {

Result<Json> now(Services& services, const Json&) {
  if (services.rehearsal) return Json(services.rehearsal->now());
  if (services.owned && !services.caller().outside) return Json(services.owned->steps().now());
  return Json(services.loop.wall());
}

Result<Json> wall(Services& services, const Json&) {
  return Json(services.loop.wall());
}
Result<Json> ticks(Services& services, const Json&) {
  return Json(services.loop.ticks());
}

Result<std::string> zone_arg(const Json& args, size_t index, std::string_view what) {
  if (arg(args, index).is_null()) return std::string();
  return string_arg(args, index, what);
}

Result<Json> format(Services&, const Json& args) {
  Result<double> time = number_arg(args, 0, "clock.format");
  if (!time) return time.error();
  Result<std::string> zone = zone_arg(args, 1, "clock.format");
  if (!zone) return zone.error();
  Result<LocalTime> local = to_local(*time, *zone);
  if (!local) return local.error();
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02d %02d:%02d:%02d ", local->year,
                local->month, local->day, local->hour, local->minute,
                static_cast<int>(local->second));
  return Json(text.data() + local->abbreviation);
}

Result<Json> rfc3339(Services&, const Json& args) {
  Result<double> time = number_arg(args, 0, "clock.rfc3339");
  if (!time) return time.error();
  return Json(to_rfc3339(*time));
}

Result<Json> zone(Services&, const Json&) {
  Result<std::string> name = local_zone();
  if (!name) return name.error();
  return Json(std::move(*name));
}

Result<Json> period(Services&, const Json& args) {
  Result<double> time = number_arg(args, 0, "clock.period");
  if (!time) return time.error();
  Result<std::string> zone = zone_arg(args, 1, "clock.period");
  if (!zone) return zone.error();
  Result<ZonePeriod> found = zone_period(*time, *zone);
  if (!found) return found.error();
  return Json{{"begins", static_cast<int64_t>(found->begins)},
              {"ends", static_cast<int64_t>(found->ends)},
              {"offset", found->offset},
              {"abbreviation", found->abbreviation}};
}

Result<Json> zones(Services&, const Json&) {
  Result<std::vector<std::string>> names = zone_names();
  if (!names) return names.error();
  return Json(*names);
}

// Timers count through a suspend but know nothing of a clock that is set: look again now and then.
constexpr double kLongestNap = 30;

Co<Result<Json>> sleep(Services& services, Json args, StepContext context) {
  Result<double> seconds = number_arg(args, 0, "wait.sleep");
  if (!seconds) co_return seconds.error();
  double from = context.run.empty() ? services.loop.wall() : context.intended_at;
  double due = from + *seconds;
  Loop& loop = services.loop;
  // Whoever waits outside a run measures a span, not an instant.
  if (context.run.empty()) {
    co_await Sleep(loop, *seconds);
    co_return Json();
  }
  while (loop.wall() < due) {
    double nap = std::min(due - loop.wall(), kLongestNap);
    co_await Sleep(loop, nap);
  }
  co_return Json();
}

// Wakes all who wait for an instant, to look at the clock again.
std::shared_ptr<Event> clock_event(Services& services) {
  if (services.clock_changed) return services.clock_changed;
  services.clock_changed = std::make_shared<Event>(services.loop);
  services.loop.on_clock_jump([event = std::weak_ptr<Event>(services.clock_changed)] {
    std::shared_ptr<Event> alive = event.lock();
    if (!alive) return;
    alive->set();
    alive->clear();
  });
  return services.clock_changed;
}

class Alarm {
 public:
  Alarm(Loop& loop, double seconds, std::shared_ptr<Event> event) : loop_(loop) {
    timer_ = loop_.timer(seconds, [this, event = std::move(event)] {
      timer_ = 0;
      event->set();
      event->clear();
    });
  }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;
  ~Alarm() {
    if (timer_) loop_.cancel(timer_);
  }

 private:
  Loop& loop_;
  TimerId timer_ = 0;
};

Co<Result<Json>> till(Services& services, Json args, StepContext) {
  Result<double> due = number_arg(args, 0, "wait.till");
  if (!due) co_return due.error();
  std::shared_ptr<Event> changed = clock_event(services);
  Loop& loop = services.loop;
  while (loop.wall() < *due) {
    double nap = std::min(*due - loop.wall(), kLongestNap);
    Alarm alarm(loop, nap, changed);
    Event::Waiter waiter(*changed);
    co_await waiter;
  }
  co_return Json();
}

}  // namespace

struct Passed {
  explicit Passed(Loop& loop) : arrived(loop) {}
  std::deque<Json> values;
  Event arrived;
};

namespace {

std::shared_ptr<Passed> passed_of(Services& services, const std::string& kind) {
  std::shared_ptr<Passed>& queue = services.passed[kind];
  if (!queue) queue = std::make_shared<Passed>(services.loop);
  return queue;
}

Result<Json> pass(Services& services, const Json& args) {
  Result<std::string> kind = string_arg(args, 0, "native.wait.pass");
  if (!kind) return kind.error();
  if (services.caller && !services.caller().outside) {
    return Error(ErrorKind::invalid, "native.wait.pass: only a task outside the run may pass in");
  }
  std::shared_ptr<Passed> queue = passed_of(services, *kind);
  queue->values.push_back(arg(args, 1));
  queue->arrived.set();
  return Json();
}

Co<Result<Json>> passed(Services& services, Json args, StepContext) {
  Result<std::string> kind = string_arg(args, 0, "native.wait.passed");
  if (!kind) co_return kind.error();
  std::shared_ptr<Passed> queue = passed_of(services, *kind);
  while (queue->values.empty()) {
    queue->arrived.clear();
    Event::Waiter waiter(queue->arrived);
    co_await waiter;
  }
  Json value = std::move(queue->values.front());
  queue->values.pop_front();
  co_return value;
}

}  // namespace

NativeModule clock_module() {
  return {"clock",
          {{"now", now},
           {"wall", wall},
           {"ticks", ticks},
           {"format", format},
           {"rfc3339", rfc3339},
           {"zone", zone},
           {"period", period},
           {"zones", zones}}};
}

NativeModule wait_module() {
  return {"wait",
          {{"sleep", StepClass::wait, sleep},
           {"till", StepClass::wait, till},
           {"pass", pass},
           {"passed", StepClass::wait, passed}}};
}

}  // namespace choline
