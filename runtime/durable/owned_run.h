// The run this process owns: its lock, its epoch, its steps, its events and its control socket.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/json.h"
#include "base/result.h"
#include "durable/owned_run_lock.h"
#include "durable/requests.h"
#include "durable/steps.h"
#include "loop/loop.h"
#include "store/events.h"
#include "store/runs.h"
#include "store/store.h"

namespace choline {

// Makes a run with a new id; nobody owns it yet. seed 0 means: choose one. Of one parent there is
// one run: made again, it is the same.
Result<std::string> create_run(Store& store, RunRow row, const std::vector<SourceRow>& sources,
                               double now);

class OwnedRun {
 public:
  // Takes the run. A `conflict` with {host, pid, since} when another process owns it.
  static Result<std::unique_ptr<OwnedRun>> own(Loop& loop, Store& store, const std::string& id,
                                               WhenQuiet when_quiet);
  OwnedRun(const OwnedRun&) = delete;
  OwnedRun& operator=(const OwnedRun&) = delete;
  ~OwnedRun();  // frees the lock; needs no store, so it may come late

  const std::string& id() const { return row_.id; }
  const RunRow& row() const { return row_; }  // as it was when the run was taken
  int64_t epoch() const { return row_.epoch; }
  std::string folder() const { return store_.run_folder(row_.id); }
  Steps& steps() { return *steps_; }

  // Store's, with the fence of this run before the change. A failed fence breaks the run.
  Co<Status> commit(Change change);
  Status write(Change change);
  Change fenced(Change change) const;

  struct Recorded {
    EventRow row;
    bool fresh = false;  // not seen before a crash
  };
  // Once for each `key`; an empty key means the task's path and the ordinal of `kind` in it. Events
  // of outside tasks have no place in the run's order: each process counts its own.
  Recorded event(const std::string& kind, Json data, const std::string& key,
                 const std::string& task, bool outside);
  void show(const std::string& key, Json value) { store_.show(row_.id, key, std::move(value)); }
  // Refuses `done` and `failed` as a divergence while recorded results were never asked for.
  Status set_state(const std::string& state, const Json& failure);
  Result<double> cost() const;  // USD until the run's own time

  // Null once the run was given up.
  const std::shared_ptr<RequestServer>& requests() { return requests_; }
  // Called once when the run cannot go on (see Steps::broken): the process is to end. A run that
  // has diverged was paused before this.
  std::function<void(const Error&)> on_broken;
  // Gives up the run: nothing is written for it after this.
  void disown();

 private:
  OwnedRun(Loop& loop, Store& store, RunRow row, RunLock lock);
  Status load(WhenQuiet when_quiet);
  void watch();
  void look();
  void broke(const Error& error);

  Loop& loop_;
  Store& store_;
  RunRow row_;
  std::optional<RunLock> lock_;
  std::shared_ptr<Steps> steps_;             // shared with steps that are still being cancelled
  std::shared_ptr<RequestServer> requests_;  // shared with tasks that wait for a request
  std::unordered_map<std::string, EventRow> events_;  // recorded before this process, by key
  std::map<std::string, int> ordinals_;               // of keys made of task and kind
  int64_t last_event_ = 0;
  TimerId watching_ = 0;
  std::shared_ptr<OwnedRun*> self_;  // for the loop, whose handler may outlive this
};

}  // namespace choline
