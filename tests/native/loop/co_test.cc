// Coroutines over both loops: results, exceptions, and cancelling at any point.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "loop/await.h"
#include "loop/epoll_loop.h"
#include "loop/sim_loop.h"

using namespace choline;

namespace {

// Counts frames that are alive, so that a leak or a double destruction shows.
struct Guard {
  explicit Guard(int& count) : count_(&count) { ++*count_; }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() { --*count_; }
  int* count_;
};

Co<int> add_later(Loop& loop, int a, int b) {
  co_await Sleep(loop, 0.001);
  co_return a + b;
}

Co<std::string> chain(Loop& loop, int depth) {
  if (depth == 0) {
    co_await Sleep(loop, 0);
    co_return "bottom";
  }
  std::string below = co_await chain(loop, depth - 1);
  co_return below + ".";
}

Co<int> throwing(Loop& loop) {
  co_await Sleep(loop, 0.001);
  throw std::runtime_error("broken");
}

Co<int> at_once(int value) {
  co_return value;
}

Co<int> many_at_once() {
  int sum = 0;
  for (int round = 0; round < 1'000'000; ++round) {
    int one = co_await at_once(1);
    sum += one;
  }
  co_return sum;
}

Co<int> forever(Loop& loop, int* alive) {
  Guard guard(*alive);
  Event never(loop);
  co_await never.wait();
  co_return 1;
}

Co<int> limited(Loop& loop, int* alive) {
  std::optional<int> none = co_await WithTimeout<int>(loop, 0.005, forever(loop, alive));
  CHECK(!none);
  CHECK(*alive == 0);
  std::optional<int> some = co_await WithTimeout<int>(loop, 3600, add_later(loop, 1, 2));
  REQUIRE(some);
  std::string thrown;
  try {
    std::optional<int> bad = co_await WithTimeout<int>(loop, 3600, throwing(loop));
    CHECK(!bad);
  } catch (const std::runtime_error& failure) {
    thrown = failure.what();
  }
  CHECK(thrown == "broken");
  co_return *some;
}

class Dice {
 public:
  explicit Dice(uint32_t seed) : engine_(seed) {}
  uint32_t roll() { return static_cast<uint32_t>(engine_()); }
  uint32_t below(uint32_t sides) { return roll() % sides; }
  double seconds(uint32_t tenths) { return 0.0001 * below(tenths); }  // of a millisecond

 private:
  std::mt19937 engine_;
};

struct World {
  explicit World(Loop& the_loop) : loop(the_loop), event(the_loop) {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  Loop& loop;
  Event event;
  UniqueFd out, in;
  int alive = 0;
  int finished = 0;
};

Co<int> wander(World& world, uint32_t seed, int depth) {
  Guard guard(world.alive);
  std::string text(100, static_cast<char>('a' + depth));  // on the heap: ASan watches it
  Dice dice(seed);
  for (int round = 0; round < 6; ++round) {
    switch (dice.below(6)) {
      case 0:
        co_await Sleep(world.loop, dice.seconds(20));
        break;
      case 1: {
        unsigned seen = co_await FdReady(world.loop, world.in.get(), kWritable);
        CHECK(seen != 0);
        break;
      }
      case 2: {
        std::string copy = text;
        std::function<size_t()> job = [copy] { return copy.size(); };
        size_t length = co_await OnWorker<size_t>(world.loop, std::move(job));
        CHECK(length == 100);
        break;
      }
      case 3:
        co_await world.event.wait();
        break;
      case 4: {
        if (depth == 3) break;
        std::optional<int> below = co_await WithTimeout<int>(world.loop, dice.seconds(30),
                                                             wander(world, dice.roll(), depth + 1));
        CHECK((!below || *below == 6));
        break;
      }
      case 5:
        if (depth < 3) {
          int below = co_await wander(world, dice.roll(), depth + 1);
          CHECK(below == 6);
        }
        break;
    }
  }
  co_return 6;
}

}  // namespace

TEST_CASE_TEMPLATE("a coroutine gives its result after nested waits", L, EpollLoop, SimLoop) {
  L loop;
  int sum = 0;
  std::string text;
  Started one(add_later(loop, 2, 3), std::function<void(int)>([&](int got) { sum = got; }));
  Started two(chain(loop, 1000),
              std::function<void(std::string)>([&](std::string got) { text = std::move(got); }));
  CHECK(one.active());
  loop.run();
  CHECK(!one.active());
  CHECK(sum == 5);
  CHECK(text == "bottom" + std::string(1000, '.'));
}

TEST_CASE_TEMPLATE("an exception in a started coroutine is kept for its owner", L, EpollLoop,
                   SimLoop) {
  L loop;
  Started work(throwing(loop), std::function<void(int)>([](int) { FAIL("it has no result"); }));
  loop.run();
  CHECK(!work.active());
  CHECK_THROWS_WITH(work.check(), "broken");
}

TEST_CASE_TEMPLATE("a timeout cancels the work below it", L, EpollLoop, SimLoop) {
  L loop;
  int alive = 0, got = 0;
  Started work(limited(loop, &alive), std::function<void(int)>([&](int value) { got = value; }));
  loop.run();
  work.check();
  CHECK(got == 3);
}

TEST_CASE_TEMPLATE("coroutines cancelled at random points leave nothing behind", L, EpollLoop,
                   SimLoop) {
  for (uint32_t seed = 1; seed <= 12; ++seed) {
    L loop;
    World world(loop);
    Dice dice(seed);
    std::map<int, Started> tasks;
    for (int number = 0; number < 40; ++number) {
      tasks.emplace(number,
                    Started(wander(world, dice.roll(), 0), std::function<void(int)>([&](int got) {
                              CHECK(got == 6);
                              ++world.finished;
                            })));
      if (dice.below(2) == 0) {
        loop.timer(dice.seconds(200), [&tasks, number] { tasks.erase(number); });
      }
    }
    // Waiters of the event would wait for ever, and so would loop.run().
    for (int beat = 1; beat < 30; ++beat) {
      loop.timer(0.001 * beat, [&world] {
        world.event.set();
        world.event.clear();
      });
    }
    loop.timer(0.03, [&world] { world.event.set(); });
    loop.run();
    CHECK(world.finished > 0);
    for (auto& [number, task] : tasks) {
      CHECK(!task.active());
      task.check();
    }
    tasks.clear();
    CHECK(world.alive == 0);
  }
}

TEST_CASE("a million waits that end at once do not eat the stack") {
  int got = 0;
  Started work(many_at_once(), std::function<void(int)>([&](int sum) { got = sum; }));
  CHECK(got == 1'000'000);
}

TEST_CASE("a coroutine destroyed before it began runs nothing") {
  SimLoop loop;
  int alive = 0;
  { Co<int> never = forever(loop, &alive); }
  CHECK(alive == 0);
  loop.run();
}

TEST_CASE("a worker's late result for a cancelled wait is dropped") {
  EpollLoop loop;
  int alive = 0;
  {
    World world(loop);
    Started work(wander(world, 1, 0), std::function<void(int)>([](int) {}));
    CHECK(world.alive > 0);
  }
  loop.run();
  CHECK(alive == 0);
}
