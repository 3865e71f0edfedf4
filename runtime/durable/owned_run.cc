#include "durable/owned_run.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/mutant.h"
#include "base/random.h"
#include "base/text.h"
#include "base/time.h"
#include "loop/loop.h"
#include "store/metrics.h"
#include "store/resources.h"

namespace choline {

namespace {

// Seeds stay exact in programs whose numbers are doubles.
constexpr uint64_t kSeedMask = (uint64_t{1} << 53) - 1;
constexpr double kBetweenLooks = 10;  // seconds; whether the run is still ours

Error owned_elsewhere(const RunRow& row) {
  std::string text = "run " + row.id + " is owned by another process";
  Json fields = {{"run", row.id}};
  if (row.owner.is_object()) {
    text = "run " + row.id + " is owned by process " + to_text(row.owner.value("pid", Json())) +
           " on " + row.owner.value("host", std::string("this machine")) + " since " +
           to_rfc3339(row.owner.value("since", 0.0));
    for (const char* key : {"host", "pid", "since"}) fields[key] = row.owner.value(key, Json());
  }
  text += "; watch it with 'choline logs -f " + row.id + "' or end it with 'choline stop " +
          row.id + "'";
  return Error(ErrorKind::conflict, text, fields);
}

bool is_alive(const Json& owner) {
  if (!owner.is_object() || !owner.contains("pid") || !owner["pid"].is_number_integer())
    return false;
  return ::kill(owner["pid"].get<pid_t>(), 0) == 0 || errno == EPERM;
}

// Whoever has just taken the lock says in the next moment who it is; the row may still name the
// owner before.
RunRow who_owns(Store& store, RunRow row, double now) {
  constexpr int kLooks = 100;
  constexpr useconds_t kBetween = 10'000;  // microseconds
  for (int look = 0; look < kLooks && !is_alive(row.owner); ++look) {
    ::usleep(kBetween);
    Result<std::optional<RunRow>> again = get_run(store.db(), row.id, now);
    if (again && *again) row = std::move(**again);
  }
  return row;
}

}  // namespace

Result<std::string> create_run(Store& store, RunRow row, const std::vector<SourceRow>& sources,
                               double now) {
  row.created = now;
  if (row.seed == 0) row.seed = static_cast<int64_t>(random_u64() & kSeedMask);
  constexpr int kTries = 5;  // of random ids
  for (int left = kTries; left > 0; --left) {
    row.id = random_id(8);
    Result<std::optional<RunRow>> same = get_run(store.db(), row.id, now);
    if (!same) return same.error();
    if (*same) continue;
    std::string id = row.id;
    Status inserted = store.write([&](Txn& txn) -> Status {
      Result<std::optional<std::string>> child = find_child(txn.db(), row.parent);
      if (!child) return child.error();
      if (!*child) return insert_run(txn, row, sources);
      id = **child;
      return done();
    });
    if (!inserted) return inserted.error();
    return id;
  }
  return Error(ErrorKind::conflict, "no free id for a run was found");
}

OwnedRun::OwnedRun(Loop& loop, Store& store, RunRow row, RunLock lock)
    : loop_(loop), store_(store), row_(std::move(row)), lock_(std::move(lock)) {}

OwnedRun::~OwnedRun() {
  loop_.cancel(watching_);
  if (steps_) steps_->close();
  if (requests_) requests_->close();
}

Result<std::unique_ptr<OwnedRun>> OwnedRun::own(Loop& loop, Store& store, const std::string& id,
                                                WhenQuiet when_quiet) {
  Result<std::optional<RunRow>> row = get_run(store.db(), id, loop.wall());
  if (!row) return row.error();
  if (!*row) return Error(ErrorKind::not_found, "there is no run " + choline::quoted(id));
  Result<std::optional<RunLock>> lock = RunLock::take(store.run_folder(id));
  if (!lock) return lock.error();
  if (!*lock) return owned_elsewhere(who_owns(store, std::move(**row), loop.wall()));
  std::unique_ptr<OwnedRun> owned(new OwnedRun(loop, store, std::move(**row), std::move(**lock)));
  if (Status loaded = owned->load(std::move(when_quiet)); !loaded) return loaded.error();
  return owned;
}

Status OwnedRun::load(WhenQuiet when_quiet) {
  Json owner = describe_this_process(loop_.wall());
  Status taken = store_.write([&](Txn& txn) -> Status {
    Result<int64_t> epoch = take_run(txn, row_.id, owner);
    if (!epoch) return epoch.error();
    row_.epoch = *epoch;
    return clear_shown(txn, row_.id);
  });
  if (!taken) return taken;
  row_.owner = owner;
  ++row_.incarnations;
  auto steps = Steps::load(loop_, store_, row_.id, row_.epoch, row_.created, std::move(when_quiet));
  if (!steps) return steps.error();
  steps_ = std::move(*steps);
  steps_->on_broken = [this](const Error& error) { broke(error); };
  Result<std::vector<EventRow>> events = list_events(store_.db(), row_.id, 0, -1);
  if (!events) return events.error();
  for (EventRow& event : *events) {
    last_event_ = event.id;
    std::string key = event.key;
    if (!key.empty()) events_.emplace(std::move(key), std::move(event));
  }
  auto requests = RequestServer::listen(loop_, folder());
  if (!requests) return requests.error();
  requests_ = std::move(*requests);
  self_ = std::make_shared<OwnedRun*>(this);
  loop_.on_clock_jump([self = std::weak_ptr<OwnedRun*>(self_)] {
    if (std::shared_ptr<OwnedRun*> alive = self.lock()) (*alive)->look();
  });
  watch();
  return done();
}

// A process that only waits writes nothing, so no fence would tell it that its run was taken while
// it slept. It looks by itself, and at once when the machine has woken.
void OwnedRun::watch() {
  watching_ = loop_.timer(kBetweenLooks, [this] {
    look();
    watch();
  });
}

void OwnedRun::look() {
  if (!lock_ || mutant("no-look")) return;
  Status held = check_epoch(store_.db(), row_.id, row_.epoch);
  if (!held && held.error().kind == ErrorKind::conflict) steps_->fail(held.error());
}

Change OwnedRun::fenced(Change change) const {
  return [run = row_.id, epoch = row_.epoch, change = std::move(change)](Txn& txn) {
    if (mutant("no-fence")) return change(txn);
    if (Status held = txn.fence(run, epoch); !held) return held;
    return change(txn);
  };
}

Co<Status> OwnedRun::commit(Change change) {
  return store_.commit(fenced(std::move(change)));
}

Status OwnedRun::write(Change change) {
  return store_.write(fenced(std::move(change)));
}

OwnedRun::Recorded OwnedRun::event(const std::string& kind, Json data, const std::string& key,
                                   const std::string& task, bool outside) {
  Recorded recorded;
  EventRow& row = recorded.row;
  row.key = key;
  if (key.empty()) {
    std::string place = outside ? task + "@" + std::to_string(row_.epoch) : task;
    place += "/" + kind;
    row.key = place + "#" + std::to_string(ordinals_[place]++);
  }
  auto found = events_.find(row.key);
  if (found != events_.end()) {
    row = found->second;
    return recorded;
  }
  row.id = ++last_event_;
  row.at = loop_.wall();
  row.kind = kind;
  row.data = std::move(data);
  recorded.fresh = true;
  events_.emplace(row.key, row);
  store_.enqueue(fenced([run = row_.id, row](Txn& txn) -> Status {
                   Result<EventRow> kept = append_event(txn, run, row);
                   if (!kept) return kept.error();
                   return done();
                 }),
                 [steps = steps_](Status kept) {
                   if (!kept) steps->fail(kept.error());
                 });
  return recorded;
}

Status OwnedRun::set_state(const std::string& state, const Json& failure) {
  bool is_result = state == "done" || state == "failed";
  if (is_result) {
    if (Status used = steps_->check_used_up(); !used) {
      steps_->fail(used.error());
      return used;
    }
  }
  return write(
      [&, at = loop_.wall()](Txn& txn) { return set_run_state(txn, row_.id, state, failure, at); });
}

Result<double> OwnedRun::cost() const {
  return run_cost(store_.db(), row_.id, steps_->now());
}

void OwnedRun::broke(const Error& error) {
  if (error.kind == ErrorKind::divergence) {
    Json failure = to_json(error);
    Status paused = write([&, at = loop_.wall()](Txn& txn) {
      return set_run_state(txn, row_.id, "paused", failure, at);
    });
    // The first error is the one to tell.
    if (!paused && on_broken) return on_broken(error);
  }
  if (on_broken) on_broken(error);
}

void OwnedRun::disown() {
  if (!lock_) return;
  self_.reset();
  loop_.cancel(watching_);
  steps_->close();
  requests_->close();
  requests_.reset();
  // What is left in the row says nothing once the lock is free, so a failure here hurts nobody.
  Status left = store_.write([&](Txn& txn) {
    if (Status cleared = clear_shown(txn, row_.id); !cleared) return cleared;
    return leave_run(txn, row_.id, row_.epoch);
  });
  static_cast<void>(left.ok());
  lock_.reset();
}

}  // namespace choline
