// The verb exec: a short command with its input and output on the channel.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "agent/child.h"
#include "agent/guard.h"
#include "agent/server.h"

namespace choline {

namespace {

class Exec : public Activity {
 public:
  Exec(Server& server, uint32_t channel, const Json& request)
      : Activity(server, channel),
        child_(server.reactor(),
               Child::Events{
                   [this](int stream, std::string_view bytes) { output(stream, bytes); },
                   [this] { return server_.mux().room(channel_); },
                   [this](size_t bytes) { taken(bytes); },
                   [this](int status) { ended(status); },
               }),
        guard_(server.reactor()),
        limit_(request.value("limit", uint64_t{0})),
        timeout_(request.value("timeout", 0.0)) {}
  ~Exec() override { server_.reactor().cancel(timer_); }

  Status start(const Program& program) {
    started_ = boot_seconds();
    Status started = child_.start(program);
    if (started) started = guard_.start(child_.pid(), Guard::Way::at_once);
    if (started && timeout_ > 0) {
      timer_ = server_.reactor().timer(timeout_, [this] {
        timed_out_ = true;
        child_.kill(SIGKILL);
      });
    }
    return started;
  }
  void on_data(std::string_view bytes) override { child_.write(bytes); }
  void on_end() override { child_.end_input(); }
  void on_room() override { child_.room_again(); }
  void on_note(const Json& note) override {
    if (int number = signal_of(note)) child_.kill(number);
  }

 private:
  void output(int stream, std::string_view bytes) {
    uint64_t& sent = sent_[stream - 1];
    size_t keep = limit_ == 0 ? bytes.size() : std::min<size_t>(bytes.size(), limit_ - sent);
    if (keep < bytes.size()) cut_[stream - 1] = true;
    sent += keep;
    server_.mux().send(channel_, bytes.substr(0, keep), stream);
    server_.kick();
  }
  void taken(size_t bytes) {
    server_.mux().consumed(channel_, bytes);
    server_.kick();
  }
  void ended(int status) {
    guard_.release();
    server_.finish(channel_, Json{{"code", exit_code(status)},
                                  {"signal", exit_signal(status)},
                                  {"out_cut", cut_[0]},
                                  {"err_cut", cut_[1]},
                                  {"timed_out", timed_out_},
                                  {"seconds", boot_seconds() - started_}});
    server_.kick();
  }

  Child child_;
  Guard guard_;     // Child ends all when the object goes, the guard when the agent is killed
  uint64_t limit_;  // of each stream; 0: none
  double timeout_;
  double started_ = 0;
  Reactor::Id timer_ = 0;
  uint64_t sent_[2] = {0, 0};
  bool cut_[2] = {false, false};
  bool timed_out_ = false;
};

}  // namespace

std::unique_ptr<Activity> make_exec(Server& server, uint32_t channel, const Json& request) {
  Result<Program> program = read_program(request, server.place());
  Status started = program ? done() : Status(program.error());
  auto exec = std::make_unique<Exec>(server, channel, request);
  if (started) started = exec->start(*program);
  if (started) return exec;
  server.finish(channel, error_answer(started.error()));
  return nullptr;
}

std::unique_ptr<Activity> make_own(Server& server, uint32_t channel, const std::string& word) {
  char path[4096];
  ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
  if (size <= 0) {
    server.finish(channel, error_answer(errno_error("find the agent's own program", errno)));
    return nullptr;
  }
  const char* home = ::getenv("HOME");  // other commands have that of the instance
  std::string own(path, static_cast<size_t>(size));
  Json request = {{"command", {{"list", {own, word}}}}, {"env", {{"HOME", home ? home : ""}}}};
  return make_exec(server, channel, request);
}

}  // namespace choline
