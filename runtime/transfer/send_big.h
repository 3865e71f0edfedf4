// The sending side of big files: cut into pieces, dealt to lanes, without what the receiver has.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "transfer/dealer.h"
#include "transfer/lane.h"
#include "transfer/listener.h"
#include "transfer/meter.h"
#include "transfer/pace.h"
#include "transfer/pieces.h"
#include "transfer/session.h"
#include "transfer/squeeze.h"
#include "transfer/target.h"

namespace choline {

// A place for frames: the session's own stream, or a lane.
class PieceSink {
 public:
  explicit PieceSink(Squeezer& its_squeezer) : squeezer(its_squeezer) {}
  PieceSink(const PieceSink&) = delete;
  PieceSink& operator=(const PieceSink&) = delete;
  virtual ~PieceSink() = default;
  virtual Status put(FrameType type, std::string_view head, std::string_view bytes) = 0;
  Squeezer& squeezer;
};

class BigSender {
 public:
  struct Context {
    FrameReader& in;
    FrameWriter& out;
    const SyncOptions& options;
    const SessionHooks& hooks;
    Target& root;
    Meter& meter;
    Pace& pace;
    std::vector<SyncNote>& skipped;
    Squeezer& squeezer;  // of the session's own stream
  };
  struct Source {
    uint64_t index = 0;
    std::string path;   // in the tree
    std::string place;  // below the root
    Listed listed;
  };

  explicit BigSender(const Context& context);
  BigSender(const BigSender&) = delete;
  BigSender& operator=(const BigSender&) = delete;
  ~BigSender();

  // Before anything is sent; `bytes`: how much there is to send in all.
  void start(uint64_t bytes);
  bool listens() const { return listener_.started(); }
  // Sends a file, or lets lanes do it. With a list, what the receiver has is left out.
  Status send(const Source& source, UniqueFd file, bool by_list);
  // Until all is sent and each file was looked at again.
  Status finish();
  // After `finished`: sends what the receiver lacks, each time followed by `say_finished`, and
  // gives its report.
  Result<Json> report(const std::function<Status()>& say_finished);
  // What the receiver said when it went away, rather than that it has gone.
  Error explain(Error error);

 private:
  Status check_peer();
  // Null when somebody keeps writing to it.
  Result<BigFilePtr> begin(const Source& source, UniqueFd file, const BigFile* before);
  Status begin_again(const BigFilePtr& before);
  Status send_by_list(const BigFilePtr& file);
  Status send_rest(const BigFilePtr& file, uint64_t from);
  Status work(bool to_the_end);
  Status end_sent_files();
  Status end_file(const BigFilePtr& file, bool torn);
  bool is_steady(BigFile& file);
  bool has_bytes(const BigFile& file, const std::vector<BigFile::Sent>& pieces);
  Status tell_end(const BigFile& file, BigEnd end);
  Status send_lack(const Listener::Lack& lack);
  void run_lane(LanePipe pipe, const LaneWaker& waker);

  Context context_;
  std::unique_ptr<PieceSink> own_;  // the session's own stream
  std::string block_;
  Listener listener_;
  Dealer dealer_;
  std::atomic<int> lanes_{0};  // that take stretches
  uint64_t next_ticket_ = 0;
  std::vector<BigFilePtr> open_;          // not ended yet
  std::map<uint64_t, BigFilePtr> ended_;  // by ticket, while the receiver may lack some of them
};

// One piece of a file, at the pace that is asked for.
Status send_piece(PieceSink& sink, const BigSender::Context& context, Dealer& dealer, BigFile& file,
                  uint64_t offset, std::string_view bytes);

}  // namespace choline
