// A link to a child process: /bin/sh for an instance here, or the user's ssh program.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "link/link.h"
#include "loop/loop.h"

namespace choline {

struct PipeLinkOptions {
  std::vector<std::string> argv;
  std::map<std::string, std::string> env;  // added to ours, or in place of it
  bool clean_env = false;                  // start from an empty environment
  std::string dir;
};

// What the child writes to stderr is kept (its end) for the message when it dies.
Result<std::unique_ptr<Link>> open_pipe_link(Loop& loop, PipeLinkOptions options);

}  // namespace choline
