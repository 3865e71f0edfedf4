// The providers of this version, by name.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/ssh_ways.h"
#include "loop/loop.h"
#include "provider/contract.h"

namespace choline {

// What providers need of the process that they are in.
struct ProviderWorld {
  std::string state;    // choline's state folder: each keeps what it must remember below it
  std::string config;   // has choline's own ssh key and credentials; empty: there are none
  std::string program;  // choline itself; empty: the ssh program gets no passwords
  // The value of a secret by its name; kind auth when it is not set.
  std::function<Result<std::string>(const std::string& name)> secret;
  // Who may log in to what is launched, in authorized_keys form.
  std::function<Result<std::string>()> public_key;
};

class Providers {
 public:
  // Those that need no account, where nothing is known but a state folder.
  Providers(Loop& loop, const std::string& state);
  Providers(Loop& loop, const ProviderWorld& world);

  // How this process gets to hosts.
  Ssh& ssh() { return ssh_; }

  std::vector<std::string> names() const;
  // A not_found error names the nearest one.
  Result<Provider*> find(const std::string& name);
  // Replaces or adds one; for tests and for providers that come with a later version.
  void add(std::unique_ptr<Provider> provider);

 private:
  void add_those_without_account(Loop& loop, const std::string& state);

  Ssh ssh_;  // of providers, so that it ends after them
  std::map<std::string, std::unique_ptr<Provider>> providers_;
};

}  // namespace choline
