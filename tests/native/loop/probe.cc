// Asks the compiler whether it compiles the coroutine patterns that the house uses, and whether the
// faults behind the house rules are still there. See docs/design/coroutines.md.
#include <doctest/doctest.h>

#include <coroutine>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "loop/co.h"

using namespace choline;

namespace {

// A value that notes each object that was made and destroyed, so that a double or a missing
// destruction shows without the memory fault it would be elsewhere.
std::set<const void*> alive;
int faults = 0;

struct Tracked {
  explicit Tracked(int number) : value(number) { born(); }
  Tracked(const Tracked& other) : value(other.value) { born(); }
  Tracked(Tracked&& other) noexcept : value(std::exchange(other.value, -1)) { born(); }
  Tracked& operator=(const Tracked& other) = default;
  Tracked& operator=(Tracked&& other) noexcept {
    value = std::exchange(other.value, -1);
    return *this;
  }
  ~Tracked() {
    if (alive.erase(this) == 0) ++faults;
  }
  void born() {
    if (!alive.insert(this).second) ++faults;
  }
  int value;
};

// Suspends and is resumed by hand, through `waiting`.
std::coroutine_handle<> waiting;

struct Aggregate {  // against the house rules on purpose
  Tracked value;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) { waiting = caller; }
  int await_resume() { return value.value; }
};

class Wait {
 public:
  explicit Wait(Tracked value) : value_(std::move(value)) {}
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) { waiting = caller; }
  int await_resume() { return value_.value; }

 private:
  Tracked value_;
};

Co<int> with_aggregate() {
  int got = co_await Aggregate{Tracked(7)};
  co_return got;
}
Co<int> with_constructor() {
  int got = co_await Wait(Tracked(7));
  co_return got;
}
Co<int> by_value(Tracked first, Tracked second) {
  int got = co_await Wait(Tracked(1));
  co_return got + first.value + second.value;
}
Co<int> nested() {
  int below = co_await by_value(Tracked(2), Tracked(4));
  co_return below;
}
Co<Tracked> gives_tracked() {
  Tracked local(7);
  int got = co_await Wait(Tracked(1));
  local.value += got - 1;
  co_return local;
}
Co<int> takes_tracked() {
  Tracked got = co_await gives_tracked();
  co_return got.value;
}
Co<int> in_branch() {
  int sum = 0;
  for (int round = 0; round < 3; ++round) {
    Tracked local(round);
    if (round == 1) {
      int got = co_await Wait(Tracked(4));
      sum += got;
    } else {
      int got = co_await Wait(Tracked(local.value));
      sum += got + local.value - 1 + (round == 0 ? 1 : 0);
    }
  }
  co_return sum;
}
Co<int> in_try() {
  Tracked outer(0);
  try {
    Tracked inner(7);
    int got = co_await Wait(Tracked(0));
    if (got == 0) throw inner.value;
  } catch (int thrown) {
    outer.value = thrown;
  }
  co_return outer.value;
}
Co<int> over_range() {
  std::vector<Tracked> list;
  list.emplace_back(3);
  list.emplace_back(4);
  int sum = 0;
  for (const Tracked& each : list) {
    int got = co_await Wait(Tracked(each.value));
    sum += got;
  }
  co_return sum;
}
Co<int> in_arguments_apart() {
  int first = co_await Wait(Tracked(3));
  int second = co_await Wait(Tracked(4));
  co_return first + second;
}

// The faults. Each is written here against a house rule, on purpose.
struct Bag {  // an aggregate
  Tracked value;
};
Co<int> takes_bag(Bag bag) {
  int got = co_await Wait(Tracked(0));
  co_return got + bag.value.value;
}
Co<int> with_aggregate_argument() {
  int got = co_await takes_bag(Bag{Tracked(7)});
  co_return got;
}
Co<int> with_named_aggregate() {
  Bag bag{Tracked(7)};
  int got = co_await takes_bag(std::move(bag));
  co_return got;
}
Co<int> takes_function(std::function<int()> fn) {
  int got = co_await Wait(Tracked(0));
  co_return got + fn();
}
Co<int> with_capturing_lambda() {
  Tracked seven(7);
  int got = co_await takes_function([seven] { return seven.value; });
  co_return got;
}
Co<int> with_named_lambda() {
  Tracked seven(7);
  std::function<int()> fn = [seven] { return seven.value; };
  int got = co_await takes_function(std::move(fn));
  co_return got;
}
Co<int> with_trivial_lambda() {
  int seven = 7;
  int got = co_await takes_function([seven] { return seven; });
  co_return got;
}
Co<int> takes_list(std::vector<Tracked> list) {
  int got = co_await Wait(Tracked(0));
  co_return got + list.at(0).value + list.at(1).value;
}
Co<int> with_named_list() {
  std::vector<Tracked> list = {Tracked(3), Tracked(4)};
  int got = co_await takes_list(std::move(list));
  co_return got;
}
Co<int> takes_optional(std::optional<Tracked> some) {
  int got = co_await Wait(Tracked(0));
  co_return got + some->value;
}
Co<int> with_converted_argument() {
  int got = co_await takes_optional(Tracked(7));
  co_return got;
}
Co<int> takes_work(Co<int> work) {
  int got = co_await work;
  co_return got;
}
Co<int> with_work_argument() {
  int got = co_await takes_work(by_value(Tracked(2), Tracked(4)));
  co_return got;
}

struct Outcome {
  int result = -1;
  int leaked = 0;
  int wrong = 0;
  bool clean() const { return result == 7 && leaked == 0 && wrong == 0; }
};

// Runs `make()` to its end, or destroys it when it has waited `cancel_after` times.
Outcome probe(Co<int> (*make)(), int cancel_after = 1000) {
  alive.clear();
  faults = 0;
  Outcome outcome;
  {
    Co<int> work = make();
    work.resume();
    for (int waits = 0; !work.finished() && waits < cancel_after; ++waits) waiting.resume();
    outcome.result = work.finished() ? work.take() : 7;
  }
  outcome.leaked = static_cast<int>(alive.size());
  outcome.wrong = faults;
  return outcome;
}

}  // namespace

TEST_CASE("the house patterns of coroutines are compiled right, run to the end or cancelled") {
  struct Pattern {
    const char* name;
    Co<int> (*make)();
  };
  const Pattern patterns[] = {
      {"awaiter with a constructor", with_constructor},
      {"parameters by value through two levels", nested},
      {"result that owns something", takes_tracked},
      {"wait in a branch of a loop with locals", in_branch},
      {"wait in try, throw after it", in_try},
      {"wait in a range-for over a local", over_range},
      {"two waits in two statements", in_arguments_apart},
      {"aggregate argument from a variable", with_named_aggregate},
      {"lambda argument from a variable", with_named_lambda},
      {"lambda with trivial captures", with_trivial_lambda},
      {"list argument from a variable", with_named_list},
      {"argument converted by a constructor", with_converted_argument},
      {"coroutine as an argument", with_work_argument},
  };
  for (const Pattern& pattern : patterns) {
    CAPTURE(pattern.name);
    CHECK(probe(pattern.make).clean());
    for (int waits = 0; waits < 4; ++waits) CHECK(probe(pattern.make, waits).clean());
  }
}

TEST_CASE("the faults behind the rules are where the rules say they are") {
  struct Fault {
    const char* name;
    Co<int> (*make)();
  };
  const Fault known[] = {
      {"awaiter that is an aggregate", with_aggregate},
      {"aggregate made inside a co_await expression", with_aggregate_argument},
      {"lambda that captures an owner, made inside a co_await expression", with_capturing_lambda},
  };
  for (const Fault& fault : known) {
    CAPTURE(fault.name);
    Outcome outcome = probe(fault.make);
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ == 12
    // The temporary is copied bit by bit into the frame, and destroyed twice. When this fails, the
    // compiler has been mended: say so in docs/design/coroutines.md.
    CHECK(outcome.wrong > 0);
#else
    CHECK(outcome.clean());
#endif
  }
}
