// The providers of this version, by name.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loop/loop.h"
#include "provider/contract.h"

namespace choline {

class Providers {
 public:
  // `state` is choline's state folder: the local provider keeps its instances and books there.
  Providers(Loop& loop, std::string state);

  std::vector<std::string> names() const;
  // A not_found error names the nearest one.
  Result<Provider*> find(const std::string& name);
  // Replaces or adds one; for tests and for providers that come with a later version.
  void add(std::unique_ptr<Provider> provider);

 private:
  std::map<std::string, std::unique_ptr<Provider>> providers_;
};

}  // namespace choline
