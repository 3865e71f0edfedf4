// The user's own ssh program as a way to a shell on a host: its configuration, keys, agent and jump
// hosts are the user's.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace choline {

struct SshTarget {
  std::string host;       // a name, an address, or an alias of ~/.ssh/config
  std::string user;       // empty: as the configuration says
  int port = 0;           // 0: likewise
  std::string key;        // file of a private key; empty: those of the configuration and the agent
  std::string jump;       // "[user@]host[:port],…"; empty: as the configuration says
  std::string password;   // name of the secret that has it; empty: none is used
  std::string transport;  // "libssh2" or "openssh"; empty: what serves
  // The name under which its key is kept; empty: its own. Hosts that are made anew under an address
  // that others had before get one each.
  std::string known_as = {};
  std::vector<std::string> host_keys =
      {};  // "ssh-ed25519 AAAA…": as the provider says; none: unknown
};
Json to_json(const SshTarget& target);
SshTarget ssh_target_from_json(const Json& value);
// "[user@]host[:port]", with an IPv6 address in brackets. Kind invalid for anything that could be
// read as an option or is no host.
Result<SshTarget> parse_ssh_target(const std::string& text);
std::string to_text(const SshTarget& target);  // the same form

struct SshWording {
  std::vector<std::string> known_files;  // where keys of hosts are; the first gets new ones
  bool is_known = false;                 // the host must have one of these keys
  bool has_password = false;             // SSH_ASKPASS answers when the host asks
  std::string own_key;                   // tried after the user's; empty: none
};
// The program and its words for `command` on the target. Never asks; takes the key of a host that
// it meets for the first time and refuses one that changed; forwards nothing.
std::vector<std::string> ssh_words(const SshTarget& target, const SshWording& wording,
                                   const std::string& command);
// What of our environment the program needs.
std::vector<std::pair<std::string, std::string>> ssh_environment();

// What the program's complaint means.
enum class SshComplaint { host_changed, no_login, other };
SshComplaint ssh_complaint(std::string_view complaint);
// The fingerprint that a changed host showed, if the complaint tells it.
std::string shown_fingerprint(std::string_view complaint);
std::string last_line(std::string_view text);  // the last that says something

}  // namespace choline
