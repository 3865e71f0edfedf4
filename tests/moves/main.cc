// choline_moves: random trees, random changes and random cuts, then a sync; the trees must be
// equal, or each difference told. See docs/design/proof.md. Ends with `N passed, N failed`.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <thread>

#include "base/mutant.h"
#include "base/unique_fd.h"
#include "moves/case.h"
#include "moves/oracle.h"

namespace choline {

namespace {
std::string chosen_mutant;
}  // namespace

bool mutant(const char* name) {
  return chosen_mutant == name;
}

namespace moves {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBatch = 12;     // cases of one kind shown to rsync at once
constexpr size_t kMostKept = 60;  // cases of all kinds whose trees wait for that

struct MutantOfTransfer {
  const char* name;
  const char* without;  // what it lacks, for people
};
constexpr MutantOfTransfer kMutants[] = {
    {"torn-file", "writing aside until a file is whole"},
    {"no-second-look", "looking again at a file that changed while it was read"},
    {"no-digest", "comparing contents when sizes are equal and times are not"},
    {"squeezed-as-it-is", "saying that bytes are compressed"},
    {"clear-ignored", "leaving alone what is ignored in a folder that must make way"},
};

struct Options {
  uint64_t from = 1, seeds = 1000;
  double seconds = 0;  // 0: until all seeds are done
  std::optional<uint64_t> one;
  bool keep = false, mutants = false;
  int workers = 0;
};

constexpr const char* kUsage =
    "usage: choline_moves [--from N] [--seeds N] [--seconds N] [--workers N] [--mutant NAME]\n"
    "       choline_moves --seed N [--keep] [--mutant NAME]     one case, told at length\n"
    "       choline_moves --mutants [--seeds N]                 each must be noticed\n";

// A memory file system when there is one with room, so that the disk is not what is measured.
fs::path make_scratch() {
  struct statvfs info {};
  bool roomy = statvfs("/dev/shm", &info) == 0 && info.f_bavail * info.f_frsize > (1ull << 30) &&
               access("/dev/shm", W_OK) == 0;
  const char* tmp = getenv("TMPDIR");
  std::string name = (roomy ? "/dev/shm"
                      : tmp ? tmp
                            : "/tmp") +
                     std::string("/choline-moves-XXXXXX");
  if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp failed in " + name);
  return name;
}

// Runs cases one after the other in a folder of its own, and shows their trees to rsync in batches.
class Worker {
 public:
  explicit Worker(fs::path folder) : folder_(std::move(folder)) {}

  // Nothing when all is well.
  using Report = std::function<void(uint64_t seed, const std::string& why)>;
  void run(uint64_t seed, const Report& report) {
    int kind = 0;
    std::string name = std::to_string(seed);
    Places places{scratch(seed, "from"), scratch(seed, "to"), scratch(seed, "outside")};
    for (const std::string& each : {places.from, places.outside}) fs::create_directories(each);
    try {
      Case one(seed, places);
      std::string why;
      try {
        one.run();
      } catch (const Wrong& wrong) {
        why = wrong.what();
      }
      story_ = one.story();
      syncs += static_cast<uint64_t>(one.syncs());
      struck += static_cast<uint64_t>(one.struck());
      if (!why.empty()) {
        report(seed, why);
        if (!keep) forget(seed);
        return;
      }
      kind = one.setting().kind();
      keep_for_rsync(kind, seed, one);
    } catch (const std::exception& error) {
      report(seed, std::string("the test itself failed: ") + error.what());
      return;
    }
    ++good_;
    if (batches_[kind].cases.size() >= kBatch) flush(kind, report);
    if (kept_ >= kMostKept) flush_all(report);
  }

  void flush_all(const Report& report) {
    for (auto& [kind, batch] : batches_) flush(kind, report);
  }

  uint64_t good() const { return good_; }
  const std::vector<std::string>& story() const { return story_; }
  uint64_t syncs = 0, struck = 0;
  bool keep = false;

 private:
  std::string scratch(uint64_t seed, const char* what) const {
    return folder_ / "cases" / std::to_string(seed) / what;
  }
  void forget(uint64_t seed) { fs::remove_all(folder_ / "cases" / std::to_string(seed)); }

  void keep_for_rsync(int kind, uint64_t seed, const Case& one) {
    Batch& batch = batches_[kind];
    batch.setting = one.setting();
    batch.from = folder_ / ("from-" + std::to_string(kind));
    batch.to = folder_ / ("to-" + std::to_string(kind));
    fs::create_directories(batch.from);
    fs::create_directories(batch.to);
    fs::rename(scratch(seed, "from"), fs::path(batch.from) / std::to_string(seed));
    fs::rename(scratch(seed, "to"), fs::path(batch.to) / std::to_string(seed));
    batch.cases.emplace(seed, one.told());
    ++kept_;
    forget(seed);
  }

  void flush(int, const Report& report, Batch& batch) {
    if (batch.cases.empty()) return;
    for (const auto& [seed, why] : ask_rsync(batch)) {
      --good_;
      report(seed, why);
    }
    kept_ -= batch.cases.size();
    batch.cases.clear();
    if (keep) return;
    fs::remove_all(batch.from);
    fs::remove_all(batch.to);
  }
  void flush(int kind, const Report& report) { flush(kind, report, batches_[kind]); }

  fs::path folder_;
  std::map<int, Batch> batches_;
  std::vector<std::string> story_;
  size_t kept_ = 0;
  uint64_t good_ = 0;
};

struct Totals {
  uint64_t good = 0, bad = 0, syncs = 0, struck = 0;
};

// Workers are processes, so that forking syncs from them is cheap and safe; each writes a line for
// what it finds to one pipe. With `until_bad`, all end with the first that is found.
Totals run_all(const Options& options, const fs::path& scratch, bool until_bad) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe failed");
  UniqueFd lines(ends[0]);
  auto began = std::chrono::steady_clock::now();
  auto over = [&] {
    std::chrono::duration<double> spent = std::chrono::steady_clock::now() - began;
    return options.seconds > 0 && spent.count() > options.seconds;
  };
  std::vector<pid_t> pids;
  auto workers = static_cast<uint64_t>(options.workers);
  for (uint64_t number = 0; number < workers; ++number) {
    pid_t pid = fork();
    if (pid != 0) {
      pids.push_back(pid);
      continue;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    Worker worker(scratch / std::to_string(number));
    auto report = [&](uint64_t seed, const std::string& why) {
      dprintf(ends[1], "seed %lu: %s\n", seed, why.substr(0, 400).c_str());
    };
    try {
      for (uint64_t at = number; at < options.seeds && !over(); at += workers) {
        worker.run(options.from + at, report);
      }
      worker.flush_all(report);
    } catch (const std::exception& error) {
      dprintf(ends[1], "seed 0: a worker failed: %s\n", error.what());
    }
    dprintf(ends[1], "total %lu %lu %lu\n", worker.good(), worker.syncs, worker.struck);
    _exit(0);
  }
  close(ends[1]);
  Totals totals;
  FILE* file = fdopen(lines.release(), "r");
  char* line = nullptr;
  size_t room = 0;
  while (getline(&line, &room, file) > 0) {
    uint64_t good = 0, syncs = 0, struck = 0;
    if (std::sscanf(line, "total %lu %lu %lu", &good, &syncs, &struck) == 3) {
      totals.good += good;
      totals.syncs += syncs;
      totals.struck += struck;
      continue;
    }
    if (std::strncmp(line, "seed ", 5) != 0) continue;  // the rest of a name with a line feed
    ++totals.bad;
    if (until_bad) break;
    std::printf("%s", line);
    std::fflush(stdout);
  }
  free(line);
  fclose(file);
  for (pid_t pid : pids) {
    if (until_bad) kill(pid, SIGKILL);
    int status = 0;
    waitpid(pid, &status, 0);
    if (!until_bad && status != 0) {
      std::printf("a worker ended with status %d\n", status);
      ++totals.bad;
    }
  }
  return totals;
}

int tell_one(const Options& options, const fs::path& scratch) {
  bool bad = false;
  Worker worker(scratch);
  worker.keep = options.keep;
  auto report = [&](uint64_t, const std::string& why) {
    bad = true;
    std::printf("WRONG: %s\n", why.c_str());
  };
  worker.run(*options.one, report);
  for (const std::string& line : worker.story()) std::printf("  %s\n", line.c_str());
  worker.flush_all(report);
  if (options.keep) std::printf("kept in %s\n", scratch.c_str());
  std::printf("%d passed, %d failed\n", bad ? 0 : 1, bad ? 1 : 0);
  return bad ? 1 : 0;
}

// A mutant that nobody misses is a hole in the test.
int kill_mutants(const Options& options, const fs::path& scratch) {
  int missed = 0, noticed = 0;
  for (const MutantOfTransfer& each : kMutants) {
    chosen_mutant = each.name;
    fs::path folder = scratch / each.name;
    bool found = run_all(options, folder, true).bad > 0;
    fs::remove_all(folder);
    std::printf("%s without %s (%s)\n", found ? "noticed:" : "MISSED:", each.without, each.name);
    std::fflush(stdout);
    ++(found ? noticed : missed);
  }
  std::printf("%d passed, %d failed\n", noticed, missed);
  return missed ? 1 : 0;
}

Options read_options(int count, char** words) {
  Options options;
  for (int at = 1; at < count; ++at) {
    std::string word = words[at];
    if (word == "--keep") {
      options.keep = true;
    } else if (word == "--mutants") {
      options.mutants = true;
    } else if (at + 1 < count && word == "--mutant") {
      chosen_mutant = words[++at];
    } else if (at + 1 < count && word == "--seconds") {
      options.seconds = std::atof(words[++at]);
    } else if (at + 1 < count &&
               (word == "--seed" || word == "--from" || word == "--seeds" || word == "--workers")) {
      uint64_t number = std::strtoull(words[++at], nullptr, 10);
      if (word == "--seed") options.one = number;
      if (word == "--from") options.from = number;
      if (word == "--seeds") options.seeds = number;
      if (word == "--workers") options.workers = static_cast<int>(number);
    } else {
      std::fprintf(stderr, "%s", kUsage);
      std::exit(2);
    }
  }
  // Many, as a sync of files that were just made waits for the clock to move on.
  if (options.workers <= 0) {
    options.workers = 4 * static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  }
  return options;
}

int try_all(const Options& options) {
  fs::path scratch = make_scratch();
  int code = 0;
  if (options.one) {
    code = tell_one(options, scratch);
  } else if (options.mutants) {
    code = kill_mutants(options, scratch);
  } else {
    Totals totals = run_all(options, scratch, false);
    std::printf("%lu syncs, of which %lu were broken off\n", totals.syncs, totals.struck);
    std::printf("%lu passed, %lu failed\n", totals.good, totals.bad);
    code = totals.bad || totals.good == 0 ? 1 : 0;
  }
  if (!options.keep) fs::remove_all(scratch);
  return code;
}

}  // namespace
}  // namespace moves
}  // namespace choline

int main(int count, char** words) {
  signal(SIGPIPE, SIG_IGN);
  try {
    return choline::moves::try_all(choline::moves::read_options(count, words));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "choline_moves: %s\n", error.what());
    return 1;
  }
}
