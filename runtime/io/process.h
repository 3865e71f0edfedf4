// Child processes: started with nothing inherited but what is named, watched by the loop, and never
// left behind as zombies or orphans.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

enum class Stdio { null, pipe, inherit };

struct SpawnOptions {
  std::vector<std::string> argv;  // argv[0] is searched in PATH when it holds no '/'
  std::optional<std::map<std::string, std::string>> env;  // unset: ours
  std::map<std::string, std::string> extra_env;           // on top of it
  std::string folder;                                     // empty: ours
  Stdio in = Stdio::null;
  Stdio out = Stdio::pipe;
  Stdio err = Stdio::pipe;
  // Descriptors to use instead, when not negative; they stay the caller's.
  int in_fd = -1, out_fd = -1, err_fd = -1;
  bool err_to_out = false;
  // A session of its own that outlives us. Otherwise the child leads its own process group and
  // dies by SIGKILL when the thread that started it dies.
  bool detached = false;
};

struct Spawned {
  pid_t pid = 0;
  UniqueFd in, out, err;  // our ends of the pipes, non-blocking
};

// An error names what failed: the program, the folder or the system call.
Result<Spawned> spawn(const SpawnOptions& options);

// A child that the loop watches. Destroying it before its end sends TERM to its process group, KILL
// after `grace` seconds, and reaps it, all in the background. A detached one is left alone.
class Child {
 public:
  Child(Loop& loop, Spawned spawned, bool detached = false, double grace = 5);
  Child(Child&&) noexcept = default;
  Child& operator=(Child&&) = delete;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  pid_t pid() const;
  std::optional<ExitStatus> status() const;  // once it has ended
  // Called once, at its end; at once when it has ended already, by a post. Null: nobody.
  void on_end(std::function<void()> fn);
  // To the whole group. False when it had ended.
  bool signal(int number);
  Co<ExitStatus> wait();

  UniqueFd in, out, err;

 private:
  struct State;
  Loop& loop_;
  std::shared_ptr<State> state_;  // shared with the loop, which reaps after we are gone
};

struct RunOptions {
  SpawnOptions spawn;
  std::string input;              // written to its stdin, which is then closed
  double timeout = 0;             // seconds; 0: none
  double grace = 5;               // between TERM and KILL after that
  size_t output_limit = 1 << 20;  // of each stream; the end of it is kept
  // Sees everything as it comes: 1 is stdout, 2 stderr.
  std::function<void(int, std::string_view)> on_output;
};

struct RunResult {
  ExitStatus status;
  std::string out, err;
  bool out_cut = false, err_cut = false;  // the beginning is missing
  bool timed_out = false;
};

// Runs a program to its end. What it wrote before it ended is read in full; a grandchild that keeps
// its pipes open is not waited for. Destroying the Co stops the program as ~Child does.
Co<Result<RunResult>> run_process(Loop& loop, RunOptions options);

}  // namespace choline
