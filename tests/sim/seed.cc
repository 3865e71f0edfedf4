#include "sim/seed.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include "base/json.h"
#include "power/power_vfs.h"
#include "sim/ledger.h"
#include "sim/process.h"

namespace choline::sim {

namespace {

namespace fs = std::filesystem;

constexpr double kDay = 86400;
constexpr double kEnough = 60;   // seconds for an order to be obeyed
constexpr int kCutsEvery = 4;    // every so many seeds lose power where others only crash
constexpr int kLooks = 30;       // seconds within which a process has looked whether its run is its
constexpr int kWholeEvery = 10;  // every so many seeds run with the whole stdlib

class Story {
 public:
  Story(uint64_t seed, std::string folder, bool tell)
      : folder_(std::move(folder)),
        tell_(tell),
        world_(seed),
        asker_(derived(seed, "asks")),
        dice_(derived(seed, "story")) {
    result_.whole = seed % kWholeEvery == 0;
    if (asker_.integer(1, kCutsEvery) == 1) power_.emplace();
    if (result_.whole && asker_.chance(0.8)) asks_ = asker_.integer(1, 4);
    crashes_ = dice_.chance(0.1) ? 0 : dice_.integer(1, 6);
    clocks_ = dice_.chance(0.2);
    zombie_ = dice_.chance(0.1);
    shape_ = {{"seed", static_cast<int64_t>(seed % 1000000 + 1)},
              {"workers", dice_.integer(1, 3)},
              {"attempts", dice_.integer(1, 4)},
              {"seconds", dice_.integer(1, 100)},
              {"pause", dice_.integer(0, 600)},
              {"limit", dice_.integer(1, 200)},
              {"race", dice_.chance(0.5)}};
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
    fs::create_directories(folder_ + "/state");
    if (!result_.whole) return;
    const char* program =
        dice_.chance(0.5) ? "tests/sim/programs/tasks.lua" : "tests/sim/programs/pipeline.lua";
    fs::create_directories(folder_ + "/work");
    std::ofstream(folder_ + "/work/Cholfile.lua") << project_file(program);
  }

  SeedResult go() {
    for (int left = crashes_; left > 0 && !ended_; --left) live_and_die();
    if (!ended_ && zombie_) live_beside_a_zombie();
    if (!ended_) live_to_the_end();
    if (ended_) check_end();
    // A run that was stopped ends where its record does not say.
    bool told = ended_ && !stopped_ && world_.violations().empty();
    if (told && dice_.chance(0.3)) replay();
    result_.violations = world_.violations();
    result_.seconds = world_.now();
    result_.instances = static_cast<int>(world_.launches());
    return std::move(result_);
  }

 private:
  ProcessOptions options() {
    ProcessOptions options;
    options.state = folder_ + "/state";
    std::string run = run_id();
    if (result_.whole) {
      options.argv = run.empty() ? std::vector<std::string>{"run", folder_ + "/work/Cholfile.lua"}
                                 : std::vector<std::string>{"resume", run};
      options.argv.push_back("--plain");
    } else {
      options.program = project_file("tests/sim/small.lua");
      options.argv = {to_text(shape_)};
      if (!run.empty()) options.argv.push_back(run);
    }
    if (result_.whole && !awake_) add_asks(options);
    if (clocks_ && !awake_ && dice_.chance(0.5)) {
      options.suspended_at = dice_.between(1, 100);
      options.suspended = dice_.between(1, 7200);
    }
    if (clocks_ && dice_.chance(0.5)) {
      options.jump_at = dice_.between(1, 100);
      options.jump = dice_.between(-3600, 3600);
    }
    return options;
  }

  // Somebody wants something of the run, at any moment.
  void add_asks(ProcessOptions& options) {
    for (double at = 0; asks_ > 0 && asker_.chance(0.7); --asks_) {
      Ask ask;
      ask.at = at += asker_.between(0.01, asker_.chance(0.5) ? 10 : 200);
      ask.dies = asker_.chance(0.3);
      int kind = asker_.integer(1, 8);
      bool now = asker_.chance(0.5);
      ask.verb = kind <= 3 ? "pause" : kind <= 4 ? "resume" : kind <= 7 ? "set" : "stop";
      ask.args = Json{{"now", now}};
      if (ask.verb == "set") {
        ask.args = {{"name", "rate"},
                    {"value", asker_.integer(2, 9)},
                    {"request", "r" + std::to_string(++asked_)}};
      }
      options.asks.push_back(std::move(ask));
    }
  }

  std::string run_id() {
    if (!fs::exists(folder_ + "/state/store.db")) return {};
    Ledger ledger(folder_ + "/state");
    bool begun = ledger.one("SELECT count(*) FROM sqlite_master WHERE name = 'run'") == "1";
    return begun ? ledger.one("SELECT id FROM run ORDER BY created LIMIT 1") : std::string();
  }

  std::unique_ptr<Process> begin(ProcessOptions options) {
    last_began_ = world_.now();
    std::unique_ptr<Process> process = std::make_unique<Process>(world_, std::move(options));
    if (result_.processes++ == 0) Ledger(folder_ + "/state").guard();
    return process;
  }

  void note(const std::string& what, const Process& process) {
    if (!tell_) return;
    result_.story += "-- " + what + " at " + std::to_string(world_.now()) + " after " +
                     std::to_string(process.points_passed()) + " points\n" + process.output() +
                     "\n";
  }

  void live_and_die() {
    ProcessOptions wanted = options();
    if (dice_.chance(0.7)) {
      wanted.crash_at_point = dice_.integer(1, dice_.chance(0.3) ? 12 : 80);
    } else {
      wanted.crash_after = dice_.between(0.01, 300);
    }
    std::unique_ptr<Process> process = begin(wanted);
    watch(*process, 3 * kDay);
    after(*process, "crashed");
    std::optional<PowerVfs::Image> image;
    if (power_ && process->died()) image = power_->cut(asker_.next());
    process.reset();
    if (image) come_back(*image);
    world_.advance(world_.now() +
                   (dice_.chance(0.8) ? dice_.between(0, 20) : dice_.between(20, 4000)));
  }

  // What the disk has is what was synced, and by chance some of the rest.
  void come_back(const PowerVfs::Image& image) {
    ++result_.cuts;
    power_.reset();
    std::error_code ignored;
    for (const char* end : {"", "-wal", "-shm"}) {
      fs::remove(folder_ + "/state/store.db" + end, ignored);
    }
    power_.emplace();
    power_->place(image, folder_ + "/state");
  }

  // A process that sleeps so long that another takes its run, and then wakes.
  // Neither machine sleeps beyond that: there is one time for both.
  void live_beside_a_zombie() {
    awake_ = true;
    std::unique_ptr<Process> zombie = begin(options());
    zombie->run_for(dice_.between(0.1, 120));
    std::string run = run_id();
    if (zombie->over() || run.empty()) return after(*zombie, "ended before it was a zombie");
    std::error_code ignored;
    fs::remove(folder_ + "/state/runs/" + run + "/lock",
               ignored);  // as a server of locks that restarts
    std::unique_ptr<Process> heir = begin(options());
    heir->run_for(dice_.between(0.1, 60));
    zombie->wake(world_.seed() % 3 == 0);
    for (int slices = 0; slices < 2 * kLooks && !zombie->over(); ++slices) {
      zombie->run_for(0.5);
      if (!heir->over()) heir->run_for(0.5);
    }
    ++result_.zombies;
    if (!zombie->over()) world_.violate("a process that lost its run goes on");
    if (zombie->over() && !zombie->lost_its_run() && zombie->exit_code() != 1) {
      world_.violate("a process that lost its run ended with " +
                     std::to_string(zombie->exit_code().value_or(-1)) + ": " + zombie->output());
    }
    note("zombie", *zombie);
    zombie.reset();
    watch(*heir, 3 * kDay);
    after(*heir, "heir");
  }

  void live_to_the_end() {
    std::string said;
    for (int left = 12; left > 0 && !ended_; --left) {
      std::unique_ptr<Process> process = begin(options());
      watch(*process, 3 * kDay);
      after(*process, "last");
      said = process->output();
      if (!process->over()) break;
    }
    if (!ended_) world_.violate("stuck: the run does not end\n" + said);
  }

  void watch(Process& process, double seconds) {
    double until = world_.now() + seconds;
    while (!process.over() && process.now() < until) process.run_for(600);
  }

  void after(Process& process, const std::string& what) {
    note(what, process);
    if (process.died()) ++result_.crashes;
    result_.answers += static_cast<int>(process.answered().size());
    for (const Answered& each : process.answered()) {
      if (each.answer.value("accepted", false)) accepted_.push_back(each);
    }
    if (!process.exit_code()) return;
    if (paused(process)) return;
    code_ = *process.exit_code();
    ended_ = true;
    last_words_ = process.output();
  }

  bool was_asked(const std::string& verb) const {
    return std::any_of(accepted_.begin(), accepted_.end(),
                       [&](const Answered& each) { return each.ask.verb == verb; });
  }

  // A paused run costs nothing, and goes on when it is resumed.
  bool paused(Process& process) {
    Ledger ledger(folder_ + "/state");
    if (process.exit_code() != 0 || ledger.one("SELECT state FROM run") != "paused") return false;
    ++result_.pauses;
    if (!was_asked("pause")) world_.violate("a run is paused that nobody paused");
    for (const auto& row : ledger.ask("SELECT tag, state FROM res WHERE state NOT IN "
                                      "('gone','void')")) {
      world_.violate("open in the ledger of a paused run: " + row[0]);
    }
    if (second_may_hide()) return true;
    for (const std::string& left : world_.alive()) world_.violate("alive in a pause: " + left);
    return true;
  }

  // What was answered with yes is in the record, whatever came then, and obeyed by a process that
  // lives long enough.
  void check_accepted(Ledger& ledger, double ended) {
    for (const Answered& each : accepted_) {
      if (each.ask.verb != "set") continue;
      std::string request = each.ask.args.value("request", "");
      auto recorded = [&](const std::string& kind) {
        return ledger.one("SELECT count(*) FROM event WHERE key = '" + kind + "/" + request +
                          "'") != "0";
      };
      if (!recorded("set_requested"))
        world_.violate("a set that was accepted was forgotten: " + request);
      bool enough = ended > std::max(each.at, last_began_) + kEnough;
      if (enough && !recorded("param_set")) world_.violate("a set was not obeyed: " + request);
    }
  }

  void check_end() {
    Ledger ledger(folder_ + "/state");
    std::string state = ledger.one("SELECT state FROM run");
    if (code_ == 70) world_.violate("a fault of choline: " + last_words_);
    // It may have ended in a process that died before it could say so.
    bool told_later = result_.whole && code_ == 8;
    if (state == "done" && told_later) code_ = 0;
    if (state == "failed" && told_later) code_ = 1;
    stopped_ = state == "stopped" && was_asked("stop");
    if (state == "done") check_accepted(ledger, world_.now());
    if (state != "done" && state != "failed" && !stopped_) {
      world_.violate("the run ended as '" + state + "' with exit " + std::to_string(code_) + ": " +
                     last_words_);
    }
    world_.advance(world_.now() + world_.weather().flight + world_.weather().lag);
    if (second_may_hide()) reap();
    for (const auto& row : ledger.ask("SELECT tag, state FROM res WHERE state NOT IN "
                                      "('gone','void')")) {
      world_.violate("open in the ledger: " + row[0] + " is " + (row.size() > 1 ? row[1] : ""));
    }
    for (const auto& row : ledger.ask("SELECT DISTINCT what FROM sim_violation")) {
      world_.violate(row[0]);
    }
    for (const std::string& left : world_.alive()) {
      world_.violate("alive after the end: " + left);
    }
    check_account(ledger);
  }

  bool second_may_hide() const {
    const Weather& weather = world_.weather();
    return weather.doubled > 0 && (!weather.together || weather.failing > 0 || weather.partial > 0);
  }

  // What is made twice may be seen in lists one after the other; the second is for the reaper.
  void reap() {
    ProcessOptions wanted;
    wanted.state = folder_ + "/state";
    wanted.program =
        "local native = ...\n"
        "for _ = 1, 20 do native.instance.reap {} native.wait.sleep(10) end\n"
        "return 0";
    std::unique_ptr<Process> process = begin(wanted);
    watch(*process, kDay);
    if (process->exit_code() != 0) world_.violate("the reaper failed: " + process->output());
  }

  // The ledger closes when an end is proved, so it says more than the bill, never less.
  void check_account(Ledger& ledger) {
    if (clocks_ || world_.weather().doubled > 0) return;
    std::string spent = ledger.one(
        "SELECT coalesce(sum((gone_at - live_at) * usd_h / 3600), 0) FROM res WHERE live_at > 0");
    double ledger_usd = std::stod(spent);
    if (ledger_usd < world_.bill() - 1e-6 && !lost_unseen(ledger)) {
      world_.violate("the bill is " + std::to_string(world_.bill()) + ", the ledger has " + spent);
    }
  }

  // Instances that were ended without ever being adopted have no time of their own in the ledger.
  static bool lost_unseen(Ledger& ledger) {
    return ledger.one(
               "SELECT count(*) FROM res WHERE live_at IS NULL AND gone_at IS NOT NULL "
               "AND state = 'gone'") != "0";
  }

  // The finished run once more in a fresh process: the same steps, and nothing is done.
  void replay() {
    const std::string dump =
        "SELECT group_concat(key || state || coalesce(seq, '') || coalesce(result, '') || attempt) "
        "FROM (SELECT * FROM step ORDER BY key)";
    std::string before;
    {
      Ledger ledger(folder_ + "/state");
      before = ledger.one(dump);
      ledger.ask("UPDATE run SET state = 'running', finished = NULL, failure = NULL");
    }
    ProcessOptions wanted = options();
    wanted.suspended_at = wanted.jump_at = 0;
    world_.sealed = true;
    std::unique_ptr<Process> process = begin(wanted);
    watch(*process, kDay);
    note("replay", *process);
    ++result_.replays;
    bool same = (process->exit_code() == 0) == (code_ == 0);
    if (!process->exit_code() || !same) {
      world_.violate("a replay ended with " + std::to_string(process->exit_code().value_or(-1)) +
                     " instead of " + std::to_string(code_) + ": " + process->output());
    }
    process.reset();
    if (Ledger(folder_ + "/state").one(dump) != before) {
      world_.violate("a replay of the finished run changed its journal");
    }
  }

  std::string folder_;
  bool tell_;
  World world_;
  Dice asker_;
  std::optional<PowerVfs> power_;  // beyond all that is open on it
  Dice dice_;
  SeedResult result_;
  int crashes_ = 0;
  bool clocks_ = false, zombie_ = false;
  Json shape_;
  bool awake_ = false;
  bool ended_ = false, stopped_ = false;
  int code_ = 0;
  int asks_ = 0, asked_ = 0;  // left, and numbers of sets
  std::vector<Answered> accepted_;
  double last_began_ = 0;  // the last process
  std::string last_words_;
};

}  // namespace

SeedResult run_seed(uint64_t seed, const std::string& folder, bool tell) {
  Story story(seed, folder, tell);
  return story.go();
}

}  // namespace choline::sim
