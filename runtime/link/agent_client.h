// The side of choline in a talk with an agent: one method for each verb. Everything goes over one
// link; when it dies, each pending call ends with a `lost` error and alive() is false. Commands on
// the instance go on: open a new client and follow them by key.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "link/agent_channel.h"
#include "link/link.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

class AgentSession;

// Text for a shell, or a program and its arguments. Exactly one is given.
struct AgentCommand {
  std::string shell;
  std::vector<std::string> list;
};

Json to_json(const AgentCommand& command);

struct ExecRequest {
  AgentCommand command;
  std::string dir;  // relative: below the instance's home
  std::map<std::string, std::string> env;
  std::string input;
  double timeout = 0;                                           // seconds; 0: none
  size_t limit = size_t{1} << 20;                               // bytes kept of each stream
  std::function<void(int stream, std::string_view)> on_output;  // instead of keeping; no limit then
};

struct ExecResult {
  int code = 0;  // exit code, or 128 + signal
  int signal = 0;
  std::string out, err;
  bool out_cut = false, err_cut = false;  // more came than the limit allows
  bool timed_out = false;
  double seconds = 0;
};

// From the answer to exec or terminal, without the output.
Result<ExecResult> read_exec_result(const Json& answer);

struct StartRequest {
  std::string key;
  AgentCommand command;
  std::string dir;
  std::map<std::string, std::string> env;  // never written to a disk of the instance
  Json info;                               // for people: run, task, attempt; kept with the command
};

struct StartResult {
  bool already = false;  // the key was started before; nothing new runs
  int64_t pid = 0;
};

// How long the instance lives when it hears nothing more, and how long at all.
struct LeaseRequest {
  double lease = 0;              // seconds without a word until it ends itself; 0: any time
  double lifetime = 0;           // seconds in all; 0: any time
  double lived = 0;              // seconds of it that are over; counts when it is told first
  double grace = 10;             // seconds that commands have to end after SIGTERM
  bool keep = false;             // a command that runs counts as a word
  std::vector<std::string> end;  // what the agent runs to end the instance itself
};

enum class CommandState { running, finished, lost, unknown };

struct CommandStatus {
  CommandState state = CommandState::unknown;  // unknown: never started here
  int code = 0;
  int signal = 0;
  bool oom = false;
  double started = 0;  // wall seconds, by the instance's clock
  double seconds = 0;  // how long it ran, or has run
  uint64_t log_size = 0;
  std::string ending;  // "lease" or "lifetime": the instance was ending itself
};

struct CommandInfo {
  std::string key;
  CommandStatus status;
  Json info;
};

struct AgentFacts {
  std::string home, os, arch, kernel, hostname, user, agent;
  std::string root;   // the true path of the instance's home
  bool jail = false;  // absolute paths are below root
  int cpus = 0;
  int64_t memory = 0, disk = 0;  // bytes; disk is what is free
  struct Gpu {
    std::string name, driver;
    int64_t memory = 0;
  };
  std::vector<Gpu> gpus;
};
Json to_json(const AgentFacts& facts);

struct ClientOptions {
  double ping_every = 4;  // seconds
  int missed_pings = 3;   // so many silent intervals and the link is dead
  double hello_timeout = 20;
};

class AgentClient {
 public:
  // Greets the agent at the far end of `link` (see bootstrap.h for how it gets there).
  static Co<Result<std::unique_ptr<AgentClient>>> open(Loop& loop, std::unique_ptr<Link> link,
                                                       ClientOptions options = {});
  explicit AgentClient(std::shared_ptr<AgentSession> session);
  AgentClient(const AgentClient&) = delete;
  AgentClient& operator=(const AgentClient&) = delete;
  ~AgentClient();  // closes the link; calls in flight end with `lost`

  bool alive() const;
  // Why not alive; kind `lost`.
  Error death() const;
  // Called once, from the loop, when the link dies; not by close or destruction.
  void on_death(std::function<void(Error)> fn);
  void close();
  // What the agent said of itself: agent, digest, protocol, tag, boot, pid.
  const Json& hello() const;

  // Destroying a Co cancels its call, at the far side too.
  Co<Result<AgentFacts>> facts();
  Co<Result<ExecResult>> exec(ExecRequest request);
  Co<Result<StartResult>> start(StartRequest request);
  Co<Result<CommandStatus>> status(std::string key);
  // Gives the log from `offset` on, as it grows, and ends with the command. `on_bytes` gets the
  // bytes and the offset of the first of them.
  Co<Result<CommandStatus>> follow(std::string key, uint64_t offset,
                                   std::function<void(std::string_view, uint64_t)> on_bytes);
  // To the whole process group; KILL also to descendants that left it. not_found: it does not run.
  Co<Status> signal(std::string key, int number);
  Co<Result<std::vector<CommandInfo>>> list();
  // Forgets a command that no longer runs, its log included.
  Co<Status> remove(std::string key);
  // Seconds that the instance has left now; nothing when they are not limited. An error of kind
  // lost with a field `ending` when it has begun to end itself.
  Co<Result<std::optional<double>>> renew(LeaseRequest request);
  // Any verb that is one request and one answer.
  Co<Result<Json>> call(std::string verb, Json args);
  // Where `path`, as a caller means it, lies for a program over there: relative and "~/x" below the
  // instance's home, absolute below it too when the instance is a jail.
  std::string true_path(const std::string& path) const;
  // A channel of its own, for services such as "files". `window`: bytes the agent may have under
  // way.
  Result<std::unique_ptr<AgentChannel>> open_channel(std::string verb, Json args,
                                                     uint32_t window = 0);

 private:
  std::shared_ptr<AgentSession> session_;  // shared with channels, which may outlive the client
};

}  // namespace choline
