#include "agent/server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "agent/old_agents.h"
#include "transfer/squeeze.h"

namespace choline {

namespace {
constexpr int kMostStarting = 32;
// Then what else waits has its turn, however fast the link takes bulk.
constexpr int kMostFills = 4;
constexpr size_t kMaxBacklog = size_t{4} << 20;  // answers that the client does not read
}  // namespace

void Activity::on_data(std::string_view bytes) {
  server_.mux().consumed(channel_, bytes.size());
}

Server::Server(Place place, int in, int out)
    : place_(std::move(place)),
      commands_(place_),
      lease_(place_),
      mux_(Side::agent, *this),
      in_(in),
      out_(out) {}

int Server::run() {
  ::fcntl(in_, F_SETFL, ::fcntl(in_, F_GETFL) | O_NONBLOCK);
  ::fcntl(out_, F_SETFL, ::fcntl(out_, F_GETFL) | O_NONBLOCK);
  ::fcntl(in_, F_SETFD, FD_CLOEXEC);
  ::fcntl(out_, F_SETFD, FD_CLOEXEC);
  heard_ = boot_seconds();
  read_watch_ = reactor_.watch(in_, POLLIN, [this](short) { read_link(); });
  write_watch_ = reactor_.watch(out_, 0, [this](short) { write_link(); });
  watch_silence();
  lease_.guard();
  reactor_.timer(1, remove_old_agents);  // what a client waits for comes first
  reactor_.run();
  activities_.clear();  // ends what belongs to this link; durable commands have their keepers
  return exit_code_;
}

void Server::leave(int code, const std::string& why) {
  if (!why.empty()) ::dprintf(2, "choline-agent: %s\n", why.c_str());
  exit_code_ = code;
  reactor_.stop();
}

void Server::watch_silence() {
  reactor_.timer(5, [this] {
    if (boot_seconds() - heard_ > silence_) return leave(3, "nothing was heard from choline");
    watch_silence();
  });
}

void Server::read_link() {
  char buffer[size_t{64} << 10];
  ssize_t got = ::read(in_, buffer, sizeof buffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return leave(got == 0 ? 0 : 1, got == 0 ? "" : std::strerror(errno));
  heard_ = boot_seconds();
  Status fed = mux_.feed({buffer, static_cast<size_t>(got)});
  if (!fed) return leave(2, fed.error().message);
  kick();
}

void Server::kick() {
  if (!writing_) write_link();
}

void Server::write_link() {
  writing_ = true;
  int fills = 0;
  while (true) {
    if (sent_ == pending_.size()) {
      if (fills++ == kMostFills) break;
      pending_.clear();
      sent_ = 0;
      mux_.fill(pending_, kWriteAhead);
      if (pending_.empty()) break;
    }
    ssize_t wrote = ::write(out_, pending_.data() + sent_, pending_.size() - sent_);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && errno == EAGAIN) break;
    if (wrote < 0) writing_ = false;
    if (wrote < 0) return leave(errno == EPIPE ? 0 : 1, errno == EPIPE ? "" : std::strerror(errno));
    sent_ += static_cast<size_t>(wrote);
  }
  writing_ = false;
  size_t left = pending_.size() - sent_;
  reactor_.rewatch(write_watch_, left > 0 || mux_.has_output() ? POLLOUT : 0);
  // A client that asks and never reads waits for itself.
  reactor_.rewatch(read_watch_, left + mux_.backlog() > kMaxBacklog ? 0 : POLLIN);
}

void Server::finish(uint32_t channel, Json answer) {
  mux_.answer(channel, answer);
  reactor_.post([this, channel] {
    activities_.erase(channel);
    kick();
  });
}

void Server::finish(uint32_t channel, Result<Json> result) {
  finish(channel, result ? std::move(*result) : error_answer(result.error()));
}

// The agent greets second, so that nothing of it can be mistaken for what a login prints.
void Server::on_hello(Json hello) {
  utsname system{};
  ::uname(&system);
  mux_.hello(Json{{"protocol", kProtocol},
                  {"oldest", kProtocolOldest},
                  {"channels", kMaxChannels},
                  {"agent", CHOLINE_VERSION},
                  {"arch", system.machine},
                  {"pid", ::getpid()},
                  {"boot", boot_id()},
                  {"tag", place_.tag},
                  {"root", place_.root},
                  {"jail", place_.jail},
                  {"zstd", can_squeeze()},
                  {"time", wall_seconds()}});
  const Json silence = hello.value("silence", Json());
  if (silence.is_number()) silence_ = std::max(1.0, silence.get<double>());
}

namespace {
// A field of another type than it should be.
Json malformed(const Json::exception& wrong) {
  return error_answer(
      Error(ErrorKind::invalid, std::string("the request is malformed: ") + wrong.what()));
}
}  // namespace

void Server::on_open(uint32_t channel, Json request) {
  try {
    std::string verb = request.value("verb", "");
    dispatch(channel, verb, request);
  } catch (const Json::exception& wrong) {
    finish(channel, malformed(wrong));
  }
}

// Not all at once: each one that starts has pipes to it and two processes that wait for a core.
void Server::start_next() {
  while (starting_ < kMostStarting && !to_start_.empty()) {
    auto [channel, request] = std::move(to_start_.front());
    to_start_.pop_front();
    if (!mux_.has(channel)) continue;  // cancelled while it waited
    starting_++;
    auto started = [this, id = channel](Result<Json> result) {
      finish(id, std::move(result));
      reactor_.post([this] {
        starting_--;
        start_next();
        kick();
      });
    };
    try {
      commands_.start(reactor_, request, started);
    } catch (const Json::exception& wrong) {
      starting_--;
      finish(channel, malformed(wrong));
    }
  }
}

void Server::dispatch(uint32_t channel, const std::string& verb, const Json& request) {
  std::string key = request.value("key", "");
  if (verb == "status") return finish(channel, commands_.status(key));
  if (verb == "signal") return finish(channel, commands_.signal(key, request.value("signal", 0)));
  if (verb == "renew") return finish(channel, lease_.renew(request));
  if (verb == "list") return finish(channel, commands_.list());
  if (verb == "remove") return finish(channel, commands_.remove(key));
  if (std::optional<std::string> why = verb == "start" ? lease_.ending() : std::nullopt) {
    Error ending(ErrorKind::lost, "the instance is ending itself: its " + *why + " is over",
                 Json{{"ending", *why}});
    return finish(channel, error_answer(ending));
  }
  if (verb == "start") {
    to_start_.emplace_back(channel, request);
    return start_next();
  }
  std::unique_ptr<Activity> activity;
  if (verb == "exec") {
    activity = make_exec(*this, channel, request);
  } else if (verb == "admit" || verb == "dial") {
    activity = make_own(*this, channel, verb);
  } else if (verb == "terminal") {
    activity = make_terminal(*this, channel, request);
  } else if (verb == "connect") {
    activity = make_connection(*this, channel, request);
  } else if (verb == "follow") {
    activity = make_follow(*this, channel, request);
  } else if (verb == "files") {
    activity = make_files(*this, channel, request);
  } else if (verb == "watch") {
    activity = make_watch(*this, channel, request);
  } else if (verb == "facts") {
    activity = make_facts(*this, channel);
  } else {
    Error unknown(ErrorKind::unsupported,
                  "this agent (" CHOLINE_VERSION ") has no verb '" + verb + "'");
    return finish(channel, error_answer(unknown));
  }
  if (activity) activities_[channel] = std::move(activity);  // null: it has answered already
}

void Server::on_data(uint32_t channel, int stream, std::string_view bytes) {
  auto found = activities_.find(channel);
  if (found == activities_.end() || stream != 1) return mux_.consumed(channel, bytes.size());
  found->second->on_data(bytes);
}

void Server::on_end(uint32_t channel) {
  auto found = activities_.find(channel);
  if (found != activities_.end()) found->second->on_end();
}

void Server::on_note(uint32_t channel, Json note) {
  auto found = activities_.find(channel);
  if (found != activities_.end()) found->second->on_note(note);
}

void Server::on_cancel(uint32_t channel) {
  activities_.erase(channel);
  mux_.answer(channel, error_answer(Error(ErrorKind::cancelled, "cancelled")));
}

// Told to all at the end of a turn: one that may fill its queue while others wait to be polled
// would have the link for itself.
void Server::on_room(uint32_t channel) {
  if (have_room_.empty()) {
    reactor_.post([this] {
      for (uint32_t id : std::exchange(have_room_, {})) {
        auto found = activities_.find(id);
        if (found != activities_.end()) found->second->on_room();
      }
      kick();
    });
  }
  have_room_.insert(channel);
}

}  // namespace choline
