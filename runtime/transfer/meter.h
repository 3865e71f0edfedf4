// The progress of a transfer, counted by several threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>

#include "transfer/session.h"

namespace choline {

class Meter {
 public:
  Meter(SyncProgress& progress, const SessionHooks& hooks) : progress_(progress), hooks_(hooks) {}

  void moved(uint64_t bytes) { count(0, static_cast<int64_t>(bytes)); }
  // Of something that has to be moved again.
  void taken_back(uint64_t bytes) { count(0, -static_cast<int64_t>(bytes)); }
  // `bytes`: of the file, as far as moved() has not told them.
  void file(int64_t bytes) { count(1, bytes); }

 private:
  void count(uint64_t files, int64_t bytes) {
    std::lock_guard lock(mutex_);
    progress_.files_done += files;
    auto sum = static_cast<int64_t>(progress_.bytes_done) + bytes;
    progress_.bytes_done = static_cast<uint64_t>(std::max<int64_t>(sum, 0));
    if (hooks_.progress) hooks_.progress(progress_);
  }

  std::mutex mutex_;
  SyncProgress& progress_;
  const SessionHooks& hooks_;
};

}  // namespace choline
