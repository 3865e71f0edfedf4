// One channel to an agent: bytes both ways under flow control, notes, and an answer at the end.
#pragma once

#include <functional>
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
    int stream = 1;  // 1 or 2 (stderr): bytes; 0: a note
    std::string bytes;
    Json note;
  };

  AgentChannel(std::shared_ptr<AgentSession> session, std::shared_ptr<State> state);
  AgentChannel(const AgentChannel&) = delete;
  AgentChannel& operator=(const AgentChannel&) = delete;
  ~AgentChannel();

  // Waits for data or a note, in the order in which they were sent; nullopt: no more will come.
  Co<Result<std::optional<Chunk>>> read();
  // Waits until all is queued under the peer's credit; not until it has arrived.
  Co<Status> write(std::string bytes);
  // No more writes.
  void end();
  void note(Json note);
  // The answer is there already: its reader does not wait.
  bool answered() const;
  // Waits for the answer; what nobody has read by then is dropped.
  Co<Result<Json>> answer();
  // Writes all of `input` and ends it while reading; `take` gets each chunk. Gives the answer.
  Co<Result<Json>> exchange(std::string input, std::function<void(const Chunk&)> take);

 private:
  std::shared_ptr<AgentSession> session_;  // shared: a channel may outlive its client
  std::shared_ptr<State> state_;           // shared with the session, which fills it
};

}  // namespace choline
