// Moves a tree of files from one place to another. Each file is complete at the target or not
// there; what is already there is not sent again. See docs/design/transfer.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "loop/co.h"
#include "loop/loop.h"
#include "transfer/channel.h"
#include "transfer/lane.h"
#include "transfer/manifest.h"
#include "transfer/options.h"

namespace choline {

struct SyncEnd {
  std::string path;
  std::unique_ptr<Channel> channel;  // null: here
  LaneOpener lanes;                  // more connections to there; may be null
  bool squeezes = false;             // it can unpack, and pack, what is compressed
};

using SyncProgressFn = std::function<void(const SyncProgress&)>;

// Moves the tree, file or link at `from` to `to`; between two far ends through here (relay.h).
// `progress` is called on the loop, at most ten times a second and once at the end. Destroying the
// Co stops the transfer; files that were complete by then stay.
Co<Result<SyncReport>> sync_files(Loop& loop, SyncEnd from, SyncEnd to, SyncOptions options,
                                  SyncProgressFn progress);

// A question of a two-way sync (two_way_side.h) to a place, and its items; gives those of the
// answer. The question's path is set here.
Co<Result<std::vector<Json>>> ask_place(Loop& loop, SyncEnd at, Json question,
                                        std::vector<Json> items);

// The complete checkpoints at a place, oldest first: by step, then by age.
Co<Result<std::vector<Checkpoint>>> list_checkpoints(Loop& loop, SyncEnd at);

// Their sizes and digests, read where they are; of `names` only, unless that is empty.
Co<Result<std::vector<Manifest>>> fetch_manifests(Loop& loop, SyncEnd at,
                                                  std::vector<std::string> names);

}  // namespace choline
