#include "agent/direct.h"

#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <thread>

#include "agent/file.h"
#include "transfer/frame.h"

namespace choline {

namespace {

constexpr size_t kMostJob = size_t{16} << 20;

}  // namespace

Result<Json> read_direct_job() {
  std::string text;
  char buffer[16384];
  while (!text.ends_with('\n')) {
    ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Error(ErrorKind::lost, "direct: nothing was asked");
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kMostJob)
      return Error(ErrorKind::invalid, "direct: what was asked is too long");
  }
  Result<Json> job = parse_json(text);
  if (job.ok() && !job->is_object())
    return Error(ErrorKind::invalid, "direct: what was asked is no object");
  return job;
}

void say_direct(const Json& line) {
  static std::mutex one_at_a_time;
  std::lock_guard lock(one_at_a_time);
  // Nobody listens any more: the end of stdin says so too.
  (void)write_all(STDOUT_FILENO, to_text(line) + "\n").ok();
}

void end_with_input() {
  std::thread([] {
    char buffer[256];
    for (;;) {
      ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
      if (got == 0 || (got < 0 && errno != EINTR)) ::_exit(1);
    }
  }).detach();
}

int tell_direct_end(const Result<SyncReport>& report) {
  if (report.ok()) {
    say_direct(Json{{"report", to_json(*report)}});
    return 0;
  }
  Error error = report.error();
  bool broke =
      error.message.starts_with("transfer: write") || error.message.starts_with("transfer: read");
  if (broke) error = Error(ErrorKind::lost, "transfer: the other end has gone in the middle of it");
  say_direct(Json{{"error", to_json(error)}});
  return 1;
}

}  // namespace choline
