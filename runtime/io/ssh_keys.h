// Private keys to log in with: choline's own, those of the user's files, and what each is good for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "io/ssh_hosts.h"

namespace choline {

// The user's home: $HOME, else as the system says.
std::string home_folder();
// "~/x" below it; anything else as it is.
std::string expand_home(const std::string& path);
// The name that a login has when nobody gives one.
std::string login_name();

// <config>/ssh/id_ed25519. Made when it is not there, once, whoever asks for it at the same time.
struct OwnSshKey {
  std::string path;
  std::string line;  // "ssh-ed25519 AAAA… choline@host", for authorized_keys
};
std::string own_ssh_key_path(const std::string& config);
Result<OwnSshKey> own_ssh_key(const std::string& config);

// One that lies nowhere, for a single login.
struct OneTimeSshKey {
  std::string line;    // "ssh-ed25519 AAAA…"
  std::string secret;  // the private half, as in a file; whoever has it wipes it
};
Result<OneTimeSshKey> one_time_ssh_key(const std::string& comment);

struct LoginKey {
  std::string path;
  SshKey key;              // type and blob; the blob is empty where only the private half tells it
  bool encrypted = false;  // only an agent of keys can use it
  Secret text;
};
// An error says why a file is no key that can be used. not_found: there is none.
Result<LoginKey> read_login_key(const std::string& path);

// What the ssh program tries when nobody says anything.
std::vector<std::string> usual_key_files();

}  // namespace choline
