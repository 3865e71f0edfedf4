// A run of 20,000 recorded steps entered again: load and delivery, one result after the other.
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "base/digest.h"
#include "bench/benches.h"
#include "bench/measure.h"
#include "durable/owned_run.h"
#include "loop/epoll_loop.h"
#include "store/steps.h"

namespace choline {
namespace {

constexpr int kSteps = 20'000;
constexpr const char* kArgs = "[\"a place on an instance\",\"a command with some arguments\"]";

Status record(Txn& txn) {
  std::string hash = sha256_hex(kArgs);
  RunRow run;
  run.id = "r1";
  run.name = "bench";
  run.created = 1;
  if (Status inserted = insert_run(txn, run, {}); !inserted) return inserted;
  for (int index = 0; index < kSteps; ++index) {
    StepRow row;
    row.key = "main/sync#" + std::to_string(index);
    row.verb = "sync";
    row.cls = "idempotent";
    row.args = kArgs;
    row.args_hash = hash;
    row.intent_at = 1;
    if (Status inserted = insert_step(txn, run.id, row); !inserted) return inserted;
    row.state = StepState::ok;
    row.result = "{\"bytes\":123456,\"files\":12,\"seconds\":1.5}";
    row.seq = index + 1;
    row.done_at = 2;
    if (Status finished = finish_step(txn, run.id, row); !finished) return finished;
  }
  return done();
}

Co<Result<Json>> never(StepContext) {
  co_return Error(ErrorKind::divergence, "a recorded step was done again");
}

Co<Status> ask_for_all(Steps& steps) {
  Json args = *parse_json(kArgs);
  for (int index = 0; index < kSteps; ++index) {
    StepCall call;
    call.task = "main";
    call.verb = "sync";
    call.cls = StepClass::idempotent;
    call.args = args;
    Live live = never;
    Co<Result<Json>> step = steps.run(std::move(call), std::move(live));
    Result<Json> result = co_await step;
    if (!result) co_return result.error();
  }
  co_return done();
}

bool replay(const std::string& folder) {
  EpollLoop loop;
  auto store = Store::open(loop, folder);
  if (!store || !(*store)->write(record)) return false;
  double began = wall_seconds();
  auto owned = OwnedRun::own(loop, **store, "r1",
                             [&loop](std::function<void()> fn) { loop.post(std::move(fn)); });
  if (!owned) return false;
  bool good = false;
  Started asking(ask_for_all((*owned)->steps()), std::function<void(Status)>([&](Status status) {
                   good = status.ok();
                   loop.post([&loop] { loop.stop(); });
                 }));
  loop.run();
  report("replay.20000", wall_seconds() - began, "s");
  return good;
}

}  // namespace

bool bench_replay() {
  std::string folder = std::filesystem::temp_directory_path() / "choline-bench-XXXXXX";
  if (!::mkdtemp(folder.data())) return false;
  bool good = replay(folder);
  std::filesystem::remove_all(folder);
  return good;
}

}  // namespace choline
