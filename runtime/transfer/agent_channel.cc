#include "transfer/agent_channel.h"

#include <optional>
#include <utility>

namespace choline {

namespace {

class AgentTransferChannel : public Channel {
 public:
  explicit AgentTransferChannel(std::unique_ptr<AgentChannel> channel)
      : channel_(std::move(channel)) {}

  Co<Result<std::string>> read(size_t most) override {
    while (at_ == buffer_.size()) {
      Result<std::optional<AgentChannel::Chunk>> chunk = co_await channel_->read();
      if (!chunk) co_return chunk.error();
      if (!*chunk) {
        // The end of the stream; an agent that could not serve says why in its answer.
        Result<Json> answer = co_await channel_->answer();
        if (!answer) co_return answer.error();
        co_return std::string();
      }
      if ((*chunk)->stream != 1) continue;
      buffer_ = std::move((*chunk)->bytes);
      at_ = 0;
    }
    if (at_ == 0 && buffer_.size() <= most) {
      at_ = 0;
      std::string all = std::exchange(buffer_, {});
      co_return all;
    }
    std::string part = buffer_.substr(at_, most);
    at_ += part.size();
    co_return part;
  }

  Co<Status> write(std::string bytes) override {
    Status wrote = co_await channel_->write(std::move(bytes));
    co_return wrote;
  }

 private:
  std::unique_ptr<AgentChannel> channel_;
  std::string buffer_;  // read from the agent and not yet taken
  size_t at_ = 0;
};

}  // namespace

Result<std::unique_ptr<Channel>> open_transfer_channel(AgentClient& client, uint32_t window) {
  Result<std::unique_ptr<AgentChannel>> channel =
      client.open_channel("files", Json::object(), window);
  if (!channel) return channel.error();
  return std::unique_ptr<Channel>(std::make_unique<AgentTransferChannel>(std::move(*channel)));
}

}  // namespace choline
