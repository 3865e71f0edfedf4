// A transfer between two instances whose bytes do not pass through here: one of them logs in to the
// other with a key that serves once. See docs/design/transfer.md.
#pragma once

#include <optional>
#include <string>

#include "loop/co.h"
#include "native/services.h"
#include "native/transfer.h"

namespace choline {

struct DirectMove {
  std::string why;  // not empty: neither can reach the other, and nothing was moved
  std::optional<Result<SyncReport>> report;
};

// Both sides are far; they need no channel. What has failed for two instances is not tried again
// for a while.
Co<DirectMove> move_directly(Services& services, const TransferSide& from, const TransferSide& to,
                             SyncOptions options, SyncProgressFn progress);

}  // namespace choline
