// A transfer between two far ends: one is asked to send, the other to receive, and what they say to
// each other passes through here. Nothing of it is kept.
#pragma once

#include "base/result.h"
#include "loop/co.h"
#include "loop/loop.h"
#include "transfer/sync.h"

namespace choline {

// Both ends have a channel. Neither is trusted: a frame that no honest end sends ends the transfer.
// `progress` tells what has passed; totals are not known here and stay 0.
Co<Result<SyncReport>> relay_files(Loop& loop, SyncEnd from, SyncEnd to, SyncOptions options,
                                   SyncProgressFn progress);

}  // namespace choline
