// The durable engine: every side effect of a run is a step that is done once and then remembered.
// Knows the journal and the loop, not Lua. See docs/design/steps.md and docs/design/journal.md.
#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "loop/co.h"

namespace choline {

class Journal;  // durable/journal.h
class Loop;
class Store;
class Txn;       // store/store.h: a write transaction
struct StepRow;  // store/steps.h

// What may be done when an intent is found without a result (CORE §5).
enum class StepClass { derived, query, idempotent, keyed, adoptable, opaque, wait };
std::string_view to_text(StepClass cls);

// What a live effect may know of its step.
struct StepContext {
  std::string run;  // id of the run; empty when no run is owned
  std::string key;  // "main.train/instance.create#0": unique in the run, the same after a crash
  int attempt = 1;  // 2 and more when an earlier process died between intent and result
  bool resumed = false;    // an intent without a result was found: look before doing it again
  double intended_at = 0;  // wall seconds of the first intent
  int64_t epoch = 0;       // fences every write of this process for the run; see Txn::fence

  // `change` runs in the transaction that commits this step's result, or alone when no run is
  // owned. Called at most once; it must own what it touches. Its failure breaks the run.
  void with_result(std::function<Status(Txn&)> change) const;

  // Shared by the effect and the engine, since either may end first.
  struct Outcome {
    std::function<Status(Txn&)> change;
  };
  std::shared_ptr<Outcome> outcome;
};

struct StepCall {
  std::string task;   // path of the task: "main.train"
  std::string label;  // given by the user, or empty: then verb#ordinal within the task
  std::string verb;   // "instance.create"
  StepClass cls = StepClass::query;
  Json args;
  // Runs in the transaction of the intent, again when a later process resumes the step (see
  // context.resumed). An error refuses the step: what the change did is undone, and the error
  // is recorded as the step's result. One of kind io, conflict or transient breaks the run instead.
  std::function<Status(Txn&, const StepContext&)> with_intent = nullptr;
};

using Live = std::function<Co<Result<Json>>(StepContext)>;

// Calls its argument once, on a later turn of the loop and never on the caller's stack, when every
// durable Lua task has run until it waits.
using WhenQuiet = std::function<void(std::function<void()>)>;

// The steps of one owned run. Owned by a shared_ptr because a step that is being cancelled may
// outlive the run's owner for a moment.
class Steps : public std::enable_shared_from_this<Steps> {
 public:
  // Reads the journal of `run`. `created` is the time that now() gives before the first result.
  static Result<std::shared_ptr<Steps>> load(Loop& loop, Store& store, std::string run,
                                             int64_t epoch, double created, WhenQuiet when_quiet);
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;
  ~Steps();

  // Does the step, or answers it from the record. Destroying the Co cancels the step, which is then
  // recorded as abandoned. Start it at once: keys are given out in the order of starts.
  Co<Result<Json>> run(StepCall call, Live live);

  // Until every recorded result was delivered and the tasks have come to rest after it.
  bool replaying() const { return replaying_; }
  size_t recorded() const { return order_.size(); }  // results found at load
  double now() const { return now_; }                // time of the last result delivered
  // An error when the run is about to end while recorded results were never asked for.
  Status check_used_up() const;

  // Set once the run cannot go on: the journal failed, another process owns the run, or the replay
  // diverged. Every step, waiting or new, then answers with it and nothing more is written.
  const std::optional<Error>& broken() const { return broken_; }
  std::function<void(const Error&)> on_broken;      // called once, from the loop
  void fail(Error error);                           // breaks the run, if it is not broken yet
  bool somebody_was_told() const { return told_; }  // some step answered with broken()
  // Set in a replay that is to do nothing: called with the key of the first step that the record
  // does not answer, instead of doing it.
  std::function<void(const std::string&)> instead_of_live;
  void close();  // no more writes; steps that go on waiting are dropped silently

 private:
  struct Ask;
  class Registered;
  class Turn;
  enum class Verdict { waiting, recorded, live, broken };

  Steps(Loop& loop, Store& store, std::unique_ptr<Journal> journal, WhenQuiet when_quiet);
  Result<std::string> claim(const StepCall& call);
  Status compare(const StepCall& call, const std::string& key, const std::string& hash) const;
  Co<Result<Json>> run_live(std::shared_ptr<Ask> ask, StepCall call, Live live);
  void hand_over(std::shared_ptr<Ask> ask, const StepContext& context);
  Status unasked(const StepRow& row) const;
  void schedule();
  void pump();
  void pump_record();
  void go_live();
  void abandon(const std::string& key);
  void wake(const std::shared_ptr<Ask>& ask, Verdict verdict);

  Loop& loop_;
  Store& store_;
  std::unique_ptr<Journal> journal_;
  WhenQuiet when_quiet_;
  std::unordered_map<std::string, StepRow> rows_;                // as recorded, by key
  std::vector<const StepRow*> order_;                            // those with a result, by seq
  size_t head_ = 0;                                              // the next of order_ to deliver
  std::unordered_map<std::string, std::shared_ptr<Ask>> asked_;  // not yet answered, by key
  std::unordered_set<std::string> claimed_;    // every key given out by this process
  std::unordered_set<std::string> cancelled_;  // asked for and cancelled during replay
  std::map<std::pair<std::string, std::string>, int> ordinals_;  // (task, verb) → calls so far
  std::vector<std::shared_ptr<Ask>> ready_;  // committed, to be delivered in this order
  uint64_t asks_ = 0;
  double now_ = 0;
  bool replaying_ = false;
  bool scheduled_ = false;
  bool closed_ = false;
  bool told_ = false;
  std::optional<Error> broken_;
};

// The same verb where no run is owned: the effect alone, then its with_result change.
Co<Result<Json>> run_unjournaled(Store& store, StepCall call, Live live);

}  // namespace choline
