// The agents that may be sent to instances, one for each architecture.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace choline {

struct AgentProgram {
  std::string arch;    // as `uname -m` says it
  std::string digest;  // SHA-256, in hex
  std::string bytes;
};
using AgentPrograms = std::vector<AgentProgram>;

// Reads the programs whose paths are given by architecture.
Result<std::shared_ptr<const AgentPrograms>> load_agents(
    const std::map<std::string, std::string>& paths);

}  // namespace choline
