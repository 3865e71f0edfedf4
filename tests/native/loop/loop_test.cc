// What both loops promise alike, on the real one and on virtual time.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "loop/epoll_loop.h"
#include "loop/sim_loop.h"

using namespace choline;

namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  void put(char letter) { REQUIRE(write(in.get(), &letter, 1) == 1); }
  char get() {
    char letter = 0;
    return read(out.get(), &letter, 1) == 1 ? letter : '\0';
  }
  UniqueFd out, in;
};

pid_t child_that_exits(int code) {
  pid_t pid = fork();
  if (pid == 0) _exit(code);
  return pid;
}

}  // namespace

TEST_CASE_TEMPLATE("timers fire in order of time, then of asking", L, EpollLoop, SimLoop) {
  L loop;
  std::string order;
  loop.timer(0.004, [&] { order += 'c'; });
  loop.timer(0.002, [&] { order += 'a'; });
  TimerId gone = loop.timer(0.003, [&] { order += 'x'; });
  loop.timer(0.002, [&] { order += 'b'; });
  loop.cancel(gone);
  loop.cancel(gone);
  loop.cancel(987654);
  loop.run();
  CHECK(order == "abc");
}

TEST_CASE_TEMPLATE("timers of no length take turns with what they start", L, EpollLoop, SimLoop) {
  L loop;
  int left = 1000;
  bool other = false;
  std::function<void()> again = [&] {
    if (--left > 0) loop.timer(0, again);
  };
  loop.timer(0, again);
  loop.timer(0, [&] { other = left > 900; });
  loop.run();
  CHECK(left == 0);
  CHECK(other);
}

TEST_CASE_TEMPLATE("thousands of cancelled timers leave nothing behind", L, EpollLoop, SimLoop) {
  L loop;
  int fired = 0;
  for (int round = 0; round < 5000; ++round) {
    TimerId id = loop.timer(3600, [&] { fired += 100; });
    if (round % 100 == 0) loop.timer(0.001, [&] { ++fired; });
    loop.cancel(id);
  }
  loop.run();
  CHECK(fired == 50);
}

TEST_CASE_TEMPLATE("posts run on the next turn in order, also from threads", L, EpollLoop,
                   SimLoop) {
  L loop;
  std::string order;
  loop.post([&] {
    order += 'a';
    loop.post([&] { order += 'c'; });
  });
  loop.post([&] { order += 'b'; });
  loop.run();
  CHECK(order == "abc");

  Pipe keep;  // a thread the loop does not know keeps nothing alive, so something is watched
  WatchId watch = loop.watch(keep.out.get(), kReadable, [](unsigned) {});
  std::thread other([&] {
    for (int count = 0; count < 100; ++count) loop.post_from_thread([&] { order += '.'; });
    loop.post_from_thread([&] { loop.unwatch(watch); });
  });
  loop.run();
  other.join();
  CHECK(order == "abc" + std::string(100, '.'));
}

TEST_CASE_TEMPLATE("a stopped loop keeps what is left for the next run", L, EpollLoop, SimLoop) {
  L loop;
  std::string order;
  loop.post([&] {
    order += 'a';
    loop.stop();
  });
  loop.post([&] { order += 'b'; });
  loop.timer(0, [&] { order += 'c'; });
  loop.run();
  CHECK(order == "a");
  loop.run();
  CHECK(order == "abc");
}

TEST_CASE_TEMPLATE("what a handler throws comes out of run, and the rest is kept", L, EpollLoop,
                   SimLoop) {
  L loop;
  int seen = 0;
  loop.post([] { throw std::runtime_error("broken promise"); });
  loop.post([&] { ++seen; });
  loop.work([] { throw std::logic_error("in a worker"); }, [&] { seen += 100; });
  CHECK_THROWS_AS(loop.run(), std::runtime_error);
  CHECK_THROWS_AS(loop.run(), std::logic_error);
  loop.run();
  CHECK(seen == 1);
}

TEST_CASE_TEMPLATE("a watch is level-triggered and may end itself", L, EpollLoop, SimLoop) {
  L loop;
  Pipe pipe;
  for (char letter : std::string("xyz")) pipe.put(letter);
  std::string got;
  WatchId id = 0;
  id = loop.watch(pipe.out.get(), kReadable, [&](unsigned seen) {
    CHECK((seen & kReadable));
    got += pipe.get();
    if (got.size() == 3) loop.unwatch(id);
  });
  loop.run();
  CHECK(got == "xyz");
}

TEST_CASE_TEMPLATE("the end of a pipe is seen by reader and writer", L, EpollLoop, SimLoop) {
  L loop;
  Pipe reading, writing;
  unsigned reader = 0, writer = 0;
  reading.in.reset();
  writing.out.reset();
  WatchId one = 0, two = 0;
  one = loop.watch(reading.out.get(), kReadable, [&](unsigned seen) {
    reader = seen;
    loop.unwatch(one);
  });
  two = loop.watch(writing.in.get(), 0, [&](unsigned seen) {
    writer = seen;
    loop.unwatch(two);
  });
  loop.run();
  CHECK((reader & kHangup));
  CHECK((writer & kHangup));
}

TEST_CASE_TEMPLATE("two watches of one descriptor each get their own events", L, EpollLoop,
                   SimLoop) {
  L loop;
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  UniqueFd here(ends[0]), there(ends[1]);
  std::string seen;
  WatchId reader = 0, writer = 0;
  reader = loop.watch(here.get(), kReadable, [&](unsigned ready) {
    CHECK((ready & kWritable) == 0);
    seen += 'r';
    loop.unwatch(reader);
  });
  writer = loop.watch(here.get(), kWritable, [&](unsigned ready) {
    CHECK((ready & kReadable) == 0);
    seen += 'w';
    loop.unwatch(writer);
    REQUIRE(write(there.get(), "x", 1) == 1);
  });
  loop.run();
  CHECK(seen == "wr");
}

TEST_CASE_TEMPLATE("rewatch changes what is waited for", L, EpollLoop, SimLoop) {
  L loop;
  Pipe pipe;
  int calls = 0;
  WatchId id = 0;
  id = loop.watch(pipe.out.get(), 0, [&](unsigned) {
    ++calls;
    loop.unwatch(id);
  });
  pipe.put('x');
  loop.timer(0.001, [&] {
    CHECK(calls == 0);
    loop.rewatch(id, kReadable);
  });
  loop.run();
  CHECK(calls == 1);
}

TEST_CASE_TEMPLATE("an event for a closed and reused number reaches nobody", L, EpollLoop,
                   SimLoop) {
  L loop;
  std::vector<Pipe> pipes(8);
  std::vector<WatchId> ids(pipes.size());
  int calls = 0;
  Pipe fresh;
  for (size_t at = 0; at < pipes.size(); ++at) {
    pipes[at].put('x');
    ids[at] = loop.watch(pipes[at].out.get(), kReadable, [&](unsigned) {
      // The first handler of the batch takes every descriptor away and gives the numbers to quiet
      // ones, watched anew: the rest of the batch is stale.
      ++calls;
      for (size_t each = 0; each < pipes.size(); ++each) {
        loop.unwatch(ids[each]);
        int number = pipes[each].out.get();
        REQUIRE(dup3(fresh.out.get(), number, O_CLOEXEC) == number);
        ids[each] = loop.watch(number, kReadable, [&](unsigned) { calls += 1000; });
      }
      loop.timer(0.002, [&] {
        for (WatchId id : ids) loop.unwatch(id);
      });
    });
  }
  loop.run();
  CHECK(calls == 1);
}

TEST_CASE_TEMPLATE("a regular file is always ready and hangs nobody", L, EpollLoop, SimLoop) {
  L loop;
  UniqueFd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  REQUIRE(file);
  int calls = 0;
  WatchId id = 0;
  id = loop.watch(file.get(), kReadable, [&](unsigned seen) {
    CHECK((seen & kReadable));
    if (++calls == 3) loop.unwatch(id);
  });
  loop.run();
  CHECK(calls == 3);
}

TEST_CASE_TEMPLATE("children are reaped, also those that were gone before", L, EpollLoop, SimLoop) {
  L loop;
  std::vector<int> codes;
  pid_t early = child_that_exits(3);
  siginfo_t info{};
  REQUIRE(waitid(P_PID, static_cast<id_t>(early), &info, WEXITED | WNOWAIT) == 0);
  loop.on_exit(early, [&](ExitStatus status) { codes.push_back(status.code); });
  loop.run();
  pid_t killed = fork();
  if (killed == 0) {
    pause();
    _exit(0);
  }
  loop.on_exit(killed, [&](ExitStatus status) {
    CHECK(status.signal == SIGKILL);
    codes.push_back(status.code);
  });
  loop.timer(0.001, [&] { kill(killed, SIGKILL); });
  loop.run();
  CHECK(codes == std::vector<int>{3, 128 + SIGKILL});
  CHECK(waitpid(early, nullptr, 0) == -1);
  CHECK(waitpid(killed, nullptr, 0) == -1);
}

TEST_CASE_TEMPLATE("work runs and then ends on the loop", L, EpollLoop, SimLoop) {
  L loop;
  std::thread::id here = std::this_thread::get_id();
  int sum = 0;
  for (int count = 1; count <= 20; ++count) {
    auto value = std::make_shared<int>(0);
    loop.work([value, count] { *value = count; },
              [&sum, value, here] {
                CHECK(std::this_thread::get_id() == here);
                sum += *value;
              });
  }
  loop.run();
  CHECK(sum == 210);
}

TEST_CASE("a signal with a handler is delivered on the loop and kills nobody") {
  EpollLoop loop;
  std::vector<int> got;
  loop.on_signal(SIGUSR1, [&](int number) {
    got.push_back(number);
    if (got.size() == 2) loop.stop();
  });
  loop.on_signal(SIGTERM, [&](int number) {
    got.push_back(number);
    if (got.size() == 2) loop.stop();
  });
  loop.timer(3600, [] {});
  kill(getpid(), SIGUSR1);
  kill(getpid(), SIGTERM);
  loop.run();
  CHECK(got.size() == 2);
}

TEST_CASE("a signal is not taken by a worker thread") {
  EpollLoop loop;
  int got = 0;
  loop.work([] {}, [] {});  // the threads start before the handler is known
  loop.run();
  loop.on_signal(SIGUSR1, [&](int) {
    ++got;
    loop.stop();
  });
  kill(getpid(), SIGUSR1);
  loop.timer(3600, [] {});
  loop.run();
  CHECK(got == 1);
}

TEST_CASE("an empty loop returns at once, a handler for a signal notwithstanding") {
  EpollLoop loop;
  loop.on_signal(SIGUSR2, [](int) {});
  loop.on_clock_jump([] {});
  loop.run();
  CHECK(loop.wall() > 1.7e9);
}

TEST_CASE("virtual time leaps over years and jumps of the wall do not disturb timers") {
  SimLoop loop(1000);
  std::vector<double> at;
  int jumps = 0;
  loop.on_clock_jump([&] { ++jumps; });
  double start = loop.ticks();
  loop.timer(3e7, [&] { at.push_back(loop.ticks() - start); });
  loop.timer(10, [&] { loop.jump_wall(-3600); });
  loop.timer(20, [&] { at.push_back(loop.wall()); });
  loop.run();
  CHECK(jumps == 1);
  REQUIRE(at.size() == 2);
  CHECK(at[0] == doctest::Approx(1000 + start + 20 - 3600));
  CHECK(at[1] == doctest::Approx(3e7));
}

TEST_CASE("a simulated suspend makes timers due late, and run_for stops in time") {
  SimLoop loop;
  std::string order;
  loop.on_clock_jump([&] { order += 'j'; });
  loop.timer(5, [&] { order += 'a'; });
  loop.timer(100, [&] { order += 'b'; });
  loop.run_for(1);
  CHECK(order.empty());
  loop.suspend(50);
  loop.run_for(1);
  CHECK(order == "ja");
  loop.run();
  CHECK(order == "jab");
  loop.on_signal(SIGINT, [&](int) { order += 's'; });
  loop.raise_signal(SIGINT);
  loop.run();
  CHECK(order == "jabs");
}

TEST_CASE("run_for does not wait for a silent descriptor when only posts are left") {
  SimLoop loop;
  Pipe silent;
  WatchId watch = loop.watch(silent.out.get(), kReadable, [](unsigned) {});
  bool posted = false;
  loop.post([&] { posted = true; });
  double start = loop.ticks();
  loop.run_for(2);
  CHECK(posted);
  CHECK(loop.ticks() - start == doctest::Approx(2));
  loop.unwatch(watch);
}
