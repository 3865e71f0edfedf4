// Lanes to an agent that lies behind a shell: that of a child process here, or of a host by ssh.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "transfer/lane.h"

namespace choline {

struct ShellRoute {
  std::vector<std::string> argv;  // a program that ends up as a shell reading from its stdin
  std::map<std::string, std::string> env;
  bool clean_env = false;
  std::string dir;
  std::string agent;  // path of the agent's program over there
};

LaneOpener shell_lanes(ShellRoute route);

}  // namespace choline
