// How this process gets to hosts by ssh: a login by libssh2, or the user's ssh program where
// libssh2 cannot; decided here, once for each host, with a reason for people.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "io/secret_source.h"
#include "io/ssh.h"
#include "io/ssh2_stream.h"
#include "io/ssh_config.h"
#include "io/ssh_hosts.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

struct SshOptions {
  std::string folder;   // has the keys of hosts met
  std::string config;   // choline's configuration: its own key, and where secrets are; empty: none
  std::string askpass;  // choline itself, which hands passwords to the ssh program; empty: none
};

class Ssh {
 public:
  Ssh(Loop& loop, SshOptions options);
  Ssh(const Ssh&) = delete;
  Ssh& operator=(const Ssh&) = delete;
  ~Ssh();

  // The ssh program and its words for `command` on the target, whatever way is taken otherwise; an
  // error says why it cannot be used, and another stream must go by open().
  struct Program {
    std::vector<std::string> argv;
    std::vector<std::pair<std::string, std::string>> env;  // what of our environment it needs
  };
  Result<Program> program(const SshTarget& target, const std::string& command);

  // Where another computer finds the host, and the keys by which it knows it: those that this one
  // goes by. An error says why there is no such way.
  struct Address {
    std::string host, user;
    int port = 0;
    std::vector<std::string> keys;  // "ssh-ed25519 AAAA…"
  };
  Co<Result<Address>> address(SshTarget target);

  // The command's stdin and stdout: a stream, or the program that will be one.
  struct Way {
    std::unique_ptr<Ssh2Stream> stream;
    Program program;  // where there is no stream
  };
  Co<Result<Way>> open(SshTarget target, std::string command);
  // A stream whose command has ended may carry the next one.
  void give_back(const SshTarget& target, std::unique_ptr<Ssh2Stream> stream);

  // Runs a script by /bin/sh on the target, and gives what it printed. An error when ssh failed,
  // when the script did not end with 0, or after `timeout` seconds.
  Co<Result<std::string>> run(SshTarget target, std::string script, double timeout);

  // What the ssh program's complaint means, with what libssh2 said before it.
  Error explain(const SshTarget& target, std::string_view complaint) const;
  // "libssh2", or "openssh: its host key is an RSA key"; empty while nothing is known.
  std::string way_to(const SshTarget& target) const;

 private:
  struct Choice {
    bool by_program = false;
    std::string reason;
    std::optional<Error> failed;  // what libssh2 met
  };
  struct Idle {
    std::unique_ptr<Ssh2Stream> stream;
    double since = 0;  // ticks
  };
  struct Plan {
    Ssh2Login login;
    std::string obstacle;  // why libssh2 cannot; empty: it can
  };

  // What the configuration makes of a target, as far as keys of hosts go.
  struct Known {
    SshTarget place;
    std::vector<std::string> files;
  };
  Known known(const SshTarget& target) const;
  std::vector<std::string> known_files(const std::vector<std::string>& configured) const;
  Co<Result<Plan>> make_plan(SshTarget target);
  Co<Status> find_keys(const SshTarget& target, const SshConfigured& said, Plan& plan);
  Co<std::unique_ptr<Ssh2Stream>> reuse(const SshTarget& target, const std::string& command);
  Co<Result<Way>> open_by_libssh2(SshTarget target, std::string command);
  Result<Way> open_by_program(const SshTarget& target, const std::string& command);
  Co<Result<std::string>> run_now(SshTarget target, std::string script);
  void choose(const SshTarget& target, Choice choice);
  Result<std::string> password_file(const std::string& secret);
  void expire();

  Loop& loop_;
  SshOptions options_;
  SshConfig configuration_;
  SecretSource secrets_;
  std::map<std::string, Choice> choices_;          // by target
  std::map<std::string, Known> known_;             // by target
  std::map<std::string, std::vector<Idle>> idle_;  // by target
  std::map<std::string, UniqueFd> passwords_;      // in memory, by secret
  TimerId expiry_ = 0;
};

}  // namespace choline
