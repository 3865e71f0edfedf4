// A link to a shell on a host by ssh, whichever way leads there.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "io/ssh_ways.h"
#include "link/link.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

// What the command writes to stderr is kept (its end) for the message when it ends.
Co<Result<std::unique_ptr<Link>>> open_ssh_link(Loop& loop, Ssh& ssh, SshTarget target,
                                                std::string command);

}  // namespace choline
