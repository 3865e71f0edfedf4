// The receiver's part in packs of small files: written aside one after the other, then synced and
// given their names many at a time, on a thread of its own while the next ones come in.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "transfer/frame.h"
#include "transfer/handoff.h"
#include "transfer/meter.h"
#include "transfer/pack.h"
#include "transfer/plan.h"
#include "transfer/receive_contents.h"
#include "transfer/target.h"

namespace choline {

// Files that are written and lack only their names.
struct PackBatch {
  struct File {
    SharedFd folder;
    uint64_t number = 0;  // of its part
    std::string name;
    uint32_t above = 0;      // which of `folders` it is in
    bool may_clear = false;  // a folder in its place may go, with all that is in it
  };
  std::string id;  // of the parts
  std::vector<std::string> folders;
  std::vector<File> files;
  uint64_t bytes = 0;

  std::string part_of(const File& file) const;
  std::string path_of(const File& file) const;
};

// Gives batches their names, in order. What could not get its name is told afterwards.
class PackCommitter {
 public:
  PackCommitter(int root, bool durable);
  PackCommitter(const PackCommitter&) = delete;
  PackCommitter& operator=(const PackCommitter&) = delete;
  ~PackCommitter();  // what still waits is removed

  void put(PackBatch batch);
  // All of it is done; the disk itself may have failed.
  Status finish();
  std::vector<SyncNote> failed;  // after finish()
  uint64_t lost = 0;             // how many they are

 private:
  void run();
  void commit(PackBatch& batch);
  Status sync(PackBatch& batch);
  Status give_name(const PackBatch& batch, const PackBatch::File& file);

  int root_;
  bool durable_;
  bool whole_disk_;  // syncfs() is to be trusted here
  std::atomic<bool> abandoned_{false};
  Handoff<PackBatch> batches_{1};
  std::vector<SharedFd> renamed_;  // folders whose new names are not on the disk yet
  bool many_renamed_ = false;      // too many of them to list
  Status result_ = done();
  std::thread thread_;
};

class PackReceiver {
 public:
  struct Context {
    FrameReader& in;
    const SyncOptions& options;
    Target& target;
    Received& received;
    Meter& meter;
    // Makes a folder that its owner may not write to writable until the end.
    std::function<bool(const std::string& folder)> open_folder;
  };
  explicit PackReceiver(Context context);
  PackReceiver(const PackReceiver&) = delete;
  PackReceiver& operator=(const PackReceiver&) = delete;
  ~PackReceiver();  // removes what has not got its name

  // Whether the answer to the next wish lies in a pack; `may`: it is one that could.
  Result<bool> has_next(bool may);
  bool in_pack() const { return !pack_.at_end(); }
  Status take(const PlanItem& item, const Entry& entry);
  Status finish();

 private:
  Status write(const PlanItem& wish, const Entry& entry, const PackReader::Item& item);
  Status enter(const std::string& above);
  Status write_part(const PackReader::Item& item, const PackBatch::File& part);
  void send_batch();

  Context context_;
  PackReader pack_;
  PackBatch batch_;
  uint64_t number_ = 0;
  SharedFd folder_;
  std::optional<std::string> above_;
  uint32_t fitting_mode_ = UINT32_MAX;  // files here get this mode when they are made with it
  std::optional<PackCommitter> committer_;
};

}  // namespace choline
