// What a receiver does about the contents of files: takes the answers to its wishes and writes
// them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/digest_fast.h"
#include "base/result.h"
#include "transfer/frame.h"
#include "transfer/plan.h"
#include "transfer/session.h"
#include "transfer/target.h"

namespace choline {

std::string folder_of(std::string_view path);

// What has become of the wishes so far.
struct Received {
  SyncReport report;
  SyncProgress progress;
  std::set<std::string, std::less<>> broken;  // checkpoints that lack something
  std::set<uint64_t> skipped;                 // wishes that were not granted

  void fail(const std::string& path, std::string why);
  // A failure that concerns one path goes on the list; one of the disk ends the session.
  Status note(const std::string& path, Status status);
};

class ContentsReceiver {
 public:
  struct Context {
    FrameReader& in;
    const SyncOptions& options;
    const SessionHooks& hooks;
    Target* target;  // absent only in a dry run into nothing
    Received& received;
    // Makes a folder that its owner may not write to writable until the end.
    std::function<bool(const std::string& folder)> open_folder;
  };
  explicit ContentsReceiver(Context context);

  // Waits for the answer to the wish for `entry`. Wishes come in the order of the plan; the item
  // tells afterwards what was done.
  Status take(PlanItem& item, const Entry& entry);
  // The contents are right: only mode and time are the sender's.
  Status adopt(const Entry& entry);
  // After the last wish: all that came has its name.
  Status commit();

 private:
  Status answer(PlanItem& item, const Entry& entry);
  Result<bool> receive_file(const PlanItem& item, Entry entry, Unpacker& head);
  Status leave(const PlanItem& item);
  Status begin(const std::string& path);
  Status take_bytes(const Frame& frame, uint64_t size, bool discard, uint64_t& got,
                    FastDigest& digest);
  void report_progress();

  FrameReader& in_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  Target* target_;
  Received& received_;
  std::function<bool(const std::string&)> open_folder_;
  std::optional<PartFiles> parts_;
  std::optional<std::string> cleared_;  // the folder whose dead parts were cleared last
};

}  // namespace choline
