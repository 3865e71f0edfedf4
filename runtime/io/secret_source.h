// Where the values of secrets come from, at the moment of use.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/secret.h"

namespace choline {

// Where a secret's value comes from: the environment variable of its name, else the line NAME=value
// in <config>/credentials, a file that only its owner may read.
class SecretSource {
 public:
  explicit SecretSource(std::string config) : config_(std::move(config)) {}

  // Registered with the process's redactor from then on. The error says where it was looked for.
  Result<std::string> resolve(const std::string& name);

  struct Environment {
    std::map<std::string, std::string> values;
    std::vector<std::string> secrets;  // the values that must not appear in logs
  };
  // {NAME = "text"} or {NAME = {secret = "NAME"}}.
  Result<Environment> environment(const Json& env);

 private:
  Result<std::string> from_file(const std::string& name) const;

  std::string config_;
  std::map<std::string, Redactor::Registration> registered_;  // by name and value's digest
};

}  // namespace choline
