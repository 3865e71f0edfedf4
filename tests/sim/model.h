// Every interleaving of one create step with at most so many faults: requests lost on the way there
// or back or arriving late, instances made twice, lists that lag, fail or are incomplete, refusals,
// and crashes at each crash point. The engine, the store and the renting are the real ones; only
// the provider and the clock are made. See docs/design/proof.md.
#pragma once

#include <cstdint>
#include <string>

namespace choline::sim {

struct ModelOptions {
  double settle = 9;  // seconds that the provider declares; flight and lag are 4 each
  int faults = 3;     // at most so many in one history
  bool first_only = false;
  int share = 0, shares = 1;  // of the histories with a fault
  std::string folder;         // on a fast file system; it is emptied
};

struct ModelResult {
  uint64_t histories = 0, processes = 0, violating = 0;
  std::string first;  // the first violation and the history that led to it
};

ModelResult explore(const ModelOptions& options);

}  // namespace choline::sim
