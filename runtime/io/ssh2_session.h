// A login on a host by libssh2, in this process and on its loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "base/unique_fd.h"
#include "io/ssh_hosts.h"
#include "io/ssh_keys.h"
#include "loop/co.h"
#include "loop/loop.h"

typedef struct _LIBSSH2_SESSION LIBSSH2_SESSION;  // NOLINT: a name of libssh2

namespace choline {

struct Ssh2Login {
  SshTarget target;        // for messages
  std::string host, user;  // where to and as whom, all told
  int port = 0;
  HostPins pins;
  std::function<Status(const SshKey&)> remember;  // a host that is met for the first time
  std::string agent;                              // socket of an agent of keys; empty: none
  std::vector<SshKey> agent_keys;                 // tried in order
  std::vector<LoginKey> keys;                     // then these
  Secret password;                                // then this
  double patience = 15;                           // seconds for all of it
};

// Types of host keys that libssh2 can check, best first.
const std::vector<std::string>& ssh2_host_key_types();
// Can it log in with a key of this type?
bool ssh2_can_sign(const std::string& type);

// Ends the connection, without waiting, when it is destroyed.
struct Ssh2Session {
  Ssh2Session(UniqueFd socket, std::string host_name);
  Ssh2Session(const Ssh2Session&) = delete;
  Ssh2Session& operator=(const Ssh2Session&) = delete;
  ~Ssh2Session();

  // What libssh2 says of its last failure.
  std::string last_words() const;
  // Ready bits that a step which would block is waiting for.
  unsigned awaited() const;

  UniqueFd fd;
  LIBSSH2_SESSION* raw = nullptr;
  std::string host;  // for messages: "me@gpu1:22"
  std::string key;   // what let us in, for people
};

// Kinds of error: unsupported (it cannot talk with this host), auth (no login), refused (the host
// is another one), transient (not reached).
Co<Result<std::unique_ptr<Ssh2Session>>> open_ssh2(Loop& loop, Ssh2Login login);

// Repeats a step of libssh2 for as long as it would block; gives its code.
Co<int> drive_ssh2(Loop& loop, Ssh2Session& session, std::function<int()> step);

}  // namespace choline
