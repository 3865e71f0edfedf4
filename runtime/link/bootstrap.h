// Puts the agent on the far side of a link where nothing but /bin/sh reads the stream, and starts
// it.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "link/agent_program.h"
#include "link/link.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

struct BootstrapOptions {
  std::shared_ptr<const AgentPrograms> agents;  // shared: a hundred hosts may be greeted at once
  std::string tag;                              // of the instance
  std::string root;                             // empty: the far side's $HOME
  bool jail = false;                            // absolute paths are below root
  double timeout = 60;                          // seconds, sending included
};

// Gives the link back with the agent listening; `sent` says whether it had to be sent.
struct Bootstrapped {
  std::unique_ptr<Link> link;
  bool sent = false;
  std::string path;  // of the agent, over there
};
Co<Result<Bootstrapped>> bootstrap(Loop& loop, std::unique_ptr<Link> link,
                                   BootstrapOptions options);

}  // namespace choline
