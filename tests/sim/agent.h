// A simulated agent at the far end of a link: the real protocol, the world's commands. Links take
// time and die.
#pragma once

#include <memory>

#include "link/link.h"
#include "sim/cloud.h"

namespace choline::sim {

// A link to the agent of `server`, as its client holds it.
std::unique_ptr<Link> open_agent_link(Line& line, const std::string& server);

}  // namespace choline::sim
