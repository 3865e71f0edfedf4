// Group commit: together, in order, each undone alone; and many processes at once.
#include <sys/wait.h>
#include <unistd.h>

#include "loop/await.h"
#include "store/database.h"
#include "store/events.h"
#include "store/metrics.h"
#include "support.h"

namespace choline {

namespace {

Change add_event(std::string kind) {
  return [kind](Txn& txn) -> Status {
    EventRow row;
    row.kind = kind;
    Result<EventRow> kept = append_event(txn, "r1", row);
    if (!kept) return kept.error();
    return done();
  };
}

std::string kinds(Store& store) {
  Result<std::vector<EventRow>> events = list_events(store.db(), "r1", 0, -1);
  REQUIRE_OK(events);
  std::string out;
  for (const EventRow& event : *events) out += event.kind;
  return out;
}

Co<void> commit_then(Store& store, std::string kind, std::string& log) {
  Co<Status> committing = store.commit(add_event(kind));
  Status status = co_await committing;
  log += status ? kind : "!" + kind;
}

}  // namespace

TEST_CASE("changes of one turn are committed in order before anyone goes on") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  std::string log;
  Co<void> a = commit_then(*store, "a", log), b = commit_then(*store, "b", log);
  a.resume();
  b.resume();
  CHECK(kinds(*store) == "");
  loop.run();
  CHECK(log == "ab");
  CHECK(kinds(*store) == "ab");
}

TEST_CASE("a change that fails is undone alone, and its neighbours stay") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  Status failed = done();
  store->enqueue(add_event("a"));
  store->enqueue(
      [](Txn& txn) -> Status {
        if (Status added = add_event("lost")(txn); !added) return added;
        return Error(ErrorKind::budget, "over the budget");
      },
      [&](Status status) { failed = status; });
  store->enqueue(add_event("b"));
  loop.run();
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().kind == ErrorKind::budget);
  CHECK(kinds(*store) == "ab");
}

TEST_CASE("a commit whose coroutine is destroyed before the turn ends is not made") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  std::string log;
  Co<void> kept = commit_then(*store, "a", log);
  kept.resume();
  {
    Co<void> dropped = commit_then(*store, "b", log);
    dropped.resume();
  }
  loop.run();
  CHECK(kinds(*store) == "a");
  CHECK(log == "a");
}

TEST_CASE("a coroutine destroyed after its commit was made is not resumed") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  std::string log;
  {
    Co<void> gone = commit_then(*store, "a", log);
    gone.resume();
    REQUIRE_OK(store->write(add_event("b")));  // takes the waiting one along
  }
  loop.run();
  CHECK(kinds(*store) == "ab");
  CHECK(log == "");
}

TEST_CASE("a synchronous write comes after the changes that were waiting") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  store->enqueue(add_event("a"));
  REQUIRE_OK(store->write(add_event("b")));
  CHECK(kinds(*store) == "ab");
}

TEST_CASE("a store closed with work in the loop leaves the loop harmless") {
  TempFolder temp;
  SimLoop loop;
  {
    auto store = open_store(loop, temp.path());
    store->enqueue(add_event("a"));
    store->show("r1", "k", 1);
  }
  loop.run();
  auto store = open_store(loop, temp.path());
  CHECK(kinds(*store) == "");
}

TEST_CASE("other processes read while one writes, and several may write") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  constexpr int kChildren = 3, kEvents = 40;
  std::vector<pid_t> children;
  for (int child = 0; child < kChildren; ++child) {
    pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      SimLoop own;
      Result<std::unique_ptr<Store>> mine = Store::open(own, temp.path());
      if (!mine) ::_exit(2);
      for (int number = 0; number < kEvents; ++number) {
        if (!(*mine)->write(add_event("x"))) ::_exit(3);
        Result<std::vector<EventRow>> seen = list_events((*mine)->db(), "r1", 0, -1);
        if (!seen || seen->empty() || seen->back().id != static_cast<int64_t>(seen->size())) {
          ::_exit(4);
        }
      }
      ::_exit(0);
    }
    children.push_back(pid);
  }
  for (pid_t pid : children) {
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
  }
  CHECK(kinds(*store).size() == kChildren * kEvents);
}

TEST_CASE("an epoch that was overtaken fences every write off") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  add_run(*store, a_run("r1"));
  auto take = [&] {
    int64_t epoch = 0;
    REQUIRE_OK(store->write([&](Txn& txn) -> Status {
      Result<int64_t> taken = take_run(txn, "r1", {{"pid", 1}});
      if (!taken) return taken.error();
      epoch = *taken;
      return done();
    }));
    return epoch;
  };
  int64_t first = take();
  auto fenced = [&](int64_t epoch) {
    return store->write([&](Txn& txn) { return txn.fence("r1", epoch); });
  };
  CHECK(fenced(first).ok());
  int64_t second = take();
  CHECK(second == first + 1);
  Status stale = fenced(first);
  REQUIRE_FALSE(stale.ok());
  CHECK(stale.error().kind == ErrorKind::conflict);
  CHECK(stale.error().message.find("taken over by another process") != std::string::npos);
  CHECK(fenced(second).ok());
}

TEST_CASE("what a run shows is written a moment later, replaced, and taken away") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  store->show("r1", "sync/code", {{"files", 3}});
  store->show("r1", "sync/code", {{"files", 4}});
  store->show("r1", "other", 1);
  loop.run();
  auto shown = list_shown(store->db(), "r1");
  REQUIRE_OK(shown);
  CHECK(Json(*shown) == Json{{"sync/code", {{"files", 4}}}, {"other", 1}});
  store->show("r1", "other", nullptr);
  loop.run();
  shown = list_shown(store->db(), "r1");
  REQUIRE_OK(shown);
  CHECK(shown->size() == 1);
}

}  // namespace choline
