// The order, the record and the divergences of steps.
#include <random>
#include <set>

#include "durable/journal.h"
#include "steps_support.h"
#include "store/resources.h"
#include "store/steps.h"

namespace choline {

namespace {

// One process after another on the same run; forgetting one is its crash.
class Process {
 public:
  Process(const std::string& folder, unsigned seed) : random_(seed) {
    loop.timer(1e9, [] {});  // so that the control socket alone never makes the loop wait
    store_ = open_store(loop, folder);
    auto owned = OwnedRun::own(loop, *store_, "r1", quiet_after_posts(loop));
    REQUIRE_OK(owned);
    owned_ = std::move(*owned);
    owned_->on_broken = [this](const Error& error) { broken = error.message; };
    flow = std::make_unique<Workflow>(Workflow{loop, owned_->steps(), {}, {}, {}, {}});
    flow->delay = [this] { return std::uniform_real_distribution<double>(0, 4)(random_); };
    flow->act = [this](const StepContext& context, const Json& args) -> Result<Json> {
      acted.push_back(context.key);
      if (random_() % 8 == 0) return Error(ErrorKind::transient, "no luck with " + to_text(args));
      return Json(random_() % 1000);
    };
  }
  ~Process() {
    owned_.reset();  // before the tasks: a killed process abandons nothing
    tasks.clear();
  }

  Steps& steps() { return owned_->steps(); }
  OwnedRun& owned() { return *owned_; }
  Store& store() { return *store_; }
  void start_workflow(int workers = 3, int rounds = 5) {
    tasks.push_back(std::make_unique<Started>(main_task(flow.get(), workers, rounds),
                                              std::function<void(Done)>([](Done) {})));
  }
  void start(Co<Result<Json>> step, std::vector<std::string>& into, std::string name) {
    tasks.push_back(std::make_unique<Started>(
        std::move(step), std::function<void(Result<Json>)>([&into, name](Result<Json> got) {
          into.push_back(name + "=" + (got ? to_text(*got) : "!" + got.error().message));
        })));
  }

  SimLoop loop;
  std::unique_ptr<Workflow> flow;
  std::vector<std::unique_ptr<Started>> tasks;
  std::vector<std::string> acted;
  std::string broken;

 private:
  std::unique_ptr<Store> store_;
  std::unique_ptr<OwnedRun> owned_;
  std::mt19937 random_;
};

std::string make_run(const std::string& folder) {
  SimLoop loop;
  auto store = open_store(loop, folder);
  RunRow row = a_run("r1", loop.wall());
  add_run(*store, row);
  return folder;
}

std::string states(Store& store) {
  Result<std::vector<StepRow>> rows = list_steps(store.db(), "r1", {});
  REQUIRE_OK(rows);
  std::string out;
  for (const StepRow& row : *rows) {
    out +=
        row.key + ":" + std::string(to_text(row.state)) + "*" + std::to_string(row.attempt) + " ";
  }
  return out;
}

StepCall a_call(const std::string& label, Json args = nullptr) {
  StepCall call;
  call.task = "main";
  call.label = label;
  call.verb = "act";
  call.args = std::move(args);
  return call;
}

Co<Result<Json>> answer_now(Json value) {
  co_return value;
}

Co<Result<Json>> answer_after(Loop& loop, double seconds, Json value) {
  co_await Sleep(loop, seconds);
  co_return value;
}

Co<Result<Json>> answer_keeping(StepContext context, std::string tag) {
  context.with_result([tag](Txn& txn) { return set_live(txn, tag, {"p1", 1, "h", nullptr, 5}); });
  co_return Json("rented");
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("a run that is killed at random moments sees the same results in the same order") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    TempFolder temp;
    std::string folder = make_run(temp.path());
    std::mt19937 random(seed);
    Lines before, final_log;
    std::set<std::string> finished;
    for (unsigned incarnation = 0; final_log.empty(); ++incarnation) {
      REQUIRE(incarnation < 200);
      Process process(folder, seed * 1000 + incarnation);
      process.start_workflow();
      process.loop.run_for(std::uniform_real_distribution<double>(0, 9)(random));
      REQUIRE(process.flow->failure == "");
      REQUIRE(process.broken == "");
      // What an earlier process saw is the beginning of what this one sees, once it has caught up.
      const Lines& log = process.flow->log;
      size_t common = std::min(log.size(), before.size());
      REQUIRE(Lines(log.begin(), log.begin() + static_cast<long>(common)) ==
              Lines(before.begin(), before.begin() + static_cast<long>(common)));
      if (log.size() > before.size()) before = log;
      for (const std::string& key : process.acted) REQUIRE_FALSE(finished.contains(key));
      Result<std::vector<StepRow>> rows = list_steps(process.store().db(), "r1", {});
      REQUIRE_OK(rows);
      for (const StepRow& row : *rows) {
        if (row.seq) finished.insert(row.key);
      }
      if (process.flow->ended) final_log = log;
    }
    Process again(folder, 77);
    again.start_workflow();
    again.loop.run_for(1000);
    REQUIRE(again.flow->log == final_log);
    REQUIRE(again.acted.empty());
    REQUIRE_FALSE(again.steps().replaying());
  }
}

TEST_CASE("the loser of a race is recorded as abandoned and a replay writes nothing") {
  TempFolder temp;
  std::string folder = make_run(temp.path());
  std::string recorded;
  {
    Process process(folder, 1);
    process.start_workflow(0, 0);
    process.loop.run_for(100);
    REQUIRE(process.flow->ended);
    recorded = states(process.store());
    CHECK(recorded ==
          "main.race.left/wait.sleep#0:ok*1 main.race.right/wait.sleep#0:abandoned*1 "
          "main/report#0:ok*1 ");
  }
  Process again(folder, 2);
  again.start_workflow(0, 0);
  again.loop.run_for(100);
  CHECK(again.flow->ended);
  CHECK(states(again.store()) == recorded);
}

TEST_CASE("a sleep is due at the instant it was due before the crash") {
  TempFolder temp;
  std::string folder = make_run(temp.path());
  double asked_at = 0;
  {
    Process process(folder, 1);
    Lines got;
    asked_at = process.loop.wall();
    process.start(ask_sleep(process.flow.get(), "main", 100), got, "sleep");
    process.loop.run_for(1);
    CHECK(got.empty());
    Result<std::vector<StepRow>> rows = list_steps(process.store().db(), "r1", {});
    REQUIRE_OK(rows);
    CHECK((*rows)[0].deadline == doctest::Approx(asked_at + 100));
  }
  Process later(folder, 2);
  Lines got;
  later.loop.jump_wall(99);
  later.start(ask_sleep(later.flow.get(), "main", 100), got, "sleep");
  later.loop.run_for(0.5);
  CHECK(got.empty());
  later.loop.run_for(1);
  CHECK(got == Lines{"sleep=\"slept\""});
}

TEST_CASE("an intent without a result goes live again, with the same time and the next attempt") {
  TempFolder temp;
  std::string folder = make_run(temp.path());
  auto run_once = [&](double seconds, Lines& got) {
    Process process(folder, 1);
    StepContext seen;
    process.start(process.steps().run(a_call("x"),
                                      [&](StepContext context) {
                                        seen = context;
                                        return answer_after(process.loop, seconds, 1);
                                      }),
                  got, "x");
    process.loop.run_for(5);
    return seen;
  };
  Lines got;
  StepContext first = run_once(50, got);
  CHECK(got.empty());
  CHECK_FALSE(first.resumed);
  StepContext second = run_once(50, got);
  CHECK(second.resumed);
  CHECK(second.attempt == 2);
  CHECK(second.intended_at == first.intended_at);
  CHECK(second.key == "main/x");
  CHECK(second.epoch == first.epoch + 1);
  StepContext third = run_once(1, got);
  CHECK(third.attempt == 3);
  CHECK(got == Lines{"x=1"});
}

TEST_CASE("an abandoned step that is still asked for when the record is used up goes live") {
  TempFolder temp;
  std::string folder = make_run(temp.path());
  {
    Process process(folder, 1);
    Lines got;
    process.start(process.steps().run(
                      a_call("x"), [&](StepContext) { return answer_after(process.loop, 50, 1); }),
                  got, "x");
    process.loop.run_for(1);
    process.tasks.clear();  // cancelled from outside the run
    process.loop.run_for(1);
    CHECK(states(process.store()) == "main/x:abandoned*1 ");
  }
  Process again(folder, 2);
  Lines got;
  bool resumed = false;
  again.start(again.steps().run(a_call("x"),
                                [&](StepContext context) {
                                  resumed = context.resumed;
                                  return answer_now(2);
                                }),
              got, "x");
  again.loop.run_for(1);
  CHECK(resumed);
  CHECK(got == Lines{"x=2"});
  CHECK(states(again.store()) == "main/x:ok*2 ");
}

TEST_CASE("a step cancelled before its intent was written leaves nothing") {
  TempFolder temp;
  Process process(make_run(temp.path()), 1);
  Lines got;
  process.start(process.steps().run(a_call("x"), [](StepContext) { return answer_now(1); }), got,
                "x");
  process.tasks.clear();
  process.loop.run_for(1);
  CHECK(states(process.store()) == "");
}

TEST_CASE("other arguments than recorded are a divergence that pauses the run") {
  TempFolder temp;
  std::string folder = make_run(temp.path());
  Lines got;
  {
    Process process(folder, 1);
    process.start(process.steps().run(a_call("x", {{"gpu", "A100"}}),
                                      [](StepContext) { return answer_now(1); }),
                  got, "x");
    process.loop.run_for(1);
  }
  Process again(folder, 2);
  bool acted = false;
  got.clear();
  again.start(again.steps().run(a_call("x", {{"gpu", "H100"}}),
                                [&](StepContext) {
                                  acted = true;
                                  return answer_now(1);
                                }),
              got, "x");
  again.loop.run_for(1);
  CHECK_FALSE(acted);
  std::string text =
      "step 'main/x' was recorded as act {\"gpu\":\"A100\"}, and the run now asks for act "
      "{\"gpu\":\"H100\"}; the cholfile or what it reads has changed since the run was started";
  CHECK(got == Lines{"x=!" + text});
  CHECK(again.broken == text);
  CHECK(again.steps().broken()->kind == ErrorKind::divergence);
  Result<std::optional<RunRow>> row = get_run(again.store().db(), "r1", 0);
  REQUIRE_OK(row);
  CHECK((*row)->state == "paused");
  CHECK((*row)->failure["kind"] == "divergence");
  // Nothing goes on after that.
  again.start(again.steps().run(a_call("y"), [](StepContext) { return answer_now(1); }), got, "y");
  again.loop.run_for(1);
  CHECK(got.back() == "y=!" + text);
}

TEST_CASE("a recorded result that nobody asks for is a divergence for those who wait") {
  TempFolder temp;
  std::string folder = make_run(temp.path());
  {
    Process process(folder, 1);
    Lines got;
    process.start(process.steps().run(a_call("x"), [](StepContext) { return answer_now(1); }), got,
                  "x");
    process.loop.run_for(1);
  }
  Process again(folder, 2);
  Lines got;
  again.start(again.steps().run(a_call("y"), [](StepContext) { return answer_now(1); }), got, "y");
  again.loop.run_for(1);
  REQUIRE(got.size() == 1);
  CHECK(got[0].find("the journal goes on with step 'main/x' (act), but no task asks for it") !=
        std::string::npos);
  CHECK(again.steps().somebody_was_told());
  CHECK(states(again.store()) == "main/x:ok*1 ");
}

TEST_CASE("a run that ends without asking for what is recorded has diverged") {
  TempFolder temp;
  std::string folder = make_run(temp.path());
  {
    Process process(folder, 1);
    Lines got;
    process.start(process.steps().run(a_call("x"), [](StepContext) { return answer_now(1); }), got,
                  "x");
    process.loop.run_for(1);
    CHECK(process.owned().set_state("waiting", nullptr).ok());
  }
  Process again(folder, 2);
  CHECK(again.owned().set_state("running", nullptr).ok());
  Status ended = again.owned().set_state("done", nullptr);
  REQUIRE_FALSE(ended.ok());
  CHECK(ended.error().kind == ErrorKind::divergence);
}

TEST_CASE("a label used twice in a task is an error, in two tasks it is not") {
  TempFolder temp;
  Process process(make_run(temp.path()), 1);
  Lines got;
  Live live = [](StepContext) { return answer_now(1); };
  process.start(process.steps().run(a_call("x"), live), got, "first");
  process.start(process.steps().run(a_call("x"), live), got, "second");
  StepCall other = a_call("x");
  other.task = "main.other";
  process.start(process.steps().run(other, live), got, "other");
  process.loop.run_for(1);
  CHECK(got ==
        Lines{"second=!the label 'x' is used twice in task 'main'; a label names one step of "
              "a task, so give each its own",
              "first=1", "other=1"});
}

TEST_CASE("a derived step is done at once and never recorded") {
  TempFolder temp;
  Process process(make_run(temp.path()), 1);
  Lines got;
  StepCall call = a_call("");
  call.cls = StepClass::derived;
  process.start(process.steps().run(call, [](StepContext) { return answer_now(1); }), got, "now");
  CHECK(got == Lines{"now=1"});
  CHECK(states(process.store()) == "");
}

TEST_CASE("an error is a result: recorded, and raised again by a replay") {
  TempFolder temp;
  std::string folder = make_run(temp.path());
  Lines got;
  for (unsigned round = 0; round < 2; ++round) {
    Process process(folder, round);
    process.flow->act = [&](const StepContext&, const Json&) -> Result<Json> {
      return Error(ErrorKind::no_capacity, "none in round " + std::to_string(round), {{"n", 1}});
    };
    process.start(ask(process.flow.get(), "main", "rent", nullptr), got, "rent");
    process.loop.run_for(10);
  }
  CHECK(got == Lines{"rent=!none in round 0", "rent=!none in round 0"});
}

TEST_CASE("a large result lies in a file of its own and comes back whole") {
  TempFolder temp;
  std::string folder = make_run(temp.path());
  std::string large(200'000, 'z');
  Lines got;
  {
    Process process(folder, 1);
    process.start(process.steps().run(a_call("x"), [&](StepContext) { return answer_now(large); }),
                  got, "x");
    process.loop.run_for(1);
  }
  {
    Process again(folder, 2);
    again.start(again.steps().run(a_call("x"), [](StepContext) { return answer_now(0); }), got,
                "x");
    again.loop.run_for(1);
  }
  CHECK(got == Lines{"x=\"" + large + "\"", "x=\"" + large + "\""});
  std::filesystem::remove_all(folder + "/runs/r1/results");
  Process damaged(folder, 3);
  damaged.start(damaged.steps().run(a_call("x"), [](StepContext) { return answer_now(0); }), got,
                "x");
  damaged.loop.run_for(1);
  CHECK(got.back().find("is missing or damaged") != std::string::npos);
}

TEST_CASE("rows of an intent and of a result are written with them") {
  TempFolder temp;
  Process process(make_run(temp.path()), 1);
  StepCall call = a_call("rent");
  call.with_intent = [](Txn& txn, const StepContext& context) {
    ResourceRow row;
    row.tag = "t1";
    row.run = context.run;
    row.step = context.key;
    row.provider = "local";
    return insert_intended(txn, row);
  };
  Lines got;
  process.start(
      process.steps().run(call, [](StepContext context) { return answer_keeping(context, "t1"); }),
      got, "rent");
  process.loop.run_for(1);
  CHECK(got == Lines{"rent=\"rented\""});
  Result<std::optional<ResourceRow>> row = find_resource(process.store().db(), "t1");
  REQUIRE_OK(row);
  REQUIRE(row->has_value());
  CHECK((*row)->state == ResourceState::live);
  CHECK((*row)->step == "main/rent");
}

TEST_CASE("an intent that is refused is answered by the refusal and does nothing") {
  TempFolder temp;
  Process process(make_run(temp.path()), 1);
  StepCall call = a_call("rent");
  call.with_intent = [](Txn& txn, const StepContext& context) -> Status {
    ResourceRow row;
    row.tag = "t1";
    row.run = context.run;
    if (Status in = insert_intended(txn, row); !in) return in;
    return Error(ErrorKind::budget, "over the budget of $40");
  };
  Lines got;
  bool acted = false;
  process.start(process.steps().run(call,
                                    [&](StepContext) {
                                      acted = true;
                                      return answer_now(1);
                                    }),
                got, "rent");
  process.loop.run_for(1);
  CHECK_FALSE(acted);
  CHECK(got == Lines{"rent=!over the budget of $40"});
  CHECK(states(process.store()) == "main/rent:error*1 ");
  Result<std::optional<ResourceRow>> row = find_resource(process.store().db(), "t1");
  REQUIRE_OK(row);
  CHECK_FALSE(row->has_value());
}

TEST_CASE("the run's time is that of the last result it was given") {
  TempFolder temp;
  std::string folder = make_run(temp.path());
  double after = 0;
  {
    Process process(folder, 1);
    double created = process.steps().now();
    Lines got;
    process.start(ask_sleep(process.flow.get(), "main", 60), got, "sleep");
    process.loop.run_for(100);
    after = process.steps().now();
    CHECK(after == doctest::Approx(created + 60));
  }
  Process again(folder, 2);
  CHECK(again.steps().now() == doctest::Approx(after - 60));
  Lines got;
  again.start(ask_sleep(again.flow.get(), "main", 60), got, "sleep");
  again.loop.run_for(1);
  CHECK(again.steps().now() == after);
}

}  // namespace choline
