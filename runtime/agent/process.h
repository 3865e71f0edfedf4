// Processes as the agent starts, names and ends them.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace choline {

// A process beyond doubt: a pid may be used again, but not with the same start and boot.
struct ProcessName {
  pid_t pid = 0;
  uint64_t ticks = 0;  // field 22 of /proc/PID/stat
};
std::optional<ProcessName> name_process(pid_t pid);  // nothing when there is none, or a zombie
bool is_alive(const ProcessName& process);
std::string boot_id();

// How many processes the kernel has killed for want of memory: in our control group where it counts
// them, else on the whole machine.
struct OomCount {
  uint64_t kills = 0;
  bool ours = false;  // of our own control group
};
OomCount oom_count();

// `number` to the process group of `leader`; to all descendants of `root`, not to it.
void kill_group(pid_t leader, int number);
void kill_tree(pid_t root, int number);
// To every process of the session that `leader` began; how many there are. 0 only counts them.
int kill_session(pid_t leader, int number);
std::vector<ProcessName> descendants(pid_t root);
// SIGKILL to every other process that was started with `entry` ("NAME=value") in its environment;
// how many there were.
int kill_marked(const std::string& entry);
bool is_marked(pid_t pid, const std::string& entry);

struct Place {
  std::string root;  // the instance's home
  std::string tag;
  bool jail = false;  // absolute paths are below root
};
// The true path of what a caller means: relative and "~/x" below the root, absolute as `jail` says.
std::string true_path(const Place& place, std::string_view path);

// What to run, ready for exec.
struct Program {
  std::vector<std::string> argv;
  std::vector<std::string> env;  // "NAME=value"
  std::string dir;
  std::string file;  // what is executed; empty: argv[0], looked for in PATH
};
// From {command = {shell}, {list} or {login = true}, dir, env}; every part is checked.
Result<Program> read_program(const Json& request, const Place& place);

// In a fork: sets signals, session, death with the parent `parent`, descriptors, folder and
// environment, and executes. On failure says so on fd 2 and exits with 126 or 127.
struct ExecFds {
  int in = -1, out = -1, err = -1;  // -1: /dev/null
};
[[noreturn]] void execute(const Program& program, pid_t parent, const ExecFds& fds);

// The same from when the descriptors, the session and the group are set.
[[noreturn]] void execute_here(const Program& program);

// The signal that a note {"signal": number} asks for; 0 when it asks for none that there is.
int signal_of(const Json& note);

// Becomes this program anew, in a fork. Returns where that cannot be: without /proc, under an
// emulator, or when its file has been removed; the caller then goes on as it is.
void execute_self(std::vector<const char*> words);

// As many descriptors as the system allows this process; what it starts gets the old limit again.
void raise_file_limit();
// In a fork: undoes what the Reactor and raise_file_limit set; closes all from `first` on.
void restore_defaults();
void close_from(int first);

struct Pipe {
  UniqueFd read, write;
};
Result<Pipe> make_pipe();  // close-on-exec

int exit_code(int wait_status);  // 128 + signal when killed
int exit_signal(int wait_status);

}  // namespace choline
