#include "transfer/sync.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "base/unique_fd.h"
#include "io/fd.h"
#include "loop/await.h"
#include "transfer/checkpoint.h"
#include "transfer/frame.h"
#include "transfer/relay.h"
#include "transfer/session.h"
#include "transfer/squeeze.h"
#include "transfer/stream.h"
#include "transfer/two_way_side.h"

namespace choline {

namespace {

constexpr size_t kPumpBlock = 256 << 10;
constexpr double kProgressEvery = 0.1;
constexpr double kLastWords = 10;  // seconds for the report to leave after all is done
constexpr double kLastReply = 2;   // seconds for the far end's reasons once it takes nothing more

// Numbers that a session's thread sets and the loop reads.
struct SharedProgress {
  std::atomic<uint64_t> files_done{0}, files_total{0}, bytes_done{0}, bytes_total{0};
  void set(const SyncProgress& progress) {
    files_done = progress.files_done;
    files_total = progress.files_total;
    bytes_done = progress.bytes_done;
    bytes_total = progress.bytes_total;
  }
  SyncProgress get() const {
    SyncProgress progress;
    progress.files_done = files_done;
    progress.files_total = files_total;
    progress.bytes_done = bytes_done;
    progress.bytes_total = bytes_total;
    return progress;
  }
};

using SessionFn = std::function<Result<Json>(FrameReader&, FrameWriter&, const SessionHooks&)>;

// The blocking protocol on a thread of its own, one end of a socket pair. It owns all it touches;
// the destructor stops it and waits, which takes no longer than one block of a file.
class SessionThread {
 public:
  SessionThread(UniqueFd socket, SessionFn fn) : socket_(std::move(socket)), fn_(std::move(fn)) {}
  SessionThread(const SessionThread&) = delete;
  SessionThread& operator=(const SessionThread&) = delete;
  ~SessionThread() {
    stop_ = true;
    if (!thread_.joinable()) return;
    shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }

  Status start() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return errno_error("pipe", errno);
    ended_.reset(ends[0]);
    end_.reset(ends[1]);
    // No signal may land on this thread, past the loop.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return done();
  }

  int ended_fd() const { return ended_.get(); }  // readable once it has ended
  SyncProgress progress() const { return progress_.get(); }
  // After its end.
  Result<Json> take() {
    thread_.join();
    return std::move(*result_);
  }

 private:
  void run() {
    FdStream stream(socket_.get(), socket_.get());
    FrameReader in(stream);
    FrameWriter out(stream);
    SessionHooks hooks;
    hooks.stop = &stop_;
    hooks.progress = [this](const SyncProgress& progress) { progress_.set(progress); };
    result_.emplace(fn_(in, out, hooks));
    shutdown(socket_.get(), SHUT_WR);
    end_.reset();
  }

  UniqueFd socket_;
  SessionFn fn_;
  std::atomic<bool> stop_{false};
  SharedProgress progress_;
  std::optional<Result<Json>> result_;
  UniqueFd ended_, end_;
  std::thread thread_;
};

Status socket_pair(UniqueFd& one, UniqueFd& two) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return errno_error("socketpair", errno);
  }
  one.reset(ends[0]);
  two.reset(ends[1]);
  return done();
}

// From the far end to our thread. An error of the channel comes back; the thread sees an end.
Co<Status> pump_in(Loop& loop, Channel& channel, int socket) {
  for (;;) {
    Result<std::string> bytes = co_await channel.read(kPumpBlock);
    if (!bytes.ok() || bytes->empty()) {
      shutdown(socket, SHUT_WR);
      if (!bytes.ok()) co_return bytes.error();
      co_return done();
    }
    Status status = co_await write_all(loop, socket, std::move(bytes).value());
    if (!status.ok()) co_return done();  // the thread has ended, and says itself why
  }
}

Co<Status> pump_out(Loop& loop, Channel& channel, int socket) {
  for (;;) {
    Result<std::string> bytes = co_await read_some(loop, socket, kPumpBlock);
    if (!bytes.ok() || bytes->empty()) co_return done();
    Status status = co_await channel.write(std::move(bytes).value());
    if (!status.ok()) {
      // The thread's next write fails, and it then reads why the far end has gone.
      shutdown(socket, SHUT_RD);
      co_return status;
    }
  }
}

// Relays between a channel and a socket, both ways, until destroyed.
class Relay {
 public:
  Relay(Loop& loop, std::unique_ptr<Channel> channel, UniqueFd socket)
      : loop_(loop), channel_(std::move(channel)), socket_(std::move(socket)), sent_(loop) {
    std::function<void(Status)> in_ended = [this](Status status) {
      if (!status.ok()) error_ = std::move(status).error();
    };
    std::function<void(Status)> out_ended = [this](Status status) {
      sent_.set();
      if (status.ok()) return;
      if (!error_) error_ = std::move(status).error();
      timer_ = loop_.timer(kLastReply, [this] {
        timer_ = 0;
        shutdown(socket_.get(), SHUT_RDWR);
      });
    };
    out_ = Started(pump_out(loop, *channel_, socket_.get()), std::move(out_ended));
    in_ = Started(pump_in(loop, *channel_, socket_.get()), std::move(in_ended));
  }
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  ~Relay() {
    if (timer_) loop_.cancel(timer_);
  }

  const std::optional<Error>& error() const { return error_; }
  Event& sent() { return sent_; }  // all that our end has said is out

 private:
  Loop& loop_;
  std::unique_ptr<Channel> channel_;
  UniqueFd socket_;
  TimerId timer_ = 0;
  std::optional<Error> error_;
  Event sent_;
  Started in_, out_;
};

Co<Result<bool>> wait_for_event(Event& event) {
  co_await event.wait();
  co_return true;
}

Co<Result<bool>> wait_for_end(Loop& loop, int fd) {
  co_await FdReady(loop, fd, kReadable);
  co_return true;
}

// Runs a session against the far end of `channel`.
Co<Result<Json>> run_remote(Loop& loop, std::unique_ptr<Channel> channel, SessionFn fn,
                            SyncProgressFn progress) {
  UniqueFd ours, theirs;
  Status ready = socket_pair(ours, theirs);
  if (ready.ok()) ready = set_nonblocking(theirs.get());
  if (!ready.ok()) co_return ready.error();
  // The relay goes before the thread: its end wakes a thread that still reads.
  SessionThread thread(std::move(ours), std::move(fn));
  Relay relay(loop, std::move(channel), std::move(theirs));
  ready = thread.start();
  if (!ready.ok()) co_return ready.error();
  for (;;) {
    std::optional<Result<bool>> ended = co_await WithTimeout<Result<bool>>(
        loop, kProgressEvery, wait_for_end(loop, thread.ended_fd()));
    if (progress) progress(thread.progress());
    if (ended) break;
  }
  Result<Json> result = thread.take();
  if (!result.ok()) {
    const std::string& message = result.error().message;
    bool cut = result.error().kind == ErrorKind::lost || message.starts_with("transfer: write") ||
               message.starts_with("transfer: read");
    if (cut && relay.error()) co_return *relay.error();
    co_return result;
  }
  std::optional<Result<bool>> sent =
      co_await WithTimeout<Result<bool>>(loop, kLastWords, wait_for_event(relay.sent()));
  if (!sent) co_return Error(ErrorKind::timeout, "transfer: the far end does not take the report");
  co_return result;
}

Co<Result<Json>> run_here(Loop& loop, SessionFn sender, SessionFn receiver,
                          SyncProgressFn progress) {
  UniqueFd one, two;
  Status ready = socket_pair(one, two);
  if (!ready.ok()) co_return ready.error();
  SessionThread sending(std::move(one), std::move(sender));
  SessionThread receiving(std::move(two), std::move(receiver));
  ready = sending.start();
  if (ready.ok()) ready = receiving.start();
  if (!ready.ok()) co_return ready.error();
  for (;;) {
    std::optional<Result<bool>> ended = co_await WithTimeout<Result<bool>>(
        loop, kProgressEvery, wait_for_end(loop, receiving.ended_fd()));
    if (progress) progress(receiving.progress());
    if (ended) break;
  }
  co_await FdReady(loop, sending.ended_fd(), kReadable);
  Result<Json> sent = sending.take();
  Result<Json> received = receiving.take();
  // Each has heard of the other's failure; the one that is no mere end of the stream says more.
  bool prefer_sent = !received.ok() && !sent.ok() && received.error().kind == ErrorKind::lost;
  if (prefer_sent) co_return sent;
  co_return received;
}

Result<Json> report_json(Result<SyncReport> report) {
  if (!report.ok()) return std::move(report).error();
  return to_json(*report);
}

SessionFn send_from(std::string path, SyncOptions options) {
  return [path, options](FrameReader& in, FrameWriter& out, const SessionHooks& hooks) {
    return report_json(send_tree(in, out, path, options, hooks));
  };
}

SessionFn receive_to(std::string path, SyncOptions options) {
  return [path, options](FrameReader& in, FrameWriter& out, const SessionHooks& hooks) {
    return report_json(receive_tree(in, out, path, options, hooks));
  };
}

// Asks the far end for its part before doing ours.
SessionFn asking(TransferRequest request, SessionFn then, LaneOpener opener = nullptr) {
  return [request, then, opener](FrameReader& in, FrameWriter& out, const SessionHooks& hooks) {
    TransferRequest asked = request;
    SessionHooks with_lanes = hooks;
    std::unique_ptr<LaneSource> lanes;
    if (opener && lane_count(asked.options) > 0) {
      asked.lanes = LaneKey::make();
      lanes = dial_lanes(opener, asked.lanes);
      with_lanes.lanes = lanes.get();
    }
    Status status = write_request(out, asked);
    if (!status.ok()) return Result<Json>(peer_reason(in, std::move(status).error()));
    return then(in, out, with_lanes);
  };
}

Result<Json> read_checkpoints(FrameReader& in, FrameWriter&, const SessionHooks&) {
  return in.expect_json(FrameType::report);
}

}  // namespace

Co<Result<SyncReport>> sync_files(Loop& loop, SyncEnd from, SyncEnd to, SyncOptions options,
                                  SyncProgressFn progress) {
  // Here nothing is gained, and nothing may be compressed for an end that cannot unpack it.
  bool squeezes = (!from.channel || from.squeezes) && (!to.channel || to.squeezes) &&
                  (from.channel && to.channel ? true : can_squeeze());
  if (!squeezes || (!from.channel && !to.channel)) options.packing = Packing::never;
  if (!options.packing) options.packing = Packing::when_it_pays;
  if (from.channel && to.channel) {
    Result<SyncReport> passed = co_await relay_files(loop, std::move(from), std::move(to),
                                                     std::move(options), std::move(progress));
    co_return passed;
  }
  // What comes from a far end is trusted less than what is here already.
  if (!options.outside_links) options.outside_links = !from.channel;
  Result<Json> result = Error(ErrorKind::invalid, "");
  if (to.channel) {
    SessionFn fn = asking({ServeRole::receive, to.path, options, {}, {}},
                          send_from(from.path, options), to.lanes);
    result = co_await run_remote(loop, std::move(to.channel), std::move(fn), progress);
  } else if (from.channel) {
    SessionFn fn = asking({ServeRole::send, from.path, options, {}, {}},
                          receive_to(to.path, options), from.lanes);
    result = co_await run_remote(loop, std::move(from.channel), std::move(fn), progress);
  } else {
    SessionFn sender = send_from(from.path, options);
    SessionFn receiver = receive_to(to.path, options);
    result = co_await run_here(loop, std::move(sender), std::move(receiver), progress);
  }
  if (!result.ok()) co_return result.error();
  co_return sync_report_from_json(*result);
}

Co<Result<std::vector<Json>>> ask_place(Loop& loop, SyncEnd at, Json question,
                                        std::vector<Json> items) {
  question["path"] = at.path;
  if (!at.channel) {
    std::function<Result<std::vector<Json>>()> job = [path = at.path, question, items] {
      return answer_side(path, question, items);
    };
    OnWorker<Result<std::vector<Json>>> working(loop, std::move(job));
    Result<std::vector<Json>> told = co_await working;
    co_return told;
  }
  SessionFn fn = [question, items](FrameReader& in, FrameWriter& out, const SessionHooks&) {
    Result<std::vector<Json>> told = ask_side(in, out, question, items);
    return told.ok() ? Result<Json>(Json(std::move(*told))) : Result<Json>(told.error());
  };
  Result<Json> told = co_await run_remote(loop, std::move(at.channel), std::move(fn), nullptr);
  if (!told.ok()) co_return told.error();
  std::vector<Json> list;
  for (Json& each : *told) list.push_back(std::move(each));
  co_return list;
}

Co<Result<std::vector<Checkpoint>>> list_checkpoints(Loop& loop, SyncEnd at) {
  if (!at.channel) {
    std::string path = at.path;
    std::function<Result<std::vector<Checkpoint>>()> job = [path] {
      return find_checkpoints(path);
    };
    Result<std::vector<Checkpoint>> found =
        co_await OnWorker<Result<std::vector<Checkpoint>>>(loop, std::move(job));
    co_return found;
  }
  SessionFn fn = asking({ServeRole::checkpoints, at.path, {}, {}, {}}, read_checkpoints);
  Result<Json> told = co_await run_remote(loop, std::move(at.channel), std::move(fn), nullptr);
  if (!told.ok()) co_return told.error();
  std::vector<Checkpoint> list;
  if (!told->is_array()) co_return protocol_error("no list of checkpoints");
  for (const Json& each : *told) {
    Result<Checkpoint> checkpoint = checkpoint_from_json(each);
    if (!checkpoint.ok()) co_return checkpoint.error();
    list.push_back(std::move(checkpoint).value());
  }
  co_return list;
}

Co<Result<std::vector<Manifest>>> fetch_manifests(Loop& loop, SyncEnd at,
                                                  std::vector<std::string> names) {
  if (!at.channel) {
    std::function<Result<std::vector<Manifest>>()> job = [path = at.path, names] {
      return read_manifests(path, names, nullptr);
    };
    OnWorker<Result<std::vector<Manifest>>> reading(loop, std::move(job));
    Result<std::vector<Manifest>> found = co_await reading;
    co_return found;
  }
  SessionFn fn =
      asking({ServeRole::manifests, at.path, {}, std::move(names), {}}, read_checkpoints);
  Result<Json> told = co_await run_remote(loop, std::move(at.channel), std::move(fn), nullptr);
  if (!told.ok()) co_return told.error();
  std::vector<Manifest> list;
  if (!told->is_array()) co_return protocol_error("no list of manifests");
  for (const Json& each : *told) {
    Result<Manifest> manifest = manifest_from_json(each);
    if (!manifest.ok()) co_return manifest.error();
    list.push_back(std::move(manifest).value());
  }
  co_return list;
}

}  // namespace choline
