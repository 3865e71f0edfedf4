// The providers of this version, by name.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/ssh_ways.h"
#include "loop/loop.h"
#include "provider/contract.h"

namespace choline {

class Providers {
 public:
  // `state` is choline's state folder: the local provider keeps its instances and books there.
  // `config` has its own ssh key and credentials, and `program` is choline itself; without them
  // there is no such key and no password for the ssh program.
  Providers(Loop& loop, const std::string& state, const std::string& config = "",
            const std::string& program = "");

  // How this process gets to hosts.
  Ssh& ssh() { return ssh_; }

  std::vector<std::string> names() const;
  // A not_found error names the nearest one.
  Result<Provider*> find(const std::string& name);
  // Replaces or adds one; for tests and for providers that come with a later version.
  void add(std::unique_ptr<Provider> provider);

 private:
  Ssh ssh_;  // of providers, so that it ends after them
  std::map<std::string, std::unique_ptr<Provider>> providers_;
};

}  // namespace choline
