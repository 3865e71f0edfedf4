// What a fuzzer gave, read from the front: small numbers and texts. Past its end all are 0 and "",
// so that each input means something.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "link/protocol.h"

namespace choline::fuzz {

class Tape {
 public:
  Tape(const uint8_t* bytes, size_t size) : rest_(reinterpret_cast<const char*>(bytes), size) {}
  bool done() const { return rest_.empty(); }
  uint8_t byte() {
    if (rest_.empty()) return 0;
    auto value = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    return value;
  }
  uint32_t number(int bytes) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | byte();
    return value;
  }
  // With its length before it, in one byte, or in two where `wide`.
  std::string text(bool wide = false) {
    size_t size = std::min<size_t>(number(wide ? 2 : 1), rest_.size());
    std::string value(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return value;
  }

 private:
  std::string_view rest_;  // of what libFuzzer keeps until the input has been tried
};

// A promise of ours was broken.
inline void require(bool holds) {
  if (!holds) std::abort();
}

// A frame as a liar writes one: often well-formed, seldom honest.
inline std::string make_frame(Tape& tape) {
  auto type = static_cast<WireType>(1 + tape.byte() % 12);
  uint32_t channel = tape.byte();
  if (channel == 255) channel = tape.number(4);
  std::string payload;
  if (type == WireType::credit && tape.byte() % 8 != 0) {
    append_u32(payload, tape.number(4));
  } else if (type == WireType::data && tape.byte() % 2 != 0) {
    payload.assign(tape.number(2), 'd');
  } else {
    payload = tape.text(true);
  }
  std::string frame;
  append_frame(frame, channel, type, payload);
  if (uint8_t lie = tape.byte(); lie >= 250) frame[lie % 4] = static_cast<char>(tape.byte());
  return frame;
}

inline std::string hello_frame() {
  std::string frame;
  append_frame(frame, 0, WireType::hello, R"({"protocol":1,"oldest":1})");
  return frame;
}

}  // namespace choline::fuzz
