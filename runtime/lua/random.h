// xoshiro256** (Blackman and Vigna, public domain algorithm), seeded by splitmix64 from the run's
// seed and the task's path: a replay draws the same numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace choline {

class TaskRandom {
 public:
  TaskRandom(uint64_t seed, std::string_view path) {
    for (char letter : path) {
      seed = (seed ^ static_cast<unsigned char>(letter)) * 0x100000001B3u;  // FNV-1a
    }
    for (uint64_t& word : state_) word = split_mix(seed);
  }

  uint64_t next() {
    uint64_t result = rotate(state_[1] * 5, 7) * 9;
    uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }

  // In [0, 1), all 53 bits of it.
  double number() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  // Uniform in [0, most].
  uint64_t up_to(uint64_t most) {
    if (most == UINT64_MAX) return next();
    uint64_t span = most + 1;
    uint64_t unfair = (UINT64_MAX - span + 1) % span;  // 2^64 mod span
    uint64_t drawn = next();
    while (drawn > UINT64_MAX - unfair) drawn = next();
    return drawn % span;
  }

 private:
  static uint64_t rotate(uint64_t word, int by) { return (word << by) | (word >> (64 - by)); }
  static uint64_t split_mix(uint64_t& seed) {
    uint64_t word = (seed += 0x9E3779B97F4A7C15u);
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
    return word ^ (word >> 31);
  }
  std::array<uint64_t, 4> state_;
};

}  // namespace choline
