// The lock that says which process owns a run. The kernel frees it when the process ends, however.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace choline {

class RunLock {
 public:
  // Nothing when another process (or another RunLock of this one) holds it. Makes the folder.
  static Result<std::optional<RunLock>> take(const std::string& folder);
  static bool is_held(const std::string& folder);

 private:
  explicit RunLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// {host, boot, pid, started, since}: enough to know this process again, or to see that it has gone.
Json describe_this_process(double now);

}  // namespace choline
