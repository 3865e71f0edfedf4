// One seed: a run from its beginning to its end through crashes, suspends and whatever the world
// does, and everything that must hold then.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace choline::sim {

struct SeedResult {
  std::vector<std::string> violations;
  int processes = 0, crashes = 0, replays = 0, zombies = 0, instances = 0, answers = 0, pauses = 0,
      cuts = 0;
  bool whole = false;  // with the stdlib
  double seconds = 0;  // of virtual time
  std::string story;   // what each process said, when it is wanted
};

// `folder` is empty or absent, on a fast file system; it is emptied.
SeedResult run_seed(uint64_t seed, const std::string& folder, bool tell);

}  // namespace choline::sim
