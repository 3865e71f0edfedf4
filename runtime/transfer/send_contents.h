// What a sender does about the contents of files: one answer for each wish of the receiver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/digest_fast.h"
#include "base/result.h"
#include "transfer/frame.h"
#include "transfer/meter.h"
#include "transfer/plan.h"
#include "transfer/send_big.h"
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
    Squeezer& squeezer;  // of the session's own stream
  };
  explicit ContentsSender(Context context);

  // Before the first answer; `bytes` are wanted in all.
  void start(uint64_t bytes);
  // Answers a wish for `entry`, a file, which lies at `source` below the root. Wishes come in the
  // order of the plan. An error ends the session; what concerns this file only becomes a note.
  Status grant(const PlanItem& item, const Entry& entry, const std::string& source);

  Meter& meter() { return meter_; }
  Pace& pace() { return pace_; }
  // Says that all is sent, once it is, and gives the receiver's report.
  Result<Json> finish();

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
  Result<Outcome> send_file(int file, uint64_t index, const Listed& listed);
  Result<uint64_t> send_bytes(int file, uint64_t size, bool sparse, FastDigest& digest);
  bool is_steady(int file, uint64_t size, const std::string& sent);
  void count(int64_t bytes);

  FrameReader& in_;
  FrameWriter& out_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  Target& root_;
  Grown grown_;
  Meter meter_;
  Pace pace_;
  BigSender big_;
  bool big_one_ = false;  // the present one goes in pieces
  int64_t moved_ = 0;     // of the present one
  std::string block_;
};

}  // namespace choline
