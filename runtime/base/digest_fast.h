// XXH3, 128 bits: tells file contents apart at memory speed. It does not withstand an attacker.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace choline {

class FastDigest {
 public:
  FastDigest();
  FastDigest(const FastDigest&) = delete;
  FastDigest& operator=(const FastDigest&) = delete;
  ~FastDigest();

  void update(std::string_view bytes);
  // 16 bytes in canonical (big-endian) order of everything so far; more may follow.
  std::string bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string fast_digest(std::string_view bytes);  // 16 bytes
uint64_t fast_hash64(std::string_view bytes);

}  // namespace choline
