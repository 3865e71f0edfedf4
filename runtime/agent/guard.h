// Ends a session of processes when the agent can no longer do it: a small process beside it that
// hears of the agent's end, even one by SIGKILL, by the end of a pipe.
#pragma once

#include <sys/types.h>

#include "agent/reactor.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace choline {

class Guard {
 public:
  enum class Way {
    at_once,  // SIGKILL
    hang_up,  // SIGHUP and SIGCONT, as when a terminal goes away; what stays is killed
  };

  explicit Guard(Reactor& reactor) : reactor_(reactor) {}
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard();  // ends the session, unless it was released

  // `leader` is a child that begins a session of its own, or is just about to.
  Status start(pid_t leader, Way way);
  // The session has ended by itself; what it left running on purpose may stay.
  void release() { tell('x'); }
  void end() { tell('k'); }

 private:
  void tell(char word);

  Reactor& reactor_;
  UniqueFd leash_;
  pid_t pid_ = 0;  // 0: not started, or reaped
};

}  // namespace choline
