// Lanes: further connections of a transfer that lead straight to its blocking threads on both ends,
// past the loop and the agent's own link. On an instance a lane is a process of its own, started
// over a connection of its own, which hands its stdin and stdout to the transfer and stays until
// that is over. See docs/design/transfer.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "transfer/options.h"
#include "transfer/stream.h"

namespace choline {

constexpr uint64_t kLaneBulk = 16 << 20;  // bytes that make lanes worth their opening

// By which the far end knows the lanes of a transfer. `id` may be seen by others, `secret` not.
struct LaneKey {
  std::string id, secret;
  static LaneKey make();
  bool is_set() const { return !id.empty() && !secret.empty(); }
};

// Can be woken from what it waits for, by any thread.
class LaneWaker {
 public:
  LaneWaker();
  void wake() const;  // for good
  int fd() const { return event_.get(); }
  bool woken() const { return woken_; }

 private:
  UniqueFd event_;
  mutable std::atomic<bool> woken_{false};
};

// Over descriptors that become non-blocking; waits end with `cancelled` when `waker` is woken.
class LaneStream : public Stream {
 public:
  LaneStream(int in, int out, const LaneWaker& waker);
  Result<size_t> read(char* into, size_t most) override;
  Status write(std::string_view bytes) override;
  // Both, one after the other, with as few calls as possible.
  Status write(std::string_view head, std::string_view bytes);
  // Exactly so many.
  Status read_all(char* into, size_t count);

 private:
  Status wait(int fd, short events);
  int in_, out_;
  const LaneWaker& waker_;
};

// One lane, as it was opened.
struct LanePipe {
  uint64_t number = 0;
  UniqueFd in, out;
  std::shared_ptr<void> holder;  // what keeps it open: shared, as its kind is nobody's business
};

// Where lanes come from.
class LaneSource {
 public:
  using Run = std::function<void(LanePipe, const LaneWaker&)>;

  LaneSource() = default;
  LaneSource(const LaneSource&) = delete;
  LaneSource& operator=(const LaneSource&) = delete;
  virtual ~LaneSource() = default;
  // Opens lanes, at most `most`, and calls `run` for each, on a thread of its own. `lost` hears
  // of a lane that the far end may have and that does not work here.
  virtual void start(size_t most, Run run, std::function<void(uint64_t)> lost) = 0;
  // Wakes the thread of one lane.
  virtual void drop(uint64_t number) = 0;
  // No lane comes any more, and those that run are waited for; with `wake`, they are woken.
  virtual void stop(bool wake) = 0;
};

// Of the end that asks: each lane is opened by a thread, which then runs it: a child that the
// opener starts may live no longer than its thread.
using LaneOpener = std::function<Result<LanePipe>(uint64_t number, const LaneWaker& waker)>;

std::unique_ptr<LaneSource> dial_lanes(LaneOpener opener, LaneKey key);
// Of the end that serves: takes the lanes that are handed over by hand_lane(). Null when this
// machine cannot, which is no error: the transfer goes on without.
std::unique_ptr<LaneSource> take_lanes(const LaneKey& key);

// The process in between: reads from `in` which transfer the lane is for, hands both descriptors
// to it and returns when the transfer has closed it. It says kLaneReady first.
Status hand_lane(int in, int out);
constexpr std::string_view kLaneReady = "@choline-lane\n";
// What dial_lanes() writes first on a new lane, of exactly kLaneGreeting bytes.
constexpr size_t kLaneGreeting = 64;
std::string lane_greeting(const LaneKey& key, uint64_t number);

}  // namespace choline
