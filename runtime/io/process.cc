#include "io/process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "io/fd.h"
#include "loop/await.h"

namespace choline {

struct Child::State {
  State(Loop& the_loop, pid_t the_pid, bool is_detached, double grace_seconds)
      : loop(the_loop), pid(the_pid), detached(is_detached), grace(grace_seconds) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    // The loop is gone and will not reap any more.
    if (status || detached) return;
    kill(-pid, SIGKILL);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  void ended(ExitStatus how) {
    status = how;
    if (abandoned) {
      loop.cancel(kill_timer);
      kill(-pid, SIGKILL);  // what it left in its group; most often nobody
    }
    if (auto fn = std::exchange(on_end, nullptr)) fn();
  }

  Loop& loop;
  pid_t pid;
  bool detached;
  double grace;
  bool abandoned = false;
  TimerId kill_timer = 0;
  std::optional<ExitStatus> status;
  std::function<void()> on_end;
};

Child::Child(Loop& loop, Spawned spawned, bool detached, double grace)
    : in(std::move(spawned.in)),
      out(std::move(spawned.out)),
      err(std::move(spawned.err)),
      loop_(loop),
      state_(std::make_shared<State>(loop, spawned.pid, detached, grace)) {
  loop.on_exit(spawned.pid, [state = state_](ExitStatus status) { state->ended(status); });
}

Child::~Child() {
  if (!state_ || state_->status) return;
  state_->on_end = nullptr;
  if (state_->detached) return;
  state_->abandoned = true;
  kill(-state_->pid, SIGTERM);
  // Weak: the loop may go first, and then the state must end the child.
  std::weak_ptr<State> weak = state_;
  state_->kill_timer = loop_.timer(state_->grace, [weak] {
    std::shared_ptr<State> state = weak.lock();
    if (state && !state->status) kill(-state->pid, SIGKILL);
  });
}

pid_t Child::pid() const {
  return state_->pid;
}
std::optional<ExitStatus> Child::status() const {
  return state_->status;
}

void Child::on_end(std::function<void()> fn) {
  state_->on_end = std::move(fn);
  if (!state_->status || !state_->on_end) return;
  loop_.post([weak = std::weak_ptr<State>(state_)] {
    std::shared_ptr<State> state = weak.lock();
    if (!state) return;
    if (auto end = std::exchange(state->on_end, nullptr)) end();
  });
}

bool Child::signal(int number) {
  if (state_->status) return false;
  return kill(-state_->pid, number) == 0;
}

namespace {

// Waits for the end of a child, and takes back its wish to hear of it when cancelled.
class ChildEnd {
 public:
  explicit ChildEnd(Child& child) : child_(child) {}
  ChildEnd(const ChildEnd&) = delete;
  ChildEnd& operator=(const ChildEnd&) = delete;
  ~ChildEnd() { child_.on_end(nullptr); }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    child_.on_end([caller] { caller.resume(); });
  }
  ExitStatus await_resume() { return *child_.status(); }

 private:
  Child& child_;
};

// Moves bytes between a child's pipes and memory until it has ended.
class Pump {
 public:
  Pump(Loop& loop, Child& child, RunOptions& options, RunResult& result)
      : loop_(loop), child_(child), options_(options) {
    out_.text = &result.out;
    err_.text = &result.err;
    out_.cut = &result.out_cut;
    err_.cut = &result.err_cut;
    out_.number = 1;
    err_.number = 2;
    begin(out_, child.out);
    begin(err_, child.err);
    if (options.input.empty()) {
      child.in.reset();
    } else if (child.in) {
      in_watch_ = loop.watch(child.in.get(), kWritable, [this](unsigned) { feed(); });
    }
  }
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;
  ~Pump() {
    for (WatchId watch : {out_.watch, err_.watch, in_watch_}) {
      if (watch) loop_.unwatch(watch);
    }
  }

  // What is in the pipes now, without waiting.
  void drain() {
    for (Output* output : {&out_, &err_}) {
      while (output->watch && take(*output)) {
      }
    }
  }

 private:
  struct Output {
    int number = 0;
    UniqueFd* fd = nullptr;
    WatchId watch = 0;
    std::string* text = nullptr;
    bool* cut = nullptr;
  };

  void begin(Output& output, UniqueFd& fd) {
    output.fd = &fd;
    if (!fd) return;
    output.watch = loop_.watch(fd.get(), kReadable, [this, &output](unsigned) { take(output); });
  }

  // One read of a bounded size, so that a child that shouts does not stall the loop. False when
  // there is nothing more for now.
  bool take(Output& output) {
    std::array<char, 65536> buffer;
    ssize_t got = read(output.fd->get(), buffer.data(), buffer.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR;
    if (got <= 0) {
      loop_.unwatch(std::exchange(output.watch, 0));
      output.fd->reset();
      return false;
    }
    std::string_view bytes(buffer.data(), static_cast<size_t>(got));
    output.text->append(bytes);
    if (output.text->size() > 2 * options_.output_limit) trim(output);
    if (options_.on_output) options_.on_output(output.number, bytes);
    return true;
  }

 public:
  void trim_all() {
    trim(out_);
    trim(err_);
  }

 private:
  void trim(Output& output) {
    if (output.text->size() <= options_.output_limit) return;
    output.text->erase(0, output.text->size() - options_.output_limit);
    *output.cut = true;
  }

  void feed() {
    ssize_t put =
        write(child_.in.get(), options_.input.data() + fed_, options_.input.size() - fed_);
    if (put < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (put > 0) fed_ += static_cast<size_t>(put);
    // A child that reads no further has closed its end: no fault of ours.
    if (put <= 0 || fed_ == options_.input.size()) {
      loop_.unwatch(std::exchange(in_watch_, 0));
      child_.in.reset();
    }
  }

  Loop& loop_;
  Child& child_;
  RunOptions& options_;
  Output out_, err_;
  WatchId in_watch_ = 0;
  size_t fed_ = 0;
};

// Sends TERM when the time is up and KILL after the grace.
class Deadline {
 public:
  Deadline(Loop& loop, Child& child, const RunOptions& options, bool& timed_out) : loop_(loop) {
    if (options.timeout <= 0) return;
    double grace = options.grace;
    timer_ = loop.timer(options.timeout, [this, &child, &timed_out, grace] {
      timed_out = true;
      child.signal(SIGTERM);
      timer_ = loop_.timer(grace, [this, &child] {
        timer_ = 0;
        child.signal(SIGKILL);
      });
    });
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline() {
    if (timer_) loop_.cancel(timer_);
  }

 private:
  Loop& loop_;
  TimerId timer_ = 0;
};

}  // namespace

Co<ExitStatus> Child::wait() {
  ExitStatus status = co_await ChildEnd(*this);
  co_return status;
}

Co<Result<RunResult>> run_process(Loop& loop, RunOptions options) {
  if (!options.input.empty()) options.spawn.in = Stdio::pipe;
  Result<Spawned> spawned = spawn(options.spawn);
  if (!spawned.ok()) co_return spawned.error();
  RunResult result;
  Child child(loop, std::move(spawned).value(), options.spawn.detached, options.grace);
  Pump pump(loop, child, options, result);
  Deadline deadline(loop, child, options, result.timed_out);
  ExitStatus status = co_await ChildEnd(child);
  result.status = status;
  pump.drain();
  pump.trim_all();
  co_return result;
}

}  // namespace choline
