// Chance that is the same for the same seed, on every machine.
#pragma once

#include <cstdint>
#include <string_view>

namespace choline::sim {

class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}

  uint64_t next() {  // splitmix64
    uint64_t mixed = (state_ += 0x9E3779B97F4A7C15);
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
  }
  double part() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // in [0,1)
  double between(double least, double most) { return least + (most - least) * part(); }
  int integer(int least, int most) {
    return least + static_cast<int>(next() % static_cast<uint64_t>(most - least + 1));
  }
  bool chance(double probability) { return part() < probability; }

 private:
  uint64_t state_;
};

// A seed of its own for whatever has this name under `seed`.
inline uint64_t derived(uint64_t seed, std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325 ^ seed;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return Dice(hash).next();
}

}  // namespace choline::sim
