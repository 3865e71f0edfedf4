// A small workflow of tasks that share a list, as the Lua of a cholfile would: what they ask for
// depends on the order in which results came, so a replay in another order diverges.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "../store/support.h"
#include "durable/owned_run.h"
#include "loop/await.h"
#include "loop/sim_loop.h"

namespace choline {

// Tasks in these tests run on the stack of what wakes them or one post later.
inline WhenQuiet quiet_after_posts(Loop& loop) {
  return [&loop](std::function<void()> fn) {
    loop.post([&loop, fn] { loop.post([&loop, fn] { loop.post(fn); }); });
  };
}

struct Workflow {
  Loop& loop;
  Steps& steps;
  // Does the effect of a step that is no sleep.
  std::function<Result<Json>(const StepContext&, const Json& args)> act;
  std::function<double()> delay;  // seconds that an effect takes
  std::vector<std::string> log;   // what the tasks saw, in order
  std::string failure;
  bool ended = false;

  void saw(const std::string& what, const Result<Json>& result) {
    log.push_back(what + "=" + (result ? to_text(*result) : "!" + result.error().message));
    if (!result && result.error().kind == ErrorKind::divergence) failure = result.error().message;
  }
};

inline Co<Result<Json>> act_later(Workflow* flow, StepContext context, Json args) {
  co_await Sleep(flow->loop, flow->delay());
  co_return flow->act(context, args);
}

inline Co<Result<Json>> sleep_until(Workflow* flow, StepContext context, double seconds) {
  co_await Sleep(flow->loop, context.intended_at + seconds - flow->loop.wall());
  co_return Json("slept");
}

inline Co<Result<Json>> ask(Workflow* flow, std::string task, std::string verb, Json args,
                            StepClass cls = StepClass::idempotent) {
  StepCall call;
  call.task = task;
  call.verb = verb;
  call.cls = cls;
  call.args = args;
  Live live = [flow, args](StepContext context) { return act_later(flow, context, args); };
  return flow->steps.run(std::move(call), std::move(live));
}

inline Co<Result<Json>> ask_sleep(Workflow* flow, std::string task, double seconds) {
  StepCall call;
  call.task = task;
  call.verb = "wait.sleep";
  call.cls = StepClass::wait;
  call.args = Json::array({seconds});
  Live live = [flow, seconds](StepContext context) { return sleep_until(flow, context, seconds); };
  return flow->steps.run(std::move(call), std::move(live));
}

// One task: each step's arguments hold how many results all tasks have seen so far.
inline Co<Done> worker(Workflow* flow, std::string name, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    Json args = Json::array({round, flow->log.size()});
    Co<Result<Json>> step = ask(flow, "main." + name, "act", args);
    Result<Json> result = co_await step;
    flow->saw(name + std::to_string(round), result);
    if (!flow->failure.empty()) co_return Done{};
  }
  co_return Done{};
}

// Two sleeps; the one that comes later is cancelled.
inline Co<Done> race(Workflow* flow, std::string name, double first, double second) {
  Event over(flow->loop);
  std::string winner;
  std::function<void(std::string, Result<Json>)> finish = [&](std::string who,
                                                              Result<Json> result) {
    if (!winner.empty()) return;
    winner = who + "/" + (result ? "ok" : result.error().message);
    over.set();
  };
  Started left(ask_sleep(flow, "main." + name + ".left", first),
               std::function<void(Result<Json>)>([&](Result<Json> got) { finish("left", got); }));
  Started right(ask_sleep(flow, "main." + name + ".right", second),
                std::function<void(Result<Json>)>([&](Result<Json> got) { finish("right", got); }));
  co_await over.wait();
  flow->log.push_back(name + " won by " + winner);
  co_return Done{};
}

inline Co<Done> main_task(Workflow* flow, int workers, int rounds) {
  int left = workers + 1;
  Event all(flow->loop);
  std::function<void(Done)> one_less = [&](Done) {
    if (--left == 0) all.set();
  };
  std::vector<std::unique_ptr<Started>> tasks;
  for (int number = 0; number < workers; ++number) {
    std::string name = "w" + std::to_string(number);
    tasks.push_back(std::make_unique<Started>(worker(flow, name, rounds), one_less));
  }
  tasks.push_back(std::make_unique<Started>(race(flow, "race", 3, 9), one_less));
  co_await all.wait();
  Json seen = flow->log;
  Co<Result<Json>> step = ask(flow, "main", "report", seen);
  Result<Json> result = co_await step;
  flow->saw("report", result);
  flow->ended = true;
  co_return Done{};
}

}  // namespace choline
