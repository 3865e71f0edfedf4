// What a sender hears from the receiver while it sends contents, read by a thread of its own, so
// that neither end ever waits for the other to read.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "transfer/frame.h"
#include "transfer/pieces.h"

namespace choline {

class Listener {
 public:
  struct Lack {
    uint64_t ticket = 0;
    std::vector<Coverage::Gap> gaps;
  };
  // The head of a list, and what has come of its items so far.
  struct Listed {
    ListKind kind = ListKind::none;
    uint64_t unit = 0, size = 0;
    bool complete = false;
    std::string items;
  };
  struct Word {  // one of the two
    std::vector<Lack> lacks;
    std::optional<Json> report;
  };

  explicit Listener(FrameReader& in) : in_(in) {}
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  // `lane_lost` and `broken` are called on the thread.
  void start(std::function<void(uint64_t lane)> lane_lost, std::function<void()> broken);
  bool started() const { return thread_.joinable(); }

  // Waits for more items of a list than `known` bytes, or for its end, and takes them away.
  Result<Listed> more(uint64_t index, bool wait);
  void forget(uint64_t index);
  // Waits for the receiver's last words, or what it lacks.
  Result<Word> word();
  std::optional<Error> error() const;

 private:
  void run();
  Status take(const Frame& frame);
  Status take_head(Unpacker& in);
  Status take_items(Unpacker& in);
  Status take_lack(Unpacker& in);

  FrameReader& in_;
  std::function<void(uint64_t)> lane_lost_;
  std::function<void()> broken_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, Listed> lists_;
  uint64_t next_index_ = 0;              // lists come in the order of the plan
  std::map<uint64_t, uint64_t> counts_;  // bytes of items by list
  uint64_t held_ = 0;                    // bytes of items nobody has taken yet
  std::vector<Lack> lacks_;
  bool lacks_complete_ = false;
  std::optional<Json> report_;
  std::optional<Error> error_;
  std::thread thread_;
};

}  // namespace choline
