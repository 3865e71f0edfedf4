// One connection to a local port, carried to a port or socket on the other side of a link.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "link/agent_client.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

struct RelayTarget {
  std::string host;  // as the instance knows it
  int port = 0;
  std::string socket;  // a Unix socket in place of host and port
};
std::string to_text(const RelayTarget& target);

// Until both directions have ended, each by itself. When one fails, the connection here is reset,
// so that nobody takes half an answer for a whole one; `began` in the error's fields says that
// bytes had come.
Co<Status> relay(Loop& loop, std::shared_ptr<AgentClient> agent, UniqueFd near, RelayTarget target);

}  // namespace choline
