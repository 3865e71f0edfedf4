// What an AgentClient and its channels share: the link, the mux over it, and their end.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "link/agent_channel.h"
#include "link/agent_client.h"
#include "link/link.h"
#include "link/protocol.h"
#include "loop/await.h"

namespace choline {

struct AgentChannel::State {
  explicit State(Loop& loop) : changed(loop) {}
  uint32_t id = 0;  // 0: it waits until the agent has a channel to spare
  std::deque<Chunk> inbox;
  std::deque<Json> early;  // notes sent while it waited
  bool early_end = false;  // its owner has nothing to send any more
  bool ended = false;
  std::optional<Json> answer;
  Event changed;  // anything above, room to send, or the death of the link
};

class AgentSession : private MuxHandler {
 public:
  AgentSession(Loop& loop, std::unique_ptr<Link> link, ClientOptions options);
  ~AgentSession() override;

  void start();
  bool alive() const { return !death_; }
  bool greeted() const { return greeted_; }
  Error death() const;
  void die(Error error);
  void close();
  const Json& hello() const { return hello_; }
  const std::string& link_name() const { return link_name_; }
  Loop& loop() { return loop_; }
  Mux& mux() { return mux_; }
  Event& changed() { return changed_; }  // greeted or dead

  // Waits for its turn where the agent serves no more channels now, unseen by the caller. Requests
  // that are soon answered have channels of their own, so that no number of long ones stops them.
  Result<std::shared_ptr<AgentChannel::State>> open(Json request, uint32_t window);
  void end(AgentChannel::State& state);
  void note(AgentChannel::State& state, Json note);
  void drop(AgentChannel::State& state);
  // Something was queued: write it.
  void kick();

  std::function<void(Error)> on_death;

 private:
  void on_hello(Json hello) override;
  void on_answer(uint32_t channel, Json answer) override;
  void on_note(uint32_t channel, Json note) override;
  void on_data(uint32_t channel, int stream, std::string_view bytes) override;
  void on_end(uint32_t channel) override;
  void on_room(uint32_t channel) override;
  struct Waiting {
    Json request;
    uint32_t window;
    std::shared_ptr<AgentChannel::State> state;
  };
  bool has_channel(bool for_short) const;
  void begin(Waiting request);
  void admit();
  void received(std::string_view bytes);
  void keep_alive();

  Loop& loop_;
  std::unique_ptr<Link> link_;
  std::string link_name_;
  ClientOptions options_;
  Mux mux_;
  std::map<uint32_t, std::shared_ptr<AgentChannel::State>> channels_;
  std::deque<Waiting> short_, long_;  // in the order in which they came
  Event changed_;
  Json hello_;
  bool greeted_ = false;
  std::optional<Error> death_;
  TimerId timer_ = 0;
  int silent_ = 0;       // intervals in which nothing came
  std::string pending_;  // whole frames on their way out
  size_t sent_ = 0;      // of pending_
  bool writing_ = false;
};

}  // namespace choline
