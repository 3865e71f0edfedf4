// Secrets of commands: references until the moment of use, and kept out of the logs that come back.
#pragma once

#include <map>
#include <string>
#include <string_view>
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

// Overwrites secrets in a stream with stars of the same length, so that offsets stay those of the
// log at its origin. What may be the start of a secret is held back until more has come.
class Masker {
 public:
  explicit Masker(const std::vector<std::string>& secrets);
  std::string feed(std::string_view bytes);
  std::string finish();

 private:
  std::string cut(bool all);
  std::vector<std::string> forms_;
  std::string pending_;
  size_t starred_ = 0;  // leading bytes of pending_ that are part of a match
};

}  // namespace choline
