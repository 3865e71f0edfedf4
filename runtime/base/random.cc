#include "base/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

namespace choline {

std::string random_bytes(size_t count) {
  std::string out(count, '\0');
  size_t filled = 0;
  while (filled < count) {
    ssize_t got = getrandom(out.data() + filled, count - filled, 0);
    if (got > 0) {
      filled += static_cast<size_t>(got);
    } else if (errno != EINTR) {
      // A kernel without getrandom is none that choline runs on: going on with weak ids is worse.
      throw std::system_error(errno, std::generic_category(), "getrandom");
    }
  }
  return out;
}

uint64_t random_u64() {
  uint64_t value = 0;
  std::string bytes = random_bytes(sizeof value);
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::string random_id(size_t length) {
  constexpr std::string_view kLetters = "0123456789abcdefghjkmnpqrstvwxyz";
  std::string out = random_bytes(length);
  for (size_t at = 0; at < out.size(); ++at) {
    size_t value = static_cast<unsigned char>(out[at]) & 31;
    if (at == 0 && value < 10) value += 10;
    out[at] = kLetters[value];
  }
  return out;
}

}  // namespace choline
