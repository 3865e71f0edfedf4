// What a wait and a waiting task of Lua cost, the loop and the border included.
#include <cstdlib>
#include <string>

#include "bench/benches.h"
#include "bench/measure.h"
#include "io/http.h"
#include "loop/await.h"
#include "loop/epoll_loop.h"
#include "lua/host.h"

namespace choline {
namespace {

constexpr int kWaits = 200'000;
constexpr int kTasks = 100'000;
constexpr int kGetters = 1000;
constexpr int kGets = 20;

Co<Result<Json>> one_turn(Loop& loop) {
  co_await Sleep(loop, 0);
  co_return Json(nullptr);
}

Co<Result<Json>> for_ever(Loop& loop) {
  co_await Sleep(loop, 1e6);
  co_return Json(nullptr);
}

Co<Result<Json>> get(Http& http, std::string url, int* answered) {
  HttpRequest request;
  request.url = std::move(url);
  Result<HttpResponse> response = co_await http.fetch(std::move(request));
  if (!response) co_return response.error();
  if (response->status == 200) ++*answered;
  co_return Json(response->status);
}

struct Bench {
  Bench() : host(loop, options()) {
    host.add("bench", {"turn", nullptr, [this](Json) { return one_turn(loop); }});
    host.add("bench", {"sleep", nullptr, [this](Json) { return for_ever(loop); }});
    host.add("bench", {"mark",
                       [this](const Json&) -> Result<Json> {
                         seconds = wall_seconds();
                         processor = processor_seconds();
                         resident = resident_bytes();
                         return Json(nullptr);
                       },
                       nullptr});
  }

  static HostOptions options() {
    HostOptions options;
    options.memory = size_t{4} << 30;
    options.runaway = 600;
    return options;
  }

  bool run(const std::string& text) {
    Outcome outcome;
    host.start_text(text, "@bench.lua", {}, [&](Outcome ended) {
      outcome = std::move(ended);
      loop.stop();
    });
    loop.run();
    if (!outcome.ok) std::fprintf(stderr, "bench.lua: %s\n", outcome.message.c_str());
    return outcome.ok;
  }

  EpollLoop loop;
  Host host;
  double seconds = 0, processor = 0, resident = 0;
};

}  // namespace

bool bench_wait() {
  Bench bench;
  const std::string text = "local native = ...\nnative.bench.mark()\nfor _ = 1, " +
                           std::to_string(kWaits) + " do native.bench.turn() end\n";
  if (!bench.run(text)) return false;
  report("wait.wall", (wall_seconds() - bench.seconds) / kWaits * 1e6, "us");
  report("wait.processor", (processor_seconds() - bench.processor) / kWaits * 1e6, "us");
  return true;
}

bool bench_lua_http(const std::string& url) {
  Bench bench;
  Http http(bench.loop);
  int answered = 0;
  bench.host.add("bench", {"get", nullptr, [&](Json) { return get(http, url, &answered); }});
  const std::string text =
      "local native = ...\nlocal get, tasks = native.bench.get, {}\nnative.bench.mark()\n"
      "for index = 1, " +
      std::to_string(kGetters) +
      " do\n  tasks[index] = native.task.spawn('t' .. index, function()\n    for _ = 1, " +
      std::to_string(kGets) +
      " do get() end\n  end)\nend\nfor _, task in ipairs(tasks) do native.task.join(task) end\n";
  if (!bench.run(text) || answered != kGetters * kGets) return false;
  report("http.lua", answered / (wall_seconds() - bench.seconds), "1/s");
  report("http.lua.processor", (processor_seconds() - bench.processor) / answered * 1e6, "us");
  return true;
}

bool bench_tasks() {
  Bench bench;
  const std::string text =
      "local native = ...\nlocal spawn, sleep = native.task.spawn, native.bench.sleep\n"
      "native.bench.mark()\nlocal tasks = {}\nfor index = 1, " +
      std::to_string(kTasks) +
      " do tasks[index] = spawn('t' .. index, function() sleep() end) end\n"
      "native.bench.turn()\nreturn true\n";
  bool counted = false;
  const double before = resident_bytes();
  bench.loop.timer(0.5, [&] {
    // The main task waits for its children; they wait for ever.
    counted = true;
    report("tasks.alive", static_cast<double>(bench.host.tasks_alive()), "tasks");
    report("tasks.bytes", (resident_bytes() - before) / kTasks, "bytes");
    std::fflush(stdout);
    std::_Exit(0);
  });
  bench.run(text);
  return counted;
}

}  // namespace choline
