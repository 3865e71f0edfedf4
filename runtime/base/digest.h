// SHA-256: for what must hold against someone who wants to deceive (programs, recipes, stored
// texts). Comparing file contents goes by digest_fast.h.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace choline {

class Sha256 {
 public:
  Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  ~Sha256();

  void update(std::string_view bytes);
  // 64 hexadecimal digits of everything so far; call once.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::string_view bytes);

}  // namespace choline
