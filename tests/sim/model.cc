#include "sim/model.h"

#include <sqlite3.h>

#include <filesystem>
#include <memory>
#include <optional>

#include "durable/owned_run.h"
#include "durable/rent.h"
#include "loop/sim_loop.h"
#include "provider/providers.h"
#include "sim/ledger.h"
#include "sim/model_cloud.h"
#include "store/crash.h"
#include "store/store.h"

namespace choline::sim {

namespace {

namespace fs = std::filesystem;

constexpr double kLongest = 2000;  // seconds of one process; longer is stuck
constexpr int kMostProcesses = 8;
constexpr const char* kRun = "model";

class Life;
Life* living = nullptr;  // the process that has the processor

Co<Result<Json>> rent_effect(RentWorld world, StepContext context) {
  RentRequest request;
  request.name = "box";
  request.provider = "local";
  request.offer.id = "offer";
  request.offer.provider = "local";
  request.offer.price = 1;
  request.spec.name = "box";
  Result<ResourceRow> row = co_await rent(world, std::move(request), std::move(context));
  if (!row) co_return row.error();
  co_return Json{{"tag", row->tag}};
}

Co<Result<Json>> release_effect(RentWorld world, std::string tag, StepContext context) {
  Result<Released> released = co_await release(world, std::move(tag), std::move(context));
  if (!released) co_return released.error();
  co_return Json{{"gone", released->gone}};
}

// One process: takes the run, rents, releases what it has rented, and ends the run.
class Life {
 public:
  Life(ModelCloud& cloud, const std::string& state, double settle)
      : cloud_(cloud), loop_(1'800'000'000 + cloud.now), providers_(loop_, state) {
    living = this;
    cloud.die = [this] { die(); };
    providers_.add(
        std::make_unique<ModelProvider>(cloud, loop_, cloud.now - loop_.ticks(), dead, settle));
    Result<std::unique_ptr<Store>> opened = Store::open(loop_, state);
    if (!opened) {
      fail("open the store: " + opened.error().message);
      return;
    }
    store_ = std::move(*opened);
    auto when_quiet = [this](std::function<void()> fn) { loop_.post(std::move(fn)); };
    auto owned = OwnedRun::own(loop_, *store_, kRun, when_quiet);
    if (!owned) {
      fail("take the run: " + owned.error().message);
      return;
    }
    run_ = std::move(*owned);
    run_->on_broken = [this](const Error& error) { fail("the run broke: " + error.message); };
  }
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;
  ~Life() {
    dead = true;
    work_ = Started();
    run_.reset();
    store_.reset();
    living = nullptr;
  }

  // True when it has come to its end.
  bool go() {
    if (dead || !run_) return false;
    std::function<void(Status)> over = [this](Status ended) {
      if (dead) return;
      if (!ended) fail("the run failed: " + ended.error().message);
      ended_ = ended.ok();
      loop_.stop();
    };
    work_ = Started(live(), std::move(over));
    if (!dead && !ended_) loop_.run_for(kLongest);
    cloud_.advance(cloud_.now);
    if (!dead && !ended_) cloud_.violate("stuck: the run does not end");
    return ended_;
  }

  void passed_point() {
    if (!dead && cloud_.chooser.choose(2, "crash") == 1) die();
  }

  bool dead = false;

 private:
  void fail(const std::string& what) {
    if (!dead) cloud_.violate(what);
    die();
  }
  void die() {
    dead = true;
    loop_.stop();
  }

  Co<Status> live() {
    RentWorld world{loop_, *store_, providers_};
    StepCall create;
    create.task = "main";
    create.label = "box";
    create.verb = "instance.create";
    create.cls = StepClass::adoptable;
    create.args = Json::array({"box"});
    Live renting = [world](StepContext context) { return rent_effect(world, std::move(context)); };
    Result<Json> made = co_await run_->steps().run(std::move(create), std::move(renting));
    if (made) {
      std::string tag = (*made)["tag"].get<std::string>();
      StepCall destroy;
      destroy.task = "main";
      destroy.verb = "instance.destroy";
      destroy.cls = StepClass::idempotent;
      destroy.args = Json::array({tag});
      Live releasing = [world, tag](StepContext context) {
        return release_effect(world, tag, std::move(context));
      };
      Result<Json> ended = co_await run_->steps().run(std::move(destroy), std::move(releasing));
      if (!ended) co_return ended.error();
    } else if (made.error().kind != ErrorKind::no_capacity) {
      co_return made.error();
    }
    Status set = run_->set_state("done", nullptr);
    if (!set) co_return set;
    run_->disown();
    co_return done();
  }

  ModelCloud& cloud_;
  SimLoop loop_;
  Providers providers_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<OwnedRun> run_;
  Started work_;
  bool ended_ = false;
};

void on_crash_point(const char*) {
  if (living) living->passed_point();
}

// The dead commit nothing, whatever is left of the present turn.
int on_commit(void*) {
  return living && living->dead ? 1 : 0;
}

int on_open(sqlite3* db, char**, const sqlite3_api_routines*) {
  sqlite3_commit_hook(db, on_commit, nullptr);
  return SQLITE_OK;
}

// A state folder with the run in it, to be copied for each history.
void make_template(const std::string& folder) {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  SimLoop loop;
  auto store = Store::open(loop, folder);
  if (!store) throw std::runtime_error(store.error().message);
  RunRow row;
  row.id = kRun;
  row.name = "model";
  row.created = loop.wall();
  Status made = (*store)->write([&](Txn& txn) { return insert_run(txn, row, {}); });
  if (!made) throw std::runtime_error(made.error().message);
}

void check_end(ModelCloud& cloud, const std::string& state) {
  cloud.advance(cloud.now + kFlight + kLag);
  for (const std::string& left : cloud.alive()) cloud.violate("alive after the end: " + left);
  Ledger ledger(state);
  std::string open = ledger.one(
      "SELECT tag || ' is ' || state FROM res "
      "WHERE state NOT IN ('gone', 'void')");
  if (!open.empty()) cloud.violate("open in the ledger: " + open);
  std::string ended = ledger.one("SELECT state FROM run");
  if (ended != "done") cloud.violate("the run ended as " + ended);
}

}  // namespace

ModelResult explore(const ModelOptions& options) {
  crash_hook = on_crash_point;
  sqlite3_auto_extension(reinterpret_cast<void (*)()>(on_open));
  std::string blank = options.folder + "/blank", state = options.folder + "/state";
  make_template(blank);
  crash_points_on = true;
  ModelResult result;
  Chooser chooser(options.faults, options.share, options.shares);
  do {
    fs::remove_all(state);
    fs::copy(blank, state, fs::copy_options::recursive);
    chooser.begin();
    ModelCloud cloud(chooser);
    bool ended = false;
    for (int left = kMostProcesses; left > 0 && !ended && cloud.violation.empty(); --left) {
      Life life(cloud, state, options.settle);
      ended = life.go();
      ++result.processes;
    }
    if (ended && cloud.violation.empty()) check_end(cloud, state);
    ++result.histories;
    if (cloud.violation.empty()) continue;
    if (result.violating++ == 0) result.first = cloud.violation + " (" + chooser.told() + ")";
    if (options.first_only) break;
  } while (chooser.next());
  crash_points_on = false;
  return result;
}

}  // namespace choline::sim
