// The user's agent of keys (ssh-agent): keys that log in without ever leaving it.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "io/ssh_hosts.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

// $SSH_AUTH_SOCK, or empty.
std::string key_agent_socket();
Co<Result<std::vector<SshKey>>> list_agent_keys(Loop& loop, std::string socket);
// The bare signature, without the name of its algorithm. Waits for people where the agent asks
// them.
Co<Result<std::string>> sign_by_agent(Loop& loop, std::string socket, SshKey key, std::string data);

}  // namespace choline
