#include "durable/rehearsal.h"

#include <algorithm>
#include <utility>

#include "base/digest.h"
#include "durable/journal.h"
#include "store/resources.h"
#include "store/store.h"

namespace choline {

namespace {

bool holds(const Json& value, const std::unordered_set<std::string>& texts) {
  if (value.is_string()) return texts.contains(value.get<std::string>());
  if (!value.is_structured()) return false;
  return std::any_of(value.begin(), value.end(),
                     [&](const Json& inner) { return holds(inner, texts); });
}

// Of steps of one task that would now do the same, only the last is done again.
void keep_all_but_last(Json& steps) {
  std::unordered_set<std::string> seen;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if ((*step)["what"] != "redone" || step->value("unfinished", false)) continue;
    std::string key = (*step)["key"].get<std::string>();
    std::string same = key.substr(0, key.find('/')) + " " + to_text((*step)["asked"]);
    if (!seen.insert(same).second) (*step)["what"] = "kept";
  }
}

}  // namespace

struct Rehearsal::Ask {
  std::string key;
  Fate fate = Fate::fresh;
  bool answered = false;
  std::coroutine_handle<> caller;
  Result<Json> answer = Json();

  bool blocks() const { return fate == Fate::replaced || fate == Fate::fresh; }
};

class Rehearsal::Registered {
 public:
  Registered(std::shared_ptr<Rehearsal> owner, std::shared_ptr<Ask> ask)
      : owner_(std::move(owner)), ask_(std::move(ask)) {
    owner_->asked_[ask_->key] = ask_;
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;
  ~Registered() {
    ask_->caller = {};
    owner_->asked_.erase(ask_->key);
    if (!ask_->answered) owner_->cancelled_.insert(ask_->key);
  }

 private:
  std::shared_ptr<Rehearsal> owner_;
  std::shared_ptr<Ask> ask_;
};

class Rehearsal::Turn {
 public:
  explicit Turn(std::shared_ptr<Ask> ask) : ask_(std::move(ask)) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { ask_->caller = {}; }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) { ask_->caller = caller; }
  void await_resume() const noexcept {}

 private:
  std::shared_ptr<Ask> ask_;
};

Rehearsal::Rehearsal(Store& store, RunRow row, WhenQuiet when_quiet)
    : store_(store), row_(std::move(row)), when_quiet_(std::move(when_quiet)) {}

Rehearsal::~Rehearsal() = default;

Result<std::shared_ptr<Rehearsal>> Rehearsal::begin(Store& store, RunRow row,
                                                    WhenQuiet when_quiet) {
  std::shared_ptr<Rehearsal> made(new Rehearsal(store, std::move(row), std::move(when_quiet)));
  if (Status loaded = made->load(); !loaded) return loaded.error();
  return made;
}

Status Rehearsal::load() {
  now_ = row_.created;
  Result<std::vector<StepRow>> rows = load_steps(store_.db(), row_.id);
  if (!rows) return rows.error();
  rows_.reserve(rows->size());
  for (StepRow& row : *rows) {
    std::string key = row.key;
    const StepRow& kept = rows_.emplace(std::move(key), std::move(row)).first->second;
    if (kept.seq) remaining_.push_back(&kept);
  }
  Result<std::vector<EventRow>> events = list_events(store_.db(), row_.id, 0, -1);
  if (!events) return events.error();
  for (EventRow& event : *events) {
    last_event_ = event.id;
    std::string key = event.key;
    if (!key.empty()) events_.emplace(std::move(key), std::move(event));
  }
  ResourceFilter filter;
  filter.run = row_.id;
  filter.states = {ResourceState::gone, ResourceState::voided, ResourceState::lost};
  Result<std::vector<ResourceRow>> gone = list_resources(store_.db(), filter);
  if (!gone) return gone.error();
  for (const ResourceRow& row : *gone) gone_tags_.insert(row.tag);
  return done();
}

Result<std::string> Rehearsal::claim(const StepCall& call) {
  std::string key = call.task + "/" + call.label;
  if (call.label.empty()) {
    key = call.task + "/" + call.verb + "#" + std::to_string(ordinals_[{call.task, call.verb}]++);
  }
  if (claimed_.insert(key).second) return key;
  return Error(ErrorKind::invalid,
               "the label '" + call.label + "' is used twice in task '" + call.task + "'");
}

// Does it concern an instance that is no more? Then there is nothing to do again.
bool Rehearsal::works_on_nothing(const Json& args) const {
  return holds(args, gone_tags_);
}

Rehearsal::Fate Rehearsal::fate_of(const StepCall& call, const StepRow* row,
                                   const std::string& hash) const {
  if (!row) return Fate::fresh;
  bool same = row->verb == call.verb && row->args_hash == hash;
  if (same) return row->seq ? Fate::reused : Fate::goes_on;
  if (row->verb != call.verb) return Fate::replaced;
  switch (call.cls) {
    case StepClass::wait:  // one that is over is over; one that goes on has its new end
      return row->seq ? Fate::kept : Fate::goes_on;
    case StepClass::idempotent:
      if (!row->seq) return Fate::goes_on;
      // What failed went on as after a failure; there is nothing to do again.
      return row->state == StepState::error || works_on_nothing(call.args) ? Fate::kept
                                                                           : Fate::redone;
    case StepClass::query:
      return row->seq ? Fate::replaced : Fate::goes_on;
    default:
      return Fate::replaced;
  }
}

void Rehearsal::note(const Ask& ask, const StepCall& call, const std::string& place) {
  static constexpr const char* kWords[] = {"reused", "reused", "redone", "kept", "replaced", "new"};
  auto found = rows_.find(ask.key);
  Json told = {{"key", ask.key},
               {"verb", call.verb},
               {"class", to_text(call.cls)},
               {"what", kWords[static_cast<int>(ask.fate)]}};
  if (!place.empty()) told["where"] = place;
  bool differs = found != rows_.end() && found->second.args_hash != sha256_hex(to_text(call.args));
  if (differs || found == rows_.end()) told["asked"] = call.args;
  if (differs) told["recorded"] = told_of(found->second);
  if (differs && ask.fate == Fate::goes_on) told["what"] = "changed";
  if (found != rows_.end() && !found->second.seq) told["unfinished"] = true;
  noted_[ask.key] = notes_.size();
  notes_.push_back(std::move(told));
}

Json Rehearsal::told_of(const StepRow& row) const {
  Result<std::optional<StepRow>> whole = find_step(store_.db(), row_.id, row.key);
  if (!whole || !*whole) return Json();
  Result<Json> args = parse_json((*whole)->args);
  return args ? *args : Json();
}

Co<Result<Json>> Rehearsal::step(StepCall call, std::string place) {
  auto self = shared_from_this();
  if (call.cls == StepClass::derived) {
    Co<Result<Json>> never = sealed();
    Result<Json> nothing = co_await never;
    co_return nothing;
  }
  Result<std::string> key = claim(call);
  if (!key) co_return key.error();
  auto ask = std::make_shared<Ask>();
  ask->key = *key;
  auto found = rows_.find(ask->key);
  ask->fate = fate_of(call, found == rows_.end() ? nullptr : &found->second,
                      sha256_hex(to_text(call.args)));
  note(*ask, call, place);
  Registered registered(self, ask);
  schedule();
  Turn turn(ask);
  co_await turn;
  co_return std::move(ask->answer);
}

Co<Result<Json>> Rehearsal::sealed() {
  auto ask = std::make_shared<Ask>();
  Turn turn(ask);
  co_await turn;
  co_return Json();
}

Json Rehearsal::event(const std::string& kind, Json data, const std::string& key,
                      const std::string& task, bool outside) {
  std::string full = key;
  if (full.empty()) {
    std::string place = (outside ? task + "@" + std::to_string(row_.epoch) : task) + "/" + kind;
    full = place + "#" + std::to_string(event_ordinals_[place]++);
  }
  emitted_.push_back(full);
  auto found = events_.find(full);
  if (found != events_.end()) {
    const EventRow& row = found->second;
    return {
        {"id", row.id}, {"at", row.at}, {"kind", row.kind}, {"data", row.data}, {"fresh", false}};
  }
  return {{"id", ++last_event_},
          {"at", now_},
          {"kind", kind},
          {"data", std::move(data)},
          {"fresh", false}};
}

void Rehearsal::schedule() {
  if (std::exchange(scheduled_, true)) return;
  at_rest_ = false;
  when_quiet_([self = shared_from_this()] { self->pump(); });
}

// Delivers the first recorded result that somebody waits for; what nobody asks for is left behind.
void Rehearsal::pump() {
  scheduled_ = false;
  for (size_t at = 0; at < remaining_.size();) {
    const StepRow& row = *remaining_[at];
    if (cancelled_.contains(row.key)) {
      order_.push_back(row.key);
      remaining_.erase(remaining_.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    }
    auto found = asked_.find(row.key);
    if (found == asked_.end() || found->second->blocks() || !found->second->caller) {
      ++at;
      continue;
    }
    std::shared_ptr<Ask> ask = found->second;
    remaining_.erase(remaining_.begin() + static_cast<std::ptrdiff_t>(at));
    order_.push_back(row.key);
    ask->answer = Journal(store_, row_.id, row_.epoch).get_result(row);
    ask->answered = true;
    now_ = std::max(now_, row.done_at.value_or(now_));
    schedule();
    std::exchange(ask->caller, {}).resume();
    return;
  }
  at_rest_ = true;
  std::vector<std::coroutine_handle<>> waiting = std::exchange(resting_, {});
  for (std::coroutine_handle<> each : waiting) each.resume();
}

Co<Result<Json>> Rehearsal::rested() {
  struct Rest {
    explicit Rest(Rehearsal& the_owner) : owner(the_owner) {}
    Rest(const Rest&) = delete;
    Rest& operator=(const Rest&) = delete;
    bool await_ready() const noexcept { return owner.at_rest_; }
    void await_suspend(std::coroutine_handle<> caller) { owner.resting_.push_back(caller); }
    void await_resume() const noexcept {}
    Rehearsal& owner;
  };
  schedule();
  Rest rest(*this);
  co_await rest;
  co_return report();
}

Json Rehearsal::report() const {
  Json steps = Json::array();
  for (const Json& told : notes_) {
    // A new step that a race gave up is no step of the plan.
    bool given_up = cancelled_.contains(told["key"].get<std::string>());
    if (!(given_up && told["what"] == "new")) steps.push_back(told);
  }
  keep_all_but_last(steps);
  std::vector<const StepRow*> left;
  for (const auto& [key, row] : rows_) {
    if (!claimed_.contains(key)) left.push_back(&row);
  }
  std::sort(left.begin(), left.end(), [](const StepRow* a, const StepRow* b) {
    return std::pair(a->intent_at, a->key) < std::pair(b->intent_at, b->key);
  });
  for (const StepRow* row : left) {
    Json told = {{"key", row->key},
                 {"verb", row->verb},
                 {"class", row->cls},
                 {"what", "unreached"},
                 {"recorded", told_of(*row)}};
    if (!row->seq) told["unfinished"] = true;
    steps.push_back(std::move(told));
  }
  return {{"steps", std::move(steps)}, {"order", order_}, {"events", emitted_}};
}

}  // namespace choline
