// What the two files of native.transfer share: how a side is reached, and the pull of checkpoints.
#pragma once

#include <memory>
#include <string>

#include "durable/instances.h"
#include "durable/steps.h"
#include "native/services.h"
#include "transfer/channel.h"
#include "transfer/sync.h"

namespace choline {

struct TransferSide {
  std::string tag, path;
  std::string label;                 // for people
  Instances::Client agent;           // keeps the link open while the transfer goes on
  std::unique_ptr<Channel> channel;  // null: here
  LaneOpener lanes;
  bool squeezes = false;  // its agent has zstd
};
// `side`: {tag, path, label} as Lua gives it. The first opens no channel yet.
Co<Result<TransferSide>> reach_side(Services& services, Json side);
Co<Result<TransferSide>> open_side(Services& services, Json side);
// Takes the channel; `side` must stay until the transfer is over.
SyncEnd end_of(TransferSide& side);

// One transfer, as native.transfer.sync does it. A link that dies under it is a new try.
Co<Result<Json>> move_files(Services& services, Json fields);

// native/two_way.cc: both sides become what they last agreed on and what changed since at either.
Co<Result<Json>> sync_two_ways(Services& services, Json fields, SyncOptions options,
                               SyncProgressFn progress);

// native/follow.cc
Co<Result<Json>> transfer_follow(Services& services, Json args, StepContext context);

struct CheckpointPull {
  Json fields;  // of native.transfer.sync, with checkpoints
  SyncOptions options;
  SyncProgressFn progress;
  std::string folder;  // of this sync's manifests
};
struct PulledCheckpoints {
  SyncReport report;
  Json sealed = Json::array();   // {name, step, bytes, digest}: new here, and verified
  Json damaged = Json::array();  // {name, why}: could not be verified, however often they came
  Json dropped = Json::array();  // names, removed for newer ones
  int again = 0;                 // how often they were brought once more because they differed
};
// Brings the checkpoints of an instance here and verifies each new one against digests taken
// there.
Co<Result<PulledCheckpoints>> pull_checkpoints(Services& services, CheckpointPull pull);

}  // namespace choline
