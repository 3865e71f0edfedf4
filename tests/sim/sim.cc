// The simulation of choline: seeds over workers, mutants, and one seed at a time for people.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "sim/model.h"
#include "sim/mutants.h"
#include "sim/process.h"
#include "sim/seed.h"

namespace choline::sim {

namespace {

namespace fs = std::filesystem;

constexpr const char* kUsage =
    "usage: sim [--from SEED] [--seeds COUNT] [--step N] [--workers N] [--record FOLDER]\n"
    "       sim --seed SEED [--mutant NAME]     one seed, told\n"
    "       sim --regress FOLDER                the seeds of its files\n"
    "       sim --model [--faults COUNT]        every history of one create step, and what it "
    "needs\n"
    "       sim --mutants [--seeds COUNT]       each guard taken away must be missed\n";

struct Options {
  uint64_t from = 1, seeds = 1000, step = 1, workers = 0;
  std::string record, regress, mutant;
  bool mutants = false, one = false, model = false;
  int faults = 3;
};

struct Totals {
  uint64_t seeds = 0, whole = 0, processes = 0, crashes = 0, replays = 0, zombies = 0,
           instances = 0, answers = 0, pauses = 0, cuts = 0;
  double seconds = 0;
  std::map<uint64_t, std::string> failures;

  void add(const SeedResult& result) {
    ++seeds;
    whole += result.whole ? 1 : 0;
    processes += static_cast<uint64_t>(result.processes);
    crashes += static_cast<uint64_t>(result.crashes);
    replays += static_cast<uint64_t>(result.replays);
    zombies += static_cast<uint64_t>(result.zombies);
    instances += static_cast<uint64_t>(result.instances);
    answers += static_cast<uint64_t>(result.answers);
    pauses += static_cast<uint64_t>(result.pauses);
    cuts += static_cast<uint64_t>(result.cuts);
    seconds += result.seconds;
  }
};

uint64_t current_seed = 0;
int report_fd = -1;

// A seed that never ends in real time has failed too; nothing but its number can be saved.
void on_alarm(int) {
  char text[64];
  int size = std::snprintf(text, sizeof text, "fail %lu hangs\n",
                           static_cast<unsigned long>(current_seed));
  if (write(report_fd, text, static_cast<size_t>(size)) < 0) _exit(4);
  _exit(3);
}

std::string folder_of(uint64_t worker) {
  std::string base = fs::exists("/dev/shm") ? "/dev/shm" : "/tmp";
  return base + "/cho-sim-" + std::to_string(getppid()) + "-" + std::to_string(worker);
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  return text.substr(0, 600);
}

void work(const std::vector<uint64_t>& seeds, uint64_t worker, uint64_t workers, bool first_only) {
  std::FILE* report = fdopen(report_fd, "w");
  std::string folder = folder_of(worker);
  if (!std::freopen("/dev/null", "w", stderr)) _exit(2);  // warnings of the world's faults
  signal(SIGALRM, on_alarm);
  prepare_process();
  Totals totals;
  for (size_t at = worker; at < seeds.size(); at += workers) {
    current_seed = seeds[at];
    alarm(120);
    SeedResult result;
    try {
      result = run_seed(current_seed, folder, false);
    } catch (const std::exception& fault) {
      result.violations.push_back(std::string("exception: ") + fault.what());
    }
    totals.add(result);
    if (result.violations.empty()) continue;
    std::fprintf(report, "fail %lu %s\n", static_cast<unsigned long>(current_seed),
                 one_line(result.violations[0]).c_str());
    std::fflush(report);
    if (first_only) break;
  }
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  std::fprintf(report, "total %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %f\n", totals.seeds,
               totals.whole, totals.processes, totals.crashes, totals.replays, totals.zombies,
               totals.instances, totals.answers, totals.pauses, totals.cuts, totals.seconds);
  std::fclose(report);
  _exit(0);
}

void take_line(const std::string& line, Totals& totals) {
  unsigned long seed = 0;
  int used = 0;
  if (std::sscanf(line.c_str(), "fail %lu %n", &seed, &used) == 1) {
    totals.failures[seed] = line.substr(static_cast<size_t>(used));
    return;
  }
  unsigned long n[10] = {};
  double seconds = 0;
  if (std::sscanf(line.c_str(), "total %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lf", &n[0], &n[1],
                  &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8], &n[9], &seconds) == 11) {
    totals.seeds += n[0];
    totals.whole += n[1];
    totals.processes += n[2];
    totals.crashes += n[3];
    totals.replays += n[4];
    totals.zombies += n[5];
    totals.instances += n[6];
    totals.answers += n[7];
    totals.pauses += n[8];
    totals.cuts += n[9];
    totals.seconds += seconds;
  }
}

Totals run_all(const std::vector<uint64_t>& seeds, uint64_t workers, bool first_only) {
  Totals totals;
  std::fflush(nullptr);
  int ends[2];
  if (pipe(ends) != 0) std::exit(2);
  std::map<pid_t, uint64_t> children;
  for (uint64_t worker = 0; worker < workers; ++worker) {
    pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      report_fd = ends[1];
      work(seeds, worker, workers, first_only);
    }
    children[child] = worker;
  }
  close(ends[1]);
  std::FILE* input = fdopen(ends[0], "r");
  char* line = nullptr;
  size_t size = 0;
  while (getline(&line, &size, input) > 0) take_line(line, totals);
  std::free(line);
  std::fclose(input);
  for (const auto& [child, worker] : children) {
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) {
      totals.failures.emplace(
          UINT64_MAX - worker,
          "worker " + std::to_string(worker) + " died with status " + std::to_string(status));
    }
  }
  return totals;
}

std::vector<uint64_t> range(const Options& options) {
  std::vector<uint64_t> seeds;
  for (uint64_t at = 0; at < options.seeds; ++at) seeds.push_back(options.from + at * options.step);
  return seeds;
}

int simulate(const Options& options, const std::vector<uint64_t>& seeds) {
  auto began = std::chrono::steady_clock::now();
  Totals totals = run_all(seeds, options.workers, false);
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  for (const auto& [seed, why] : totals.failures) {
    std::printf("seed %lu: %s\n", static_cast<unsigned long>(seed), why.c_str());
    if (options.record.empty()) continue;
    fs::create_directories(options.record);
    std::ofstream(options.record + "/seed-" + std::to_string(seed))
        << seed << "\n# " << one_line(why) << "\n";
  }
  std::printf(
      "%lu seeds (%lu with the stdlib) in %.1f s, %.0f a second: %lu processes, %lu crashes, "
      "%lu zombies, %lu instances, %lu replays, %lu requests answered, %lu pauses, %lu power cuts, "
      "%.0f virtual "
      "hours\n",
      totals.seeds, totals.whole, took.count(), static_cast<double>(totals.seeds) / took.count(),
      totals.processes, totals.crashes, totals.zombies, totals.instances, totals.replays,
      totals.answers, totals.pauses, totals.cuts, totals.seconds / 3600);
  uint64_t failed = totals.failures.size();
  std::printf("%lu passed, %lu failed\n", seeds.size() - std::min<size_t>(seeds.size(), failed),
              failed);
  return failed == 0 && totals.seeds == seeds.size() ? 0 : 1;
}

int kill_mutants(const Options& options) {
  uint64_t caught = 0, missed = 0;
  for (const Mutant& mutant : all_mutants()) {
    if (!options.mutant.empty() && options.mutant != mutant.name) continue;
    choose_mutant(mutant.name);
    Totals totals = run_all(range(options), options.workers, true);
    bool good = false;  // that it hangs says nothing
    for (const auto& [seed, why] : totals.failures) {
      good = good || (seed < UINT64_MAX - options.workers && !why.starts_with("hangs"));
    }
    ++(good ? caught : missed);
    std::printf("%-18s %s", mutant.name, good ? "caught" : "NOT CAUGHT");
    if (good) {
      const auto& [seed, why] = *totals.failures.begin();
      std::printf(" by seed %lu: %.100s", static_cast<unsigned long>(seed), why.c_str());
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  std::printf("%lu passed, %lu failed\n", caught, missed);
  return missed == 0 && caught > 0 ? 0 : 1;
}

struct ModelTrial {
  const char* mutant;
  double settle;
  bool safe;
  int share = 0;
};

constexpr int kShares = 4;  // of the histories in which nothing may be found

// The protocol as it is, with settle times that are too short, and with each of its guards taken
// away.
// What is to be found is looked for with few faults first.
ModelResult try_one(const Options& options, const ModelTrial& trial, const std::string& folder) {
  choose_mutant(trial.mutant);
  ModelOptions wanted;
  wanted.settle = trial.settle;
  wanted.first_only = !trial.safe;
  wanted.share = trial.share;
  wanted.shares = trial.safe ? kShares : 1;
  wanted.folder = folder;
  ModelResult result;
  for (wanted.faults = trial.safe ? options.faults : 1; wanted.faults <= options.faults;
       ++wanted.faults) {
    ModelResult found = explore(wanted);
    result.histories += found.histories;
    result.processes += found.processes;
    result.violating = found.violating;
    result.first = found.first;
    if (found.violating > 0) break;
  }
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  return result;
}

// In a process of its own; true when it came out as it must.
pid_t begin_trial(const Options& options, const ModelTrial& trial, uint64_t number) {
  std::fflush(nullptr);
  pid_t child = fork();
  if (child != 0) return child;
  if (!std::freopen("/dev/null", "w", stderr)) _exit(2);  // warnings of the faults
  ModelResult result = try_one(options, trial, folder_of(100 + number));
  bool good = (result.violating == 0) == trial.safe;
  std::printf("%-14s settle %2.0f: %s, %lu histories of %lu processes %s\n",
              *trial.mutant ? trial.mutant : "as it is", trial.settle, good ? "right" : "WRONG",
              result.histories, result.processes, result.first.c_str());
  std::fflush(stdout);
  _exit(good ? 0 : 1);
}

int try_model(const Options& options) {
  constexpr double kSettle = 9;  // more than flight and lag together
  std::vector<ModelTrial> trials;
  for (int share = 0; share < kShares; ++share) trials.push_back({"", kSettle, true, share});
  for (double settle : {0.0, 2.0, 4.0, 6.0, 7.0}) trials.push_back({"", settle, false});
  for (const char* name : {"blind-resume", "list-once", "short-settle", "no-adoption",
                           "keep-surplus", "partial-list", "void-apart", "retry-doubt"}) {
    trials.push_back({name, kSettle, false});
  }
  uint64_t passed = 0, failed = 0, alive = 0;
  auto wait_for_one = [&] {
    int status = 0;
    if (wait(&status) < 0) std::exit(2);
    ++(status == 0 ? passed : failed);
    --alive;
  };
  for (size_t number = 0; number < trials.size(); ++number) {
    if (alive == options.workers) wait_for_one();
    if (begin_trial(options, trials[number], number) < 0) std::exit(2);
    ++alive;
  }
  while (alive > 0) wait_for_one();
  std::printf("%lu passed, %lu failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

int tell_one(const Options& options) {
  prepare_process();
  std::string folder = folder_of(99);
  SeedResult result = run_seed(options.from, folder, true);
  std::printf("%s", result.story.c_str());
  for (const std::string& violation : result.violations) std::printf("! %s\n", violation.c_str());
  std::printf("state: %s\n", folder.c_str());
  return result.violations.empty() ? 0 : 1;
}

int regress(const Options& options) {
  std::vector<uint64_t> seeds;
  for (const fs::directory_entry& entry : fs::directory_iterator(options.regress)) {
    if (!entry.path().filename().string().starts_with("seed-")) continue;
    uint64_t seed = 0;
    if (std::ifstream(entry.path()) >> seed) seeds.push_back(seed);
  }
  if (!seeds.empty()) return simulate(options, seeds);
  std::printf("no seeds are kept in %s\n", options.regress.c_str());
  return 1;
}

Options read(int argc, char** argv) {
  Options options;
  options.workers = static_cast<uint64_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  for (int at = 1; at < argc; ++at) {
    std::string word = argv[at];
    auto value = [&]() -> std::string { return at + 1 < argc ? argv[++at] : ""; };
    auto number = [&] { return std::strtoull(value().c_str(), nullptr, 10); };
    if (word == "--from")
      options.from = number();
    else if (word == "--seeds")
      options.seeds = number();
    else if (word == "--step")
      options.step = number();
    else if (word == "--workers")
      options.workers = number();
    else if (word == "--record")
      options.record = value();
    else if (word == "--regress")
      options.regress = value();
    else if (word == "--mutant")
      options.mutant = value();
    else if (word == "--model")
      options.model = true;
    else if (word == "--faults")
      options.faults = static_cast<int>(number());
    else if (word == "--mutants")
      options.mutants = true;
    else if (word == "--seed") {
      options.from = number();
      options.one = true;
    } else {
      std::fputs(kUsage, word == "--help" ? stdout : stderr);
      std::exit(word == "--help" ? 0 : 2);
    }
  }
  return options;
}

}  // namespace

}  // namespace choline::sim

int main(int argc, char** argv) {
  using namespace choline::sim;
  Options options = read(argc, argv);
  choose_mutant(options.mutant);
  if (options.one) return tell_one(options);
  if (options.model) return try_model(options);
  if (options.mutants) return kill_mutants(options);
  if (!options.regress.empty()) return regress(options);
  return simulate(options, range(options));
}
