// The verb follow: a command's log from an offset on, as it grows, and how the command ended.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/server.h"

namespace choline {

namespace {

constexpr double kLookAtState = 1.0;   // seconds; what inotify cannot tell: a keeper that died
constexpr double kPollInterval = 0.2;  // without inotify

class Follow : public Activity {
 public:
  Follow(Server& server, uint32_t channel, CommandFiles files, uint64_t offset)
      : Activity(server, channel), files_(std::move(files)), offset_(offset) {
    watch_ = server.notifier().watch(files_.folder, [this](bool moved) { look(moved); });
    tick();
  }
  ~Follow() override {
    server_.notifier().unwatch(watch_);
    server_.reactor().cancel(timer_);
  }
  void on_room() override {
    if (waits_for_room_) look(false);
  }

 private:
  void tick() {
    timer_ = server_.reactor().timer(watch_ ? kLookAtState : kPollInterval, [this] { tick(); });
    look(true);
  }

  // The state first and then the log: what a command wrote before its end is then never missed.
  void look(bool with_state) {
    if (finished_) return;
    if (with_state && end_.is_null()) {
      Json status = server_.commands().status(files_);
      if (status["state"] != "running") end_ = std::move(status);
    }
    if (!read_log()) return;
    server_.kick();
    if (end_.is_null() || waits_for_room_) return;
    finished_ = true;
    end_["offset"] = offset_;
    end_["restarted"] = restarted_;
    server_.finish(channel_, end_);
    server_.kick();
  }

  bool read_log() {
    waits_for_room_ = false;
    // Opened anew each time: a thousand followers would need more descriptors than there are.
    UniqueFd log(::open(files_.path("log").c_str(), O_RDONLY | O_CLOEXEC));
    if (!log && errno == ENOENT) return true;  // not yet there, or the command never began
    if (!log) return give_up();
    struct stat info {};
    if (::fstat(log.get(), &info) == 0 && static_cast<uint64_t>(info.st_size) < offset_) {
      if (!server_.mux().flushed(channel_)) {  // the note must come after what was before
        waits_for_room_ = true;
        return true;
      }
      offset_ = 0;  // somebody emptied the log: what is in it now is new
      restarted_ = true;
      server_.mux().note(channel_, Json{{"offset", 0}});
    }
    while (true) {
      size_t room = server_.mux().room(channel_);
      if (room == 0) {
        waits_for_room_ = true;
        return true;
      }
      char buffer[32768];
      ssize_t got =
          ::pread(log.get(), buffer, std::min(room, sizeof buffer), static_cast<off_t>(offset_));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return give_up();
      if (got == 0) return true;
      offset_ += static_cast<uint64_t>(got);
      server_.mux().send(channel_, {buffer, static_cast<size_t>(got)});
    }
  }

  bool give_up() {
    finished_ = true;
    server_.finish(channel_, error_answer(errno_error("read the log of the command", errno)));
    server_.kick();
    return false;
  }

  CommandFiles files_;
  uint64_t offset_;
  Notifier::Id watch_ = 0;
  Reactor::Id timer_ = 0;
  Json end_;  // how it ended; null while it runs
  bool waits_for_room_ = false, finished_ = false, restarted_ = false;
};

}  // namespace

std::unique_ptr<Activity> make_follow(Server& server, uint32_t channel, const Json& request) {
  CommandFiles files = server.commands().files(request.value("key", ""));
  if (server.commands().status(files)["state"] == "unknown") {
    server.finish(channel, error_answer(Error(ErrorKind::not_found,
                                              "no command was started here with the key '" +
                                                  request.value("key", "") + "'")));
    return nullptr;
  }
  return std::make_unique<Follow>(server, channel, std::move(files),
                                  request.value("offset", uint64_t{0}));
}

}  // namespace choline
