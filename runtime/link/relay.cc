#include "link/relay.h"

#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "io/fd.h"
#include "loop/await.h"

namespace choline {

namespace {

constexpr size_t kPiece = size_t{64} << 10;
constexpr uint32_t kWideWindow = 1 << 20;  // under way to us, for one connection

// Both directions of one connection.
class Relay {
 public:
  Relay(Loop& loop, UniqueFd near, std::unique_ptr<AgentChannel> channel)
      : loop_(loop), near_(std::move(near)), channel_(std::move(channel)), over_(loop) {}
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  ~Relay() = default;

  Co<Status> run() {
    std::function<void(Status)> sent = [this](Status status) {
      if (!status) end(status.error());
    };
    std::function<void(Status)> came = [this](Status status) { end(std::move(status)); };
    up_ = Started(send_up(), std::move(sent));
    down_ = Started(bring_down(), std::move(came));
    Event::Waiter waiter(over_);
    co_await waiter;
    if (*result_) co_return done();
    linger reset{1, 0};
    if (::setsockopt(near_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset) != 0) {
      co_return errno_error("reset a connection", errno);
    }
    Error why = result_->error();
    if (!why.fields.is_object()) why.fields = Json::object();
    if (began_) why.fields["began"] = true;
    co_return why;
  }

 private:
  void end(Status status) {
    if (!result_) result_.emplace(std::move(status));
    over_.set();
  }

  Co<Status> send_up() {
    for (;;) {
      Result<std::string> bytes = co_await read_some(loop_, near_.get(), kPiece);
      if (!bytes) co_return bytes.error();
      if (bytes->empty()) break;
      Status sent = co_await channel_->write(std::move(*bytes));
      // The far side has answered: what that was is read by the other direction.
      if (!sent) co_return done();
    }
    channel_->end();
    co_return done();
  }

  Co<Status> bring_down() {
    for (;;) {
      Result<std::optional<AgentChannel::Chunk>> chunk = co_await channel_->read();
      if (!chunk) co_return chunk.error();
      if (!*chunk) break;
      if ((*chunk)->stream == 0) continue;
      began_ = true;
      Status written = co_await write_all(loop_, near_.get(), std::move((*chunk)->bytes));
      if (!written) co_return written;
    }
    // Not yet known is whether this was an end or a failure; only an end is told by itself.
    if (!channel_->answered() && ::shutdown(near_.get(), SHUT_WR) != 0) {
      co_return errno_error("end a connection", errno);
    }
    Result<Json> answer = co_await channel_->answer();
    if (!answer) co_return answer.error();
    co_return done();
  }

  Loop& loop_;
  UniqueFd near_;
  std::unique_ptr<AgentChannel> channel_;
  bool began_ = false;
  std::optional<Status> result_;
  Event over_;
  Started up_, down_;
};

}  // namespace

std::string to_text(const RelayTarget& target) {
  return target.socket.empty() ? target.host + ":" + std::to_string(target.port) : target.socket;
}

Co<Status> relay(Loop& loop, std::shared_ptr<AgentClient> agent, UniqueFd near,
                 RelayTarget target) {
  Json args = target.socket.empty() ? Json{{"host", target.host}, {"port", target.port}}
                                    : Json{{"socket", target.socket}};
  Result<std::unique_ptr<AgentChannel>> channel =
      agent->open_channel("connect", std::move(args), kWideWindow);
  if (!channel) co_return channel.error();
  Relay both(loop, std::move(near), std::move(*channel));
  Status ended = co_await both.run();
  co_return ended;
}

}  // namespace choline
