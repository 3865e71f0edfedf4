// The two roles of a transfer, on whichever end. Blocking; see docs/design/transfer.md.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "transfer/frame.h"
#include "transfer/lane.h"
#include "transfer/options.h"

namespace choline {

struct SessionHooks {
  std::function<void(const SyncProgress&)> progress;  // often; may be empty
  const std::atomic<bool>* stop = nullptr;            // ends the session soon, with `cancelled`
  LaneSource* lanes = nullptr;                        // where more connections come from
};

// Both give the same report, made by the receiver. An error has been told to the peer.
Result<SyncReport> send_tree(FrameReader& in, FrameWriter& out, const std::string& path,
                             const SyncOptions& options, const SessionHooks& hooks);
Result<SyncReport> receive_tree(FrameReader& in, FrameWriter& out, const std::string& path,
                                const SyncOptions& options, const SessionHooks& hooks);

// What a client asks a server for.
enum class ServeRole { send, receive, checkpoints, manifests };
struct TransferRequest {
  ServeRole role = ServeRole::send;
  std::string path;
  SyncOptions options;
  std::vector<std::string> names;  // of the checkpoints whose manifests are asked for
  LaneKey lanes;                   // unset: there will be none
};
Json to_json(const TransferRequest& request);
Status write_request(FrameWriter& out, const TransferRequest& request);

// After an error: the peer's own words where it has sent any, else `error`. A failed write means
// that the peer has gone, and why it went is still to be read.
Error peer_reason(FrameReader& in, Error error);
// Tells the peer, as far as it still listens.
void tell_failure(FrameWriter& out, const Error& error);

}  // namespace choline
