#include "base/digest_fast.h"

// Compiled in rather than linked: the agent is static and must stay small.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace choline {

namespace {
std::string canonical(XXH128_hash_t hash) {
  XXH128_canonical_t out;
  XXH128_canonicalFromHash(&out, hash);
  return std::string(reinterpret_cast<const char*>(out.digest), sizeof out.digest);
}
}  // namespace

struct FastDigest::State {
  XXH3_state_t xxh;
};

FastDigest::FastDigest() : state_(std::make_unique<State>()) {
  (void)XXH3_128bits_reset(&state_->xxh);  // fails for a null state only
}

FastDigest::~FastDigest() = default;

void FastDigest::update(std::string_view bytes) {
  (void)XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size());
}

std::string FastDigest::bytes() const {
  return canonical(XXH3_128bits_digest(&state_->xxh));
}

std::string fast_digest(std::string_view bytes) {
  return canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

uint64_t fast_hash64(std::string_view bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace choline
