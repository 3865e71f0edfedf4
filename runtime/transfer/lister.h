// What a receiver has of the files that it wants: read, digested and told by a thread of its own,
// some files ahead of what comes.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "transfer/big_part.h"
#include "transfer/frame.h"
#include "transfer/pieces.h"

namespace choline {

// The frames that a receiver says, from several threads.
class Voice {
 public:
  explicit Voice(FrameWriter& out) : out_(out) {}
  // At once.
  Status say(FrameType type, std::string_view payload);

 private:
  FrameWriter& out_;
  std::mutex mutex_;
};

// An older version of a file, or a part of it that came before.
struct Base {
  struct Item {
    uint64_t offset, length;
    PieceDigest digest;
  };
  ListKind kind = ListKind::none;
  uint64_t unit = 0, size = 0;
  bool in_place = false;  // it is the part itself
  UniqueFd old;           // else this, as it was seen
  struct stat seen {};
  std::atomic<bool> enough{false};
  // Whole items from `from` on that make up `length` bytes; none when there are no such.
  std::vector<Item> items(uint64_t from, uint64_t length);

  std::mutex mutex;
  std::vector<Item> listed;  // by the mutex
};

struct OpenedPart {
  Result<BigPart> part = Error(ErrorKind::invalid, "");
  std::shared_ptr<Base> base;  // shared by the list's thread and those that write the file
};

class Lister {
 public:
  Lister(Target target, Voice& voice, const std::atomic<bool>* stop)
      : target_(std::move(target)), voice_(voice), stop_(stop) {}
  Lister(const Lister&) = delete;
  Lister& operator=(const Lister&) = delete;
  ~Lister();

  struct Job {
    uint64_t index = 0;
    std::string path;
    uint64_t size = 0;  // at the source
  };
  void start(std::deque<Job> jobs);
  // Waits for the part of a file and hands it over. Once for each job.
  OpenedPart take(uint64_t index);
  void enough(uint64_t index);
  // No more is listed; `cut` is called when its thread does not come back soon.
  void stop(const std::function<void()>& cut);

 private:
  void run();
  Status list(const Job& job, OpenedPart& opened, int& file);
  Status tell_blocks(const Job& job, Base& base, int file);
  Status tell_chunks(const Job& job, Base& base, int file);
  Status tell(const Job& job, std::string& items, bool last);
  bool is_over(const Base& base) const;

  Target target_;
  Voice& voice_;
  const std::atomic<bool>* stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::map<uint64_t, OpenedPart> ready_;
  std::map<uint64_t, std::weak_ptr<Base>> bases_;
  std::atomic<bool> stopping_{false};
  bool ended_ = true;
  std::thread thread_;
};

}  // namespace choline
