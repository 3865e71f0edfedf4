// One process of choline in a simulation: the real loop's contract on virtual time, the real store,
// engine, border and Lua, over the simulated world. Ends by itself or crashes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "loop/co.h"
#include "lua/host.h"
#include "native/services.h"
#include "sim/cloud.h"

namespace choline::sim {

// What another process asks of the one that owns the run, over its real socket.
struct Ask {
  double at = 0;  // seconds after its start
  std::string verb;
  Json args;
  bool dies = false;  // the owner, as soon as the answer was heard
};

struct Answered {
  Ask ask;
  double at = 0;  // of the world
  Json answer;
};

struct ProcessOptions {
  std::string state;    // the state folder
  std::string program;  // Lua text of the small kind; empty: the whole stdlib
  std::vector<std::string> argv;
  double skew = 0;          // of this machine's clock
  long crash_at_point = 0;  // dies at this crash point, from 1; 0: does not
  double crash_after = 0;   // dies so many seconds after its start; 0: does not
  double suspended_at = 0;  // sleeps for `suspended` seconds then
  double suspended = 0;
  double jump_at = 0, jump = 0;  // the clock is set by so much then
  std::vector<Ask> asks;
};

class Process {
 public:
  Process(World& world, ProcessOptions options);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  // Until it has ended, died, or `seconds` of virtual time have passed.
  void run_for(double seconds);
  // Time has passed without it: its machine was asleep, or the process alone stood still, which
  // nothing tells it.
  void wake(bool told);

  bool over() const { return exit_code_.has_value() || line_.dead; }
  bool died() const { return died_; }
  std::optional<int> exit_code() const { return exit_code_; }
  const std::string& output() const { return output_; }
  long points_passed() const { return points_; }
  double now() const { return line_.now(); }
  Services& services() { return *services_; }
  Line& line() { return line_; }
  bool lost_its_run() const { return lost_its_run_; }
  const std::vector<Answered>& answered() const { return answered_; }

  void die();
  void passed_point();

 private:
  void replace_natives();
  void exit_now(int code);
  void ask(const Ask& wanted);

  World& world_;
  ProcessOptions options_;
  SimLoop loop_;
  Line line_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<Host> host_;
  std::vector<Started> asking_;
  std::vector<Answered> answered_;
  std::optional<int> exit_code_;
  std::string output_;
  long points_ = 0;
  bool died_ = false;
  bool lost_its_run_ = false;
};

// To be called once, before any store is opened.
void prepare_process();
// Text of a file below the project's folder, kept.
const std::string& project_file(const std::string& path);

}  // namespace choline::sim
