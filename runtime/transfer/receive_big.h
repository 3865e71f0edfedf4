// The receiving side of big files: their pieces come over any lane and in any order, and what is
// here already is taken from here.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "transfer/lane.h"
#include "transfer/lister.h"
#include "transfer/meter.h"
#include "transfer/plan.h"
#include "transfer/session.h"
#include "transfer/target.h"

namespace choline {

struct Received;

// What the head of a file says: all but the path.
bool read_head(std::string_view payload, uint64_t& index, Entry& entry);

bool is_of_big(FrameType type);

class BigReceiver {
 public:
  struct Context {
    FrameReader& in;
    FrameWriter& out;
    const SyncOptions& options;
    const SessionHooks& hooks;
    Target* target;
    Received& received;
    Meter& meter;
    PartFiles* parts;
    // Opens the part of a file, whatever that takes.
    std::function<Result<BigPart>(const std::string& path)> open_part;
    // The contents are right already.
    std::function<Status(const Entry&)> adopt;
    // What has become of a wish.
    std::function<void(const PlanItem&)> settled;
  };

  explicit BigReceiver(const Context& context);
  BigReceiver(const BigReceiver&) = delete;
  BigReceiver& operator=(const BigReceiver&) = delete;
  ~BigReceiver();

  // Before the first answer: a list of what is here of it goes out; so much will come in pieces.
  void expect(const PlanItem& item, const Entry& entry);
  void start(uint64_t bytes);
  // A `big` frame: the file of this wish begins.
  Status begin(const PlanItem& item, const Entry& entry);
  // The wish is not granted.
  void forget(const PlanItem& item);
  // Whether a frame is about files that have begun, and what it says. Also the `big` of a file that
  // comes again.
  Result<bool> take(const Frame& frame);
  // After `finished`: asks for what is lacking until all is whole. `next_finished` takes what comes
  // up to the next `finished`.
  Status complete(const std::function<Status()>& next_finished);
  // Why we gave up, when it was not the session's own stream.
  Error explain(Error error);

 private:
  struct File {  // one try
    uint64_t ticket = 0;
    PlanItem item;
    Entry entry;
    std::optional<BigPart> part;
    std::optional<Error> broken;  // of this file only: what comes is dropped
    std::shared_ptr<Base> base;
    // By the mutex:
    Coverage claimed;
    int writers = 0;
    uint64_t fresh = 0;     // bytes that came
    uint64_t unsynced = 0;  // bytes the disk has not been told to begin with
    bool ended = false;
    std::vector<Base::Item> kept;  // in place in the old file; copied once something fresh comes
  };
  using FilePtr = std::shared_ptr<File>;  // shared by the threads that write to it

  Status open(const PlanItem& item, Entry entry);
  Result<FilePtr> claim(uint64_t ticket, uint64_t offset, uint64_t length, bool fresh);
  Status take_piece(std::string_view payload);
  Status take_zeros(std::string_view payload);
  Status take_held(FrameType type, std::string_view payload);
  Status take_end(std::string_view payload);
  Status copy_kept(const FilePtr& file);
  Status copy_items(const FilePtr& file, uint64_t offset, const std::vector<Base::Item>& items);
  Status written(const FilePtr& file, uint64_t length, Status status);
  Status finish_whole();
  Status finish(const FilePtr& file);
  Status ask(const std::vector<FilePtr>& files);
  void run_lane(LanePipe pipe, const LaneWaker& waker);
  Status read_lane(LaneStream& stream);
  void give_up(const Error& error);

  Context context_;
  Voice voice_;
  std::optional<Lister> lister_;
  std::deque<Lister::Job> jobs_;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t next_ticket_ = 0;
  std::map<uint64_t, FilePtr> files_;  // by ticket
  struct Again {
    PlanItem item;
    std::string path;
  };
  std::map<uint64_t, Again> again_;  // by index: files that come once more
  std::optional<Error> given_up_;
  bool over_ = false;  // nobody waits for a file to begin
  const std::thread::id own_thread_ = std::this_thread::get_id();
};

}  // namespace choline
