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
#include "transfer/meter.h"
#include "transfer/plan.h"
#include "transfer/receive_big.h"
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
    FrameWriter& out;
    const SyncOptions& options;
    const SessionHooks& hooks;
    Target* target;  // absent only in a dry run into nothing
    Received& received;
    // Makes a folder that its owner may not write to writable until the end.
    std::function<bool(const std::string& folder)> open_folder;
    // What has become of a wish; big files may take longer than the next ones.
    std::function<void(const PlanItem&)> settled;
  };
  explicit ContentsReceiver(Context context);

  // Before the first answer: each wish that will be answered, then start().
  void expect(const PlanItem& item, const Entry& entry);
  void start();
  // Waits for the answer to the wish for `entry`. Wishes come in the order of the plan.
  Status take(PlanItem& item, const Entry& entry);
  // Takes pieces of big files as long as nothing else is next. True when the answer to the next
  // wish has been read already, and take() has it.
  Result<bool> take_pieces();
  // The part at this path may be what a file of this session goes on from.
  bool may_use(const std::string& path) const { return parts_to_use_.contains(path); }
  Meter& meter() { return meter_; }
  // The contents are right: only mode and time are the sender's.
  Status adopt(const Entry& entry);
  // After the last wish: all that came has its name.
  Status finish();

 private:
  Status answer(PlanItem& item, const Entry& entry, bool& is_later);
  Result<bool> receive_file(const PlanItem& item, Entry entry, std::string_view head);
  Status leave(const PlanItem& item);
  // `open` writes below a folder that may first have to be opened.
  Status begin(const std::string& path, const std::function<Status()>& open);
  Status take_bytes(const Frame& frame, uint64_t size, bool discard, uint64_t& got,
                    FastDigest& digest);
  Result<Frame> next_frame();
  Status read_finished();
  void count(int64_t bytes);
  Result<BigPart> open_part(const std::string& path);
  void clear_parts(const std::string& above);
  void forget(const PlanItem& item);
  Status commit();
  Status explain(Status status);

  FrameReader& in_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  Target* target_;
  Received& received_;
  std::function<bool(const std::string&)> open_folder_;
  std::function<void(const PlanItem&)> settled_;
  Meter meter_;
  std::optional<PartFiles> parts_;
  std::optional<BigReceiver> big_;
  std::optional<std::string> cleared_;  // the folder whose dead parts were cleared last
  std::set<std::string> parts_to_use_;  // paths of parts that may still be of use
  uint64_t big_bytes_ = 0;
  Json ended_;                 // the sender's last words
  std::optional<Frame> held_;  // read, but not taken
  int64_t moved_ = 0;          // of the present file
};

}  // namespace choline
