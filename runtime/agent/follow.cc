// The verb follow: a command's log from an offset on, as it grows, and how the command ended.
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/server.h"

namespace choline {

namespace {

constexpr double kLookAgain = 1.0;     // seconds; what inotify cannot tell: a keeper that died
constexpr double kPollInterval = 0.2;  // without inotify

class Follow : public Activity {
 public:
  Follow(Server& server, uint32_t channel, CommandFiles files, uint64_t offset)
      : Activity(server, channel), files_(std::move(files)), offset_(offset) {
    notify_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (notify_ && ::inotify_add_watch(notify_.get(), files_.folder.c_str(),
                                       IN_MODIFY | IN_MOVED_TO | IN_CREATE) < 0) {
      notify_.reset();
    }
    if (notify_) {
      watch_ = server.reactor().watch(notify_.get(), POLLIN, [this](short) { noticed(); });
    }
    tick();
  }
  ~Follow() override {
    if (watch_) server_.reactor().unwatch(watch_);
    server_.reactor().cancel(timer_);
  }
  void on_room() override {
    if (waits_for_room_) look(false);
  }

 private:
  void tick() {
    timer_ = server_.reactor().timer(notify_ ? kLookAgain : kPollInterval, [this] { tick(); });
    look(true);
  }

  void noticed() {
    alignas(inotify_event) char buffer[4096];
    bool ended = false;
    ssize_t got = 0;
    while ((got = ::read(notify_.get(), buffer, sizeof buffer)) > 0) {
      for (ssize_t at = 0; at < got;) {
        auto* event = reinterpret_cast<inotify_event*>(buffer + at);
        if (event->mask & (IN_MOVED_TO | IN_Q_OVERFLOW | IN_IGNORED)) ended = true;
        at += static_cast<ssize_t>(sizeof *event + event->len);
      }
    }
    look(ended);
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
    if (!log_) log_.reset(::open(files_.path("log").c_str(), O_RDONLY | O_CLOEXEC));
    if (!log_) return true;  // not yet there, or the command never began
    struct stat info {};
    if (::fstat(log_.get(), &info) == 0 && static_cast<uint64_t>(info.st_size) < offset_) {
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
          ::pread(log_.get(), buffer, std::min(room, sizeof buffer), static_cast<off_t>(offset_));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        finished_ = true;
        server_.finish(channel_, error_answer(errno_error("read the log of the command", errno)));
        return false;
      }
      if (got == 0) return true;
      offset_ += static_cast<uint64_t>(got);
      server_.mux().send(channel_, {buffer, static_cast<size_t>(got)});
    }
  }

  CommandFiles files_;
  uint64_t offset_;
  UniqueFd notify_, log_;
  Reactor::Id watch_ = 0, timer_ = 0;
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
