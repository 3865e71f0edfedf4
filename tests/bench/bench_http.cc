// Requests per second of 1,000 coroutines that each ask again as soon as they were answered.
#include <functional>
#include <memory>
#include <vector>

#include "bench/benches.h"
#include "bench/measure.h"
#include "io/http.h"
#include "loop/epoll_loop.h"

namespace choline {
namespace {

constexpr int kTasks = 1000;
constexpr int kEach = 20;

Co<int> ask_again(Http& http, std::string url) {
  int answered = 0;
  for (int i = 0; i < kEach; ++i) {
    HttpRequest request;
    request.url = url;
    Result<HttpResponse> response = co_await http.fetch(std::move(request));
    if (response && response->status == 200) ++answered;
  }
  co_return answered;
}

}  // namespace

bool bench_http(const std::string& url) {
  EpollLoop loop;
  Http http(loop);
  int running = kTasks;
  int answered = 0;
  std::function<void(int)> finish = [&](int count) {
    answered += count;
    if (--running == 0) loop.stop();
  };
  double began = wall_seconds();
  double used = processor_seconds();
  {
    std::vector<std::unique_ptr<Started>> tasks;
    for (int i = 0; i < kTasks; ++i)
      tasks.push_back(std::make_unique<Started>(ask_again(http, url), finish));
    loop.run();
  }
  double seconds = wall_seconds() - began;
  if (answered != kTasks * kEach) {
    std::fprintf(stderr, "only %d of %d requests were answered\n", answered, kTasks * kEach);
    return false;
  }
  report("http_requests_per_second", answered / seconds, "1/s");
  report("http_cpu_per_request", (processor_seconds() - used) / answered * 1e6, "us");
  return true;
}

}  // namespace choline
