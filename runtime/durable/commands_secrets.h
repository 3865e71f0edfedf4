// Secrets of commands are kept out of the logs that come back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace choline {

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
