#include "moves/attempt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "base/unique_fd.h"
#include "io/fd.h"
#include "loop/await.h"
#include "loop/epoll_loop.h"
#include "transfer/serve.h"
#include "transfer/sync.h"

namespace choline::moves {

namespace {

constexpr size_t kBlock = 64 << 10;

double patience() {
  const char* slow = getenv("CHOLINE_TEST_SLOW");
  return 30 * (slow ? std::max(1.0, atof(slow)) : 1.0);
}

class SocketChannel : public Channel {
 public:
  SocketChannel(Loop& loop, int fd) : loop_(loop), fd_(fd) {}
  ~SocketChannel() override { shutdown(fd_.get(), SHUT_RDWR); }
  Co<Result<std::string>> read(size_t most) override {
    Result<std::string> bytes = co_await read_some(loop_, fd_.get(), most);
    co_return bytes;
  }
  Co<Status> write(std::string bytes) override {
    Status status = co_await write_all(loop_, fd_.get(), std::move(bytes));
    co_return status;
  }

 private:
  Loop& loop_;
  UniqueFd fd_;
};

// Writes what came of it to `told`: the report, or an error as a JSON text.
[[noreturn]] void be_near(const Attempt& attempt, int fd, int told) {
  EpollLoop loop;
  std::optional<Result<SyncReport>> result;
  {
    (void)set_nonblocking(fd);
    auto channel = std::make_unique<SocketChannel>(loop, fd);
    SyncEnd from{attempt.from, nullptr}, to{attempt.to, nullptr};
    SyncEnd& far = attempt.pull ? from : to;
    far.channel = std::move(channel);
    far.squeezes = true;
    Started work(sync_files(loop, std::move(from), std::move(to), attempt.options, nullptr),
                 std::function<void(Result<SyncReport>)>([&](Result<SyncReport> report) {
                   result.emplace(std::move(report));
                   loop.stop();
                 }));
    if (!result) loop.run();
    work.check();
  }
  Json answer = Json::object();
  if (result && result->ok()) {
    answer["report"] = to_json(**result);
  } else {
    answer["error"] = result ? result->error().message : "nothing came of it";
  }
  std::string text = choline::to_text(answer);
  for (size_t at = 0; at < text.size();) {
    ssize_t put = ::write(told, text.data() + at, text.size() - at);
    if (put <= 0) break;
    at += static_cast<size_t>(put);
  }
  _exit(0);
}

[[noreturn]] void be_far(int fd) {
  _exit(serve_transfer(fd, fd, ServeOptions{}));
}

struct Child {
  pid_t pid = 0;
  UniqueFd socket;
  bool killed = false;
};

template <class Body>
Child start(Body body) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::runtime_error("socketpair failed");
  }
  Child child;
  child.pid = fork();
  if (child.pid < 0) throw std::runtime_error("fork failed");
  if (child.pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    body(ends[1]);
  }
  close(ends[1]);
  child.socket.reset(ends[0]);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return child;
}

// Passes bytes on in one direction, up to a number of them.
struct Flow {
  Child& from;
  Child& to;
  uint64_t& passed;
  uint64_t left;
  std::string waiting{};
  bool ended = false, told = false;

  bool reads() const { return from.socket && !ended && waiting.size() < kBlock; }
  bool writes() const { return to.socket && !waiting.empty(); }
  void take() {
    char block[kBlock];
    ssize_t got = recv(from.socket.get(), block, sizeof block, 0);
    if (got > 0) waiting.append(block, static_cast<size_t>(got));
    ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  }
  void give() {
    size_t most = std::min<uint64_t>(waiting.size(), left);
    ssize_t put = most == 0 ? 0 : send(to.socket.get(), waiting.data(), most, MSG_NOSIGNAL);
    if (put > 0) {
      waiting.erase(0, static_cast<size_t>(put));
      passed += static_cast<uint64_t>(put);
      left -= static_cast<uint64_t>(put);
    } else if (put < 0 && errno != EAGAIN && errno != EINTR) {
      waiting.clear();
      ended = true;
    }
    if (ended && waiting.empty() && !told && to.socket) {
      told = true;
      shutdown(to.socket.get(), SHUT_WR);
    }
  }
};

class Run {
 public:
  explicit Run(const Attempt& attempt) : attempt_(attempt) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw std::runtime_error("pipe failed");
    told_.reset(ends[0]);
    UniqueFd tell(ends[1]);
    far_ = start([](int fd) { be_far(fd); });
    fcntl(tell.get(), F_SETFL, 0);
    int far = far_.socket.get();
    near_ = start([&](int fd) {
      close(far);
      be_near(attempt_, fd, tell.get());
    });
  }
  ~Run() {
    for (Child* child : {&near_, &far_}) {
      if (child->pid <= 0) continue;
      kill(child->pid, SIGKILL);
      waitpid(child->pid, nullptr, 0);
    }
  }

  Outcome finish() {
    bool never = attempt_.fault == Fault::none;
    Flow up{near_, far_, outcome_.up,
            never || !attempt_.fault_up ? UINT64_MAX : attempt_.fault_after};
    Flow down{far_, near_, outcome_.down,
              never || attempt_.fault_up ? UINT64_MAX : attempt_.fault_after};
    auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(patience());
    while (!(up.told && down.told) && !outcome_.struck) {
      if (std::chrono::steady_clock::now() > end) {
        outcome_.fault_of_ours = "it hangs";
        return outcome_;
      }
      turn(up, down);
      if (up.left == 0 || down.left == 0) strike();
    }
    near_.socket.reset();
    far_.socket.reset();
    reap(near_, "the near process");
    reap(far_, "the far process");
    read_answer();
    return outcome_;
  }

 private:
  void turn(Flow& up, Flow& down) {
    pollfd polled[2] = {{near_.socket.get(), 0, 0}, {far_.socket.get(), 0, 0}};
    polled[0].events =
        static_cast<short>((up.reads() ? POLLIN : 0) | (down.writes() ? POLLOUT : 0));
    polled[1].events =
        static_cast<short>((down.reads() ? POLLIN : 0) | (up.writes() ? POLLOUT : 0));
    for (pollfd& each : polled) {
      if (each.events == 0) each.fd = -1;
    }
    poll(polled, 2, 1000);
    read_some_answer();
    if (attempt_.meanwhile) attempt_.meanwhile();
    if (polled[0].revents && up.reads()) up.take();
    if (polled[1].revents && down.reads()) down.take();
    up.give();
    down.give();
  }

  void strike() {
    outcome_.struck = true;
    auto end = [](Child& child) {
      kill(child.pid, SIGKILL);
      child.killed = true;
    };
    if (attempt_.fault == Fault::kill_near || attempt_.fault == Fault::kill_both) end(near_);
    if (attempt_.fault == Fault::kill_far || attempt_.fault == Fault::kill_both) end(far_);
  }

  void reap(Child& child, const std::string& who) {
    auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(patience());
    int status = 0;
    while (waitpid(child.pid, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > end) {
        outcome_.fault_of_ours = who + " does not end when its peer has gone";
        return;
      }
      read_some_answer();
      usleep(300);
    }
    child.pid = 0;
    bool good = WIFEXITED(status) && WEXITSTATUS(status) <= 1;
    if (!good && !child.killed) {
      outcome_.fault_of_ours = who + " died with status " + std::to_string(status);
    }
  }

  void read_some_answer() {
    char block[kBlock];
    for (ssize_t got; (got = ::read(told_.get(), block, sizeof block)) > 0;) {
      answer_.append(block, static_cast<size_t>(got));
    }
  }

  void read_answer() {
    read_some_answer();
    if (answer_.empty() && near_.killed) {
      outcome_.error = "killed";
      return;
    }
    Result<Json> answer = parse_json(answer_);
    if (!answer.ok() || !answer->is_object()) {
      if (near_.killed) return;
      outcome_.fault_of_ours = "the near process ended without a word";
    } else if (answer->contains("report")) {
      Result<SyncReport> report = sync_report_from_json((*answer)["report"]);
      if (!report.ok()) {
        outcome_.fault_of_ours = "a report that cannot be read: " + report.error().message;
        return;
      }
      outcome_.report = std::move(report).value();
      outcome_.finished = true;
    } else {
      outcome_.error = (*answer)["error"].get<std::string>();
    }
  }

  const Attempt& attempt_;
  Outcome outcome_;
  UniqueFd told_;
  std::string answer_;
  Child near_, far_;
};

}  // namespace

Outcome run(const Attempt& attempt) {
  return Run(attempt).finish();
}

std::string to_text(Fault fault) {
  switch (fault) {
    case Fault::none:
      return "no fault";
    case Fault::cut:
      return "a cut";
    case Fault::kill_near:
      return "near killed";
    case Fault::kill_far:
      return "far killed";
    case Fault::kill_both:
      return "both killed";
  }
  return "";
}

}  // namespace choline::moves
