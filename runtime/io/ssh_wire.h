// The way ssh writes numbers and texts into its messages and files (RFC 4251, 5).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace choline {

inline std::string wire_number(size_t value) {
  std::string out(4, '\0');
  for (size_t i = 0; i < 4; ++i) out[i] = static_cast<char>(value >> (24 - 8 * i) & 0xff);
  return out;
}

inline std::string wire_text(std::string_view text) {
  return wire_number(text.size()) + std::string(text);
}

// Past the end it reads zeros and empty texts, and is no longer good.
class SshReader {
 public:
  explicit SshReader(std::string_view bytes) : rest_(bytes) {}
  size_t byte() {
    if (rest_.empty()) return fail();
    size_t value = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  size_t number() {
    if (rest_.size() < 4) return fail();
    size_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | byte();
    return value;
  }
  std::string text() {
    size_t length = number();
    if (length > rest_.size()) length = fail();
    std::string text(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return text;
  }
  bool good() const { return good_; }

 private:
  size_t fail() {
    good_ = false;
    rest_ = {};
    return 0;
  }
  std::string_view rest_;  // what is read stays the caller's
  bool good_ = true;
};

}  // namespace choline
