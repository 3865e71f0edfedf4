// The sender's part in packs of small files: reads a group of them with few calls, and waits for
// those that were just touched all at once.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "transfer/frame.h"
#include "transfer/meter.h"
#include "transfer/pace.h"
#include "transfer/pack.h"
#include "transfer/plan.h"
#include "transfer/posix.h"
#include "transfer/session.h"
#include "transfer/squeeze.h"
#include "transfer/target.h"

namespace choline {

class PackSender {
 public:
  struct Context {
    FrameWriter& out;
    const SessionHooks& hooks;
    Target& root;  // where the files lie
    Meter& meter;
    Pace& pace;
    Squeezer& squeezer;
    // Sends a file by itself: one that changes, or has grown.
    std::function<Status(const PlanItem&, const Entry&, const std::string& source)> send_alone;
  };
  explicit PackSender(Context context) : context_(std::move(context)) {}

  Status add(const PlanItem& item, const Entry& entry, const std::string& source);
  // All that was added is out.
  Status flush();

  std::vector<SyncNote> skipped, failed;

 private:
  struct Waiting {
    PlanItem item;
    Entry entry;
    std::string source;
    UniqueFd file;
    struct stat before {};
    int problem = 0;  // errno
  };
  void open(Waiting& waiting);
  void let_ticks_pass();
  Status send(Waiting& waiting);
  Status leave_out(const Waiting& waiting, int code);
  Status send_pack();
  bool read_whole(const Waiting& waiting);

  Context context_;
  PackWriter pack_;
  std::vector<Waiting> group_;
  uint64_t group_bytes_ = 0;
  std::string block_;
  std::string folder_path_;  // of the last file
  SharedFd folder_;
};

}  // namespace choline
