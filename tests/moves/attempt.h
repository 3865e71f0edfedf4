// One sync by two real processes, the bytes between them passed on by this one, which cuts the
// link or kills a process at any byte.
#pragma once

#include <functional>
#include <string>

#include "transfer/options.h"

namespace choline::moves {

enum class Fault { none, cut, kill_near, kill_far, kill_both };

struct Attempt {
  std::string from, to;
  bool pull = false;  // the far process sends
  SyncOptions options;
  Fault fault = Fault::none;
  bool fault_up = false;            // bytes are counted on their way to the far process, or back
  uint64_t fault_after = 0;         // so many go through
  std::function<void()> meanwhile;  // called now and then while bytes move; may be empty
};

struct Outcome {
  bool finished = false;  // by a report; else `error` says why not
  SyncReport report;
  std::string error;
  bool struck = false;  // the fault came before the end
  uint64_t up = 0, down = 0;
  std::string fault_of_ours;  // a process crashed, hung, or ended without a word
};

Outcome run(const Attempt& attempt);
std::string to_text(Fault fault);

}  // namespace choline::moves
