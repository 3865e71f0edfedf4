// The processes of a local instance: found by the mark in their environment, and ended for good.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace choline {

// The variable that marks every process of a local instance; its value is the instance's tag.
inline constexpr std::string_view kInstanceVariable = "CHOLINE_INSTANCE";

// All processes with the mark, their descendants (which may have cleared their environment) and the
// sessions they lead. Never this process. Processes of other users are not seen.
std::vector<pid_t> local_processes(const std::string& tag);

// SIGKILL to all of them, looked up again until none is left or `patience` seconds have passed.
// Blocking. False when some are left (in an uninterruptible wait).
bool kill_local_processes(const std::string& tag, double patience);

}  // namespace choline
