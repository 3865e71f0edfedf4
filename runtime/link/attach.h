// A command or a shell over there that has this process's input and output: a pipe through the
// link, or a terminal.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "io/terminal.h"
#include "link/agent_client.h"
#include "link/escape.h"
#include "loop/await.h"

namespace choline {

struct AttachRequest {
  AgentCommand command;  // neither text nor list: the login shell
  std::string dir;
  std::map<std::string, std::string> env;
  bool terminal = false;  // the input is a terminal; the command gets one too
  bool input = true;      // false: it gets an empty input
};

// Made when the link is there; ends what runs over there when it is destroyed.
class Attached {
 public:
  static Result<std::unique_ptr<Attached>> open(Loop& loop, AgentClient& agent,
                                                AttachRequest request);
  Attached(Loop& loop, std::unique_ptr<AgentChannel> channel, const AttachRequest& request);
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;
  ~Attached();

  // Until it has ended: its exit code, or 128 + the signal that ended it. An error of kind lost
  // when the link died; 141 when nobody reads the output any more.
  Co<Result<int>> run();
  // A signal came here. The first is passed on (a terminal has keys for that: there it means the
  // end); the second, or seconds after one that asks us to end, the command is killed.
  void signal(int number);
  void resized();
  void continued();
  void suspend();

 private:
  Co<Status> send_input();
  Co<Status> send_keys();
  Co<Status> read_keys();
  Co<Status> show_output();
  Co<Status> show(int fd, std::string bytes);
  bool take_keys(std::string_view keys);
  void leave(int code);
  void over(Result<int> result);

  Loop& loop_;
  std::unique_ptr<AgentChannel> channel_;
  bool terminal_, input_;
  std::optional<RawTerminal> raw_;
  EscapeFilter escape_;
  std::string keys_;     // typed and not yet under way
  Event keys_changed_;   // keys were added or taken
  UniqueFd out_[2];      // descriptions of our own, so that those others share stay as they are
  bool waits_first_[2];  // it could not be had: it may block, so it is asked before each write
  std::optional<Result<int>> result_;
  Event over_;
  std::optional<int> leaving_;  // with this exit code
  bool interrupted_ = false;    // a SIGINT was passed on
  TimerId timer_ = 0;
  Started reading_, sending_, showing_;
};

}  // namespace choline
