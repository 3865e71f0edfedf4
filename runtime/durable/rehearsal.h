// A replay that touches nothing: what another program would find of a run's record, what it would
// do again, and what it would no longer ask for. Knows the same rules as durable/steps.h, but
// records nothing and does nothing. See docs/design/update.md.
#pragma once

#include <coroutine>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "durable/steps.h"
#include "loop/co.h"
#include "store/events.h"
#include "store/runs.h"
#include "store/steps.h"

namespace choline {

class Rehearsal : public std::enable_shared_from_this<Rehearsal> {
 public:
  static Result<std::shared_ptr<Rehearsal>> begin(Store& store, RunRow row, WhenQuiet when_quiet);
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;
  ~Rehearsal();

  const RunRow& row() const { return row_; }
  double now() const { return now_; }
  // `place` is "file:line" of whoever asks, or empty.
  Co<Result<Json>> step(StepCall call, std::string place);
  // For what is no step: waits until it is cancelled.
  Co<Result<Json>> sealed();
  Json event(const std::string& kind, Json data, const std::string& key, const std::string& task,
             bool outside);
  // Waits until the record has nothing more for the program. Gives {steps, order, events}; see
  // native.run.rehearsed.
  Co<Result<Json>> rested();

 private:
  struct Ask;
  class Registered;
  class Turn;
  // What becomes of a step that was asked for.
  enum class Fate { reused, goes_on, redone, kept, replaced, fresh };

  Rehearsal(Store& store, RunRow row, WhenQuiet when_quiet);
  Status load();
  Result<std::string> claim(const StepCall& call);
  Fate fate_of(const StepCall& call, const StepRow* row, const std::string& hash) const;
  bool works_on_nothing(const Json& args) const;
  void note(const Ask& ask, const StepCall& call, const std::string& place);
  void schedule();
  void pump();
  Json report() const;
  Json told_of(const StepRow& row) const;

  Store& store_;
  RunRow row_;
  WhenQuiet when_quiet_;
  std::unordered_map<std::string, StepRow> rows_;
  std::vector<const StepRow*> remaining_;  // with a result and not yet delivered, in order
  std::vector<std::string> order_;         // keys as this program takes them
  std::unordered_map<std::string, std::shared_ptr<Ask>> asked_;
  std::unordered_set<std::string> claimed_, cancelled_, gone_tags_;
  std::map<std::pair<std::string, std::string>, int> ordinals_;
  std::map<std::string, int> event_ordinals_;
  std::unordered_map<std::string, EventRow> events_;
  std::vector<std::string> emitted_;
  std::vector<Json> notes_;                        // in the order of asking
  std::unordered_map<std::string, size_t> noted_;  // key → index in notes_
  std::vector<std::coroutine_handle<>> resting_;
  int64_t last_event_ = 0;
  double now_ = 0;
  bool scheduled_ = false;
  bool at_rest_ = false;
};

// What a person agreed to: the journal of `run` becomes the one that the rehearsed program replays.
// `plan` is what rested() gave, with the new sources, params and budget. Everything in one change.
struct Update {
  Json plan;
  std::vector<SourceRow> sources;
  Json params = Json::object();
  Json env = Json::object();
  std::optional<double> budget;
  Json told = Json::object();  // what else its event says
};
// Records the event run_updated, by which a later process ends what a crash left. Gives its data:
// {version, releasing = tags, ending = keys of commands}.
Result<Json> apply_update(Txn& txn, const std::string& run, const Update& update, double now);

}  // namespace choline
