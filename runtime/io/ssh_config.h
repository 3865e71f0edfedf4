// What the user's ssh configuration says of a host, and what of it only the ssh program can do.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/ssh.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

struct SshConfigured {
  std::string host, user;  // empty: as given
  int port = 0;
  std::vector<std::string> key_files;    // empty: the usual ones
  std::vector<std::string> known_files;  // empty: the usual ones
  bool only_those = false;               // IdentitiesOnly
  bool jumps = false;                    // a jump host or a proxy leads there
  std::string beyond;  // a setting that only the ssh program follows: "proxycommand"; empty: none
};

class SshConfig {
 public:
  explicit SshConfig(Loop& loop) : loop_(loop) {}

  // Asks `ssh -G` only when a configuration file has something to say.
  Co<Result<SshConfigured>> look_up(SshTarget target);

 private:
  using Settings = std::multimap<std::string, std::string>;
  Co<Result<Settings>> ask(std::vector<std::string> words);

  Loop& loop_;
  std::optional<Settings> usual_;  // with no configuration at all
};

// Whether a file, or one that it includes, has settings beyond what makes no difference here.
bool ssh_config_matters(const std::string& path, int depth = 0);
// Words that make the ssh program read the configuration of $HOME where that is not the home that
// the system knows.
std::vector<std::string> ssh_config_words();
bool has_ssh_program();

}  // namespace choline
