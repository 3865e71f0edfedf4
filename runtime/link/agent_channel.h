// One channel to an agent: bytes both ways under flow control, notes, and an answer at the end.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "loop/co.h"

namespace choline {

class AgentSession;

// Destroying it cancels the request at the agent. One reader and one writer at a time.
class AgentChannel {
 public:
  struct State;
  struct Chunk {
    int stream = 1;     // 2: stderr
    std::string bytes;  // empty: no more will come
  };

  AgentChannel(std::shared_ptr<AgentSession> session, std::shared_ptr<State> state);
  AgentChannel(const AgentChannel&) = delete;
  AgentChannel& operator=(const AgentChannel&) = delete;
  ~AgentChannel();

  // Waits for data; what is read makes room for as much more.
  Co<Result<Chunk>> read();
  // Waits until all is queued under the peer's credit; not until it has arrived.
  Co<Status> write(std::string bytes);
  // No more writes.
  void end();
  void note(Json note);
  // The next note, or nullopt when the answer has come.
  Co<Result<std::optional<Json>>> next_note();
  // Waits for the answer; data that nobody read is dropped.
  Co<Result<Json>> answer();

 private:
  std::shared_ptr<AgentSession> session_;  // shared: a channel may outlive its client
  std::shared_ptr<State> state_;           // shared with the session, which fills it
};

}  // namespace choline
