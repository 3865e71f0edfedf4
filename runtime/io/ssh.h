// The user's own ssh program as a way to a shell on a host: its configuration, keys, agent and jump
// hosts are the user's.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

struct SshTarget {
  std::string host;  // a name, an address, or an alias of ~/.ssh/config
  std::string user;  // empty: as the configuration says
  int port = 0;      // 0: likewise
  std::string key;   // file of a private key; empty: those of the configuration and the agent
  std::string jump;  // "[user@]host[:port],…"; empty: as the configuration says
};
Json to_json(const SshTarget& target);
SshTarget ssh_target_from_json(const Json& value);
// "[user@]host[:port]", with an IPv6 address in brackets. Kind invalid for anything that could be
// read as an option or is no host.
Result<SshTarget> parse_ssh_target(const std::string& text);
std::string to_text(const SshTarget& target);  // the same form

// The program and its words for `command` on the target. Never asks; takes the key of a host that
// it meets for the first time and refuses one that changed; forwards nothing. New host keys go to
// the file `known_hosts`, the user's own are believed too.
std::vector<std::string> ssh_words(const SshTarget& target, const std::string& known_hosts,
                                   const std::string& command);
// What of our environment the program needs.
std::vector<std::pair<std::string, std::string>> ssh_environment();

// What the program's complaints mean: kind `auth` for a refused login, `refused` for a host that is
// not the one it was, `transient` for anything that may pass.
Error ssh_error(const SshTarget& target, std::string_view complaint);

// Runs a script by /bin/sh on the target, and gives what it printed. An error when ssh failed, when
// the script did not end with 0, or after `timeout` seconds.
Co<Result<std::string>> run_over_ssh(Loop& loop, SshTarget target, std::string known_hosts,
                                     std::string script, double timeout);

}  // namespace choline
