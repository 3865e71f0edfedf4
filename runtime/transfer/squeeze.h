// Compression of what travels, by zstd: where both ends can, and where it makes a transfer faster.
// See docs/design/transfer.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "transfer/gauge.h"
#include "transfer/options.h"

namespace choline {

// This build has zstd.
bool can_squeeze();

// The sending half, for one thread.
class Squeezer {
 public:
  // `limit`: bytes a second that the transfer is held to, or 0.
  Squeezer(Packing packing, const LinkGauge& gauge, uint64_t limit);
  Squeezer(const Squeezer&) = delete;
  Squeezer& operator=(const Squeezer&) = delete;
  ~Squeezer();

  // The bytes as one frame of zstd, shorter than they are; empty when they go as they are, as it
  // would not pay or they do not shrink. Valid until the next call.
  std::string_view squeeze(std::string_view bytes);
  // Lists of files always shrink, and are small next to the files: whenever both ends can.
  std::string_view squeeze_list(std::string_view bytes);

 private:
  struct State;
  bool pays() const;
  int level() const;
  std::string_view run(std::string_view bytes, int level);

  Packing packing_;
  const LinkGauge& gauge_;
  double limit_;
  std::unique_ptr<State> state_;
  std::string out_;
  double share_ = 0;     // what is left of bytes, lately
  double speed_ = 0;     // bytes a second, lately
  unsigned passed_ = 0;  // since the last try
  unsigned pause_ = 0;   // so many go as they are before the next try
};

// The receiving half: exactly `length` bytes into `out`, which never grows beyond that. False for
// anything else, and where this build has no zstd.
bool unsqueeze(std::string_view squeezed, size_t length, std::string& out);

// A payload that says itself how it is packed: 0 and the bytes, or 1, their length, and a frame of
// zstd. This is what goes before; `squeezed` may be empty.
std::string wrapping(std::string_view bytes, std::string_view squeezed);
// At most `most` bytes; `what` is for the error.
Result<std::string> unwrap(std::string payload, size_t most, const char* what);

}  // namespace choline
