// The keeper of one durable command: a process of its own that outlives agent and link, starts the
// command exactly once, and writes down how it ended.
#pragma once

#include <string>

namespace choline {

// `choline-agent hold FOLDER`: the program on fd 0 as JSON, what happened on fd 3.
int keep_command(const std::string& folder);

}  // namespace choline
