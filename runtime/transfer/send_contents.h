// What a sender does about the contents of files: one answer for each wish of the receiver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/digest_fast.h"
#include "base/result.h"
#include "transfer/frame.h"
#include "transfer/plan.h"
#include "transfer/session.h"
#include "transfer/target.h"

namespace choline {

class ContentsSender {
 public:
  struct Context {
    FrameReader& in;
    FrameWriter& out;
    const SyncOptions& options;
    const SessionHooks& hooks;
    Target& root;  // where the files lie
    SyncProgress& progress;
  };
  explicit ContentsSender(Context context);

  // Answers a wish for `entry`, a file, which lies at `source` below the root. Wishes come in the
  // order of the plan. An error ends the session; what concerns this file only becomes a note.
  Status grant(const PlanItem& item, const Entry& entry, const std::string& source);

  std::vector<SyncNote> skipped, failed;

 private:
  enum class Outcome { sent, changed, gone };
  // What was sent of a file that grew meanwhile, and is tried again.
  struct Grown {
    uint64_t size = 0;
    std::string digest;
  };
  Status answer(const PlanItem& item, const Entry& entry, const std::string& source);
  Status skip(const std::string& index, const Entry& entry, const Error& error);
  Result<std::string> digest_of(int file);
  Result<Outcome> send_file(int file, uint64_t index);
  Result<uint64_t> send_bytes(int file, uint64_t size, bool sparse, FastDigest& digest);
  bool is_steady(int file, uint64_t size, const std::string& sent);
  void report_progress();

  FrameWriter& out_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  Target& root_;
  SyncProgress& progress_;
  Grown grown_;
  std::string block_;
};

}  // namespace choline
