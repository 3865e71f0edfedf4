// What a person types for choline itself while a terminal far away has the keyboard: `~` at the
// start of a line, and a second key.
#pragma once

#include <string>
#include <string_view>

namespace choline {

class EscapeFilter {
 public:
  enum class Act { none, leave, suspend, help };

  // Takes keys up to the first one that asks for something: `rest` is then what follows it. What is
  // for the far side is appended to `out`.
  Act feed(std::string_view keys, std::string& out, std::string_view& rest);

 private:
  bool line_begins_ = true;
  bool tilde_ = false;  // held back until the next key
};

}  // namespace choline
