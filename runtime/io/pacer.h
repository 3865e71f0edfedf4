// Spaces calls to a service that allows only so many: one line of waiters for each name, over all
// processes of the user that share the folder.
#pragma once

#include <string>

#include "base/result.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

class Pacer {
 public:
  // `folder` is made when it is first needed.
  Pacer(Loop& loop, std::string folder) : loop_(loop), folder_(std::move(folder)) {}

  // Takes the next turn of `name` (letters, digits, '-', '_', '.') and waits for it; turns are at
  // least `interval` seconds apart. Giving up the wait does not give back the turn.
  Co<Status> turn(std::string name, double interval);
  // No turn of `name` that is not taken yet begins before `seconds` from now: the service has said
  // that it was too much.
  Status hold(const std::string& name, double seconds);

 private:
  Loop& loop_;
  std::string folder_;
};

}  // namespace choline
