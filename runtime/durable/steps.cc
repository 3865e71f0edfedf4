#include "durable/steps.h"

#include <algorithm>

#include "base/digest.h"
#include "base/mutant.h"
#include "durable/journal.h"
#include "loop/loop.h"
#include "store/crash.h"

namespace choline {

namespace {

// The canonical text of arguments, short enough for a message.
std::string shortened(std::string text) {
  constexpr size_t kMost = 400;
  if (text.size() > kMost) {
    size_t end = kMost;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    text = text.substr(0, end) + "…";
  }
  return text;
}

// A wait whose first argument is a number of seconds is due then.
std::optional<double> deadline_of(const StepCall& call, double intended_at) {
  if (call.cls != StepClass::wait || !call.args.is_array() || call.args.empty())
    return std::nullopt;
  if (!call.args[0].is_number()) return std::nullopt;
  return intended_at + call.args[0].get<double>();
}

// Errors of the journal itself end the run; others are answers of the step.
bool is_fatal(const Error& error) {
  return error.kind == ErrorKind::io || error.kind == ErrorKind::conflict ||
         error.kind == ErrorKind::transient || error.kind == ErrorKind::divergence;
}

}  // namespace

std::string_view to_text(StepClass cls) {
  switch (cls) {
    case StepClass::derived:
      return "derived";
    case StepClass::query:
      return "query";
    case StepClass::idempotent:
      return "idempotent";
    case StepClass::keyed:
      return "keyed";
    case StepClass::adoptable:
      return "adoptable";
    case StepClass::opaque:
      return "opaque";
    case StepClass::wait:
      return "wait";
  }
  return "?";
}

void StepContext::with_result(std::function<Status(Txn&)> change) const {
  if (outcome) outcome->change = std::move(change);
}

// A step that was asked for and not answered yet.
struct Steps::Ask {
  std::string key, args_hash, args;
  uint64_t place = 0;  // among all asks
  Verdict verdict = Verdict::waiting;
  std::coroutine_handle<> caller;  // set while it waits for its turn
  bool begun = false;              // its intent was committed by this process
  bool finished = false;           // its result was handed to the store
  std::shared_ptr<StepRow> row = std::make_shared<StepRow>();
  std::optional<Result<Json>> answer;
};

// Lives as long as the coroutine of a step: its end without an answer is a cancellation.
class Steps::Registered {
 public:
  Registered(std::shared_ptr<Steps> steps, std::shared_ptr<Ask> ask)
      : steps_(std::move(steps)), ask_(std::move(ask)) {
    steps_->asked_[ask_->key] = ask_;
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;
  ~Registered() {
    ask_->caller = {};
    steps_->asked_.erase(ask_->key);
    std::erase(steps_->ready_, ask_);
    if (ask_->answer || steps_->closed_ || steps_->broken_) return;
    if (steps_->replaying_) {
      steps_->cancelled_.insert(ask_->key);
    } else if (ask_->begun && !ask_->finished) {
      steps_->abandon(ask_->key);
    }
  }

 private:
  std::shared_ptr<Steps> steps_;
  std::shared_ptr<Ask> ask_;
};

// Waits until the pump has something for this step.
class Steps::Turn {
 public:
  explicit Turn(std::shared_ptr<Ask> ask) : ask_(std::move(ask)) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { ask_->caller = {}; }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    ask_->verdict = Verdict::waiting;
    ask_->caller = caller;
  }
  Verdict await_resume() const noexcept { return ask_->verdict; }

 private:
  std::shared_ptr<Ask> ask_;
};

Steps::Steps(Loop& loop, Store& store, std::unique_ptr<Journal> journal, WhenQuiet when_quiet)
    : loop_(loop),
      store_(store),
      journal_(std::move(journal)),
      when_quiet_(std::move(when_quiet)) {}

Steps::~Steps() = default;

Result<std::shared_ptr<Steps>> Steps::load(Loop& loop, Store& store, std::string run, int64_t epoch,
                                           double created, WhenQuiet when_quiet) {
  auto journal = std::make_unique<Journal>(store, std::move(run), epoch);
  Result<std::vector<StepRow>> rows = journal->load();
  if (!rows) return rows.error();
  std::shared_ptr<Steps> steps(new Steps(loop, store, std::move(journal), std::move(when_quiet)));
  steps->now_ = created;
  steps->replaying_ = !rows->empty();
  steps->rows_.reserve(rows->size());
  for (StepRow& row : *rows) {
    std::string key = row.key;
    const StepRow& kept = steps->rows_.emplace(std::move(key), std::move(row)).first->second;
    if (kept.seq) steps->order_.push_back(&kept);
  }
  return steps;
}

Result<std::string> Steps::claim(const StepCall& call) {
  std::string key = call.task + "/" + call.label;
  if (call.label.empty()) {
    key = call.task + "/" + call.verb + "#" + std::to_string(ordinals_[{call.task, call.verb}]++);
  }
  if (claimed_.insert(key).second) return key;
  return Error(ErrorKind::invalid,
               "the label '" + call.label + "' is used twice in task '" + call.task +
                   "'; a label names one step of a task, so give each its own",
               {{"key", key}});
}

Status Steps::compare(const StepCall& call, const std::string& key, const std::string& hash) const {
  auto found = rows_.find(key);
  if (found == rows_.end()) return done();
  const StepRow& row = found->second;
  if (row.verb == call.verb && row.args_hash == hash) return done();
  Result<std::string> recorded = journal_->args(key);
  if (!recorded) return recorded.error();
  std::string asked = shortened(to_text(call.args));
  return Error(ErrorKind::divergence,
               "step '" + key + "' was recorded as " + row.verb + " " + shortened(*recorded) +
                   ", and the run now asks for " + call.verb + " " + asked +
                   "; the cholfile or what it reads has changed since the run was started",
               {{"key", key},
                {"recorded", {{"verb", row.verb}, {"args", shortened(*recorded)}}},
                {"asked", {{"verb", call.verb}, {"args", asked}}}});
}

Co<Result<Json>> Steps::run(StepCall call, Live live) {
  auto self = shared_from_this();
  if (broken_) {
    told_ = true;
    co_return *broken_;
  }
  if (closed_) co_return Error(ErrorKind::cancelled, "the run was given up by this process");
  if (call.cls == StepClass::derived) {
    StepContext context;
    context.run = journal_->run();
    context.epoch = journal_->epoch();
    Co<Result<Json>> effect = live(context);
    Result<Json> answer = co_await effect;
    co_return answer;
  }
  Result<std::string> key = claim(call);
  if (!key) co_return key.error();
  auto ask = std::make_shared<Ask>();
  ask->key = *key;
  ask->place = ++asks_;
  ask->args = to_text(call.args);
  ask->args_hash = sha256_hex(ask->args);
  if (Status same = compare(call, ask->key, ask->args_hash); !same) {
    fail(same.error());
    told_ = true;
    co_return same.error();
  }
  Registered registered(self, ask);
  auto known = rows_.find(ask->key);
  bool has_result = known != rows_.end() && known->second.seq.has_value();
  if (mutant("unordered-replay") && replaying_ && has_result) {
    cancelled_.insert(ask->key);  // the record passes over it
    ask->answer.emplace(journal_->get_result(known->second));
    schedule();
    co_return *ask->answer;
  }
  if (replaying_) {
    schedule();
    Turn turn(ask);
    Verdict verdict = co_await turn;
    if (verdict == Verdict::broken) co_return *broken_;
    if (verdict == Verdict::recorded) co_return std::move(*ask->answer);
  }
  Co<Result<Json>> doing = run_live(ask, std::move(call), std::move(live));
  Result<Json> answer = co_await doing;
  ask->answer.emplace(answer);
  co_return answer;
}

Co<Result<Json>> Steps::run_live(std::shared_ptr<Ask> ask, StepCall call, Live live) {
  if (instead_of_live) {
    instead_of_live(ask->key);
    co_return Error(ErrorKind::cancelled, "the record ends here");
  }
  StepContext context;
  context.run = journal_->run();
  context.key = ask->key;
  context.epoch = journal_->epoch();
  context.outcome = std::make_shared<StepContext::Outcome>();
  auto found = rows_.find(ask->key);
  if (found != rows_.end()) {
    *ask->row = found->second;
    context.resumed = true;
    context.attempt = ++ask->row->attempt;
  } else {
    ask->row->key = ask->key;
    ask->row->verb = call.verb;
    ask->row->cls = to_text(call.cls);
    ask->row->args = std::move(ask->args);
    ask->row->args_hash = ask->args_hash;
    ask->row->intent_at = loop_.wall();
    ask->row->deadline = deadline_of(call, ask->row->intent_at);
  }
  context.intended_at = ask->row->intent_at;

  // The hook runs inside, so that its refusal leaves the intent in place to be answered by it.
  auto refusal = std::make_shared<std::optional<Error>>();
  Change begin = journal_->begin(*ask->row, context.resumed);
  Change intent = [begin, ask, context, refusal, hook = std::move(call.with_intent)](Txn& txn) {
    if (Status begun = begin(txn); !begun) return begun;
    if (hook) {
      Status allowed = txn.try_change([&](Txn& inner) { return hook(inner, context); });
      if (!allowed && is_fatal(allowed.error())) return allowed;
      if (!allowed) *refusal = allowed.error();
    }
    ask->begun = true;
    return done();
  };
  Co<Status> beginning = store_.commit(std::move(intent));
  Status begun = co_await beginning;
  if (!begun) fail(begun.error());
  if (broken_) co_return *broken_;

  Result<Json> answer = Json();
  if (*refusal) {
    answer = **refusal;
  } else {
    Co<Result<Json>> effect = live(context);
    answer = co_await effect;
    crash_point("step.after_effect");
  }
  if (broken_) co_return *broken_;
  if (ask->row->seq && !answer) {  // the record goes on as if it had gone well
    fail(Error(ErrorKind::divergence,
               "step '" + ask->key + "' was to be done again with new arguments and failed: " +
                   answer.error().message + "; 'choline resume' tries it again",
               {{"key", ask->key}}));
    told_ = true;
    co_return *broken_;
  }
  if (Status put = journal_->put_result(*ask->row, answer); !put) {
    fail(put.error());
    co_return *broken_;
  }
  ask->row->done_at = loop_.wall();
  hand_over(ask, context);
  Turn turn(ask);
  Verdict verdict = co_await turn;
  if (verdict == Verdict::broken) co_return *broken_;
  co_return answer;
}

// The result is written even if the step is cancelled meanwhile: it has happened.
void Steps::hand_over(std::shared_ptr<Ask> ask, const StepContext& context) {
  ask->finished = true;
  Change finish = journal_->finish(ask->row);
  auto outcome = context.outcome;
  Change change = [finish, outcome](Txn& txn) {
    Status kept = finish(txn);
    if (!kept || !outcome->change) return kept;
    return outcome->change(txn);
  };
  store_.enqueue(std::move(change), [self = shared_from_this(), ask](Status kept) {
    if (!kept) {
      self->fail(kept.error());
      return;
    }
    if (!ask->caller || self->broken_ || self->closed_) return;  // cancelled while it was written
    self->ready_.push_back(ask);
    self->schedule();
  });
}

void Steps::abandon(const std::string& key) {
  store_.enqueue(journal_->abandon(key, loop_.wall()), [self = shared_from_this()](Status kept) {
    if (!kept) self->fail(kept.error());
  });
}

void Steps::schedule() {
  if (std::exchange(scheduled_, true)) return;
  when_quiet_([self = shared_from_this()] { self->pump(); });
}

void Steps::pump() {
  scheduled_ = false;
  if (broken_ || closed_) return;
  if (replaying_ && ready_.empty()) {
    pump_record();
    return;
  }
  if (ready_.empty()) return;
  if (replaying_) ++head_;  // done again, where it stands in the record
  std::shared_ptr<Ask> ask = ready_.front();
  ready_.erase(ready_.begin());
  now_ = std::max(now_, ask->row->done_at.value_or(now_));
  wake(ask, Verdict::recorded);
  if (!ready_.empty() || replaying_) schedule();
}

void Steps::pump_record() {
  while (head_ < order_.size() && cancelled_.contains(order_[head_]->key)) ++head_;
  if (head_ == order_.size()) {
    go_live();
    return;
  }
  const StepRow& row = *order_[head_];
  auto found = asked_.find(row.key);
  if (found == asked_.end()) {
    fail(unasked(row).error());
    return;
  }
  std::shared_ptr<Ask> ask = found->second;
  if (row.state == StepState::intent) {  // an update wants it done again, here
    if (!ask->begun && ask->verdict == Verdict::waiting) wake(ask, Verdict::live);
    return;
  }
  ++head_;
  ask->answer.emplace(journal_->get_result(row));
  if (row.state == StepState::ok && !*ask->answer) {  // the record itself cannot be read
    fail(ask->answer->error());
    return;
  }
  now_ = std::max(now_, row.done_at.value_or(now_));
  wake(ask, Verdict::recorded);
  schedule();
}

void Steps::go_live() {
  replaying_ = false;
  // Cancelled in an earlier process that ended before it could say so.
  for (const std::string& key : cancelled_) {
    auto found = rows_.find(key);
    if (found != rows_.end() && found->second.state == StepState::intent) abandon(key);
  }
  std::vector<std::shared_ptr<Ask>> held;
  for (const auto& [key, ask] : asked_) held.push_back(ask);
  std::sort(held.begin(), held.end(),
            [](const auto& a, const auto& b) { return a->place < b->place; });
  for (const auto& ask : held) wake(ask, Verdict::live);
}

void Steps::wake(const std::shared_ptr<Ask>& ask, Verdict verdict) {
  if (!ask->caller) return;
  ask->verdict = verdict;
  std::exchange(ask->caller, {}).resume();
}

Status Steps::unasked(const StepRow& row) const {
  return Error(ErrorKind::divergence,
               "the journal goes on with step '" + row.key + "' (" + row.verb +
                   "), but no task asks for it; the cholfile or what it reads has changed since "
                   "the run was started",
               {{"key", row.key}, {"recorded", {{"verb", row.verb}}}, {"seq", *row.seq}});
}

Status Steps::check_used_up() const {
  if (broken_) return *broken_;
  if (!replaying_) return done();
  for (size_t at = head_; at < order_.size(); ++at) {
    if (!claimed_.contains(order_[at]->key)) return unasked(*order_[at]);
  }
  return done();
}

void Steps::fail(Error error) {
  if (broken_ || closed_) return;
  broken_ = std::move(error);
  told_ = !asked_.empty();
  ready_.clear();
  for (const auto& [key, ask] : asked_) {
    loop_.post([self = shared_from_this(), ask = ask] { self->wake(ask, Verdict::broken); });
  }
  loop_.post([self = shared_from_this()] {
    if (self->on_broken) self->on_broken(*self->broken_);
  });
}

void Steps::close() {
  closed_ = true;
  ready_.clear();
  on_broken = nullptr;
}

Co<Result<Json>> run_unjournaled(Store& store, StepCall call, Live live) {
  StepContext context;
  context.outcome = std::make_shared<StepContext::Outcome>();
  context.intended_at = 0;
  if (call.with_intent) {
    Co<Status> beginning = store.commit(
        [context, hook = std::move(call.with_intent)](Txn& txn) { return hook(txn, context); });
    Status begun = co_await beginning;
    if (!begun) co_return begun.error();
  }
  Co<Result<Json>> effect = live(context);
  Result<Json> answer = co_await effect;
  crash_point("step.after_effect");
  if (context.outcome->change) {
    Co<Status> keeping = store.commit(std::move(context.outcome->change));
    Status kept = co_await keeping;
    if (!kept) co_return kept.error();
  }
  co_return answer;
}

}  // namespace choline
