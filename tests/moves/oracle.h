// What rsync says of finished cases: by contents, it must find nothing to do that was not told.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "moves/case.h"

namespace choline::moves {

// Cases of one kind of setting, whose trees lie side by side below `from` and `to` by seed.
struct Batch {
  Setting setting;
  std::string from, to;
  std::map<uint64_t, Told> cases;
};

// What is wrong, by seed. Throws std::runtime_error when rsync cannot be run.
std::map<uint64_t, std::string> ask_rsync(const Batch& batch);

}  // namespace choline::moves
