// Commands on instances: started once by key, followed through broken links, their logs brought
// here.
#pragma once

#include <string>

#include "durable/instances.h"
#include "durable/steps.h"

namespace choline {

// {shell = "…"} or {list = {"…"}}.
Result<AgentCommand> agent_command(const Json& command);

// fields: {key, task, attempt, command, dir, env, metrics}. Gives {key, already}.
Co<Result<Json>> start_command(Instances& instances, std::string tag, Json fields,
                               StepContext context);

// Brings the log here until the command ends: {code, signal, seconds, oom, metrics}. An error of
// kind preempted or lost when the instance went away.
Co<Result<Json>> wait_command(Instances& instances, std::string tag, std::string key,
                              StepContext context);

// A short command: {code, out, err}. options: {dir, env, input, timeout, interrupted}.
Co<Result<Json>> exec_command(Instances& instances, std::string tag, Json command, Json options,
                              StepContext context);

// `signal` is "TERM", "SIGTERM" or a number. A command that has ended is no error.
Co<Status> signal_command(Instances& instances, std::string tag, std::string key, Json signal);

}  // namespace choline
