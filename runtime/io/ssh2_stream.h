// The stdin and stdout of one command at a time over a login by libssh2. What flows beside another
// stream has a login of its own, so that neither waits for the other.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "io/ssh2_session.h"
#include "loop/co.h"
#include "loop/loop.h"

typedef struct _LIBSSH2_CHANNEL LIBSSH2_CHANNEL;  // NOLINT: a name of libssh2

namespace choline {

class Ssh2Stream {
 public:
  // Called from the loop, never from within a call; they may close() the stream, not destroy it.
  struct Handlers {
    std::function<void(std::string_view)> bytes;
    std::function<void()> writable;  // after a short write
    std::function<void()> ended;     // once; end() says how
  };
  struct End {
    std::optional<Error> broken;  // the connection is gone, and nothing is known of the command
    int code = 0;
    std::string complaint;  // the end of what the command wrote to stderr
  };

  Ssh2Stream(Loop& loop, std::unique_ptr<Ssh2Session> session);
  Ssh2Stream(const Ssh2Stream&) = delete;
  Ssh2Stream& operator=(const Ssh2Stream&) = delete;
  ~Ssh2Stream();

  // Kind refused: the host runs no command here, or none just now.
  Co<Status> start(std::string command);
  void listen(Handlers handlers);
  // Takes what fits without waiting and says how much.
  size_t write(std::string_view bytes);
  void end_input();
  void close();

  const End& end() const { return end_; }
  // The command has ended in order, and another one may be started.
  bool is_free() const { return session_ && !channel_ && !end_.broken; }
  const Ssh2Session& session() const { return *session_; }
  // The socket has something to say although no command runs: it was closed, most likely.
  bool has_news() const;

 private:
  // Whose message lies half sent in the connection. Until it is through nobody else may send, and
  // who reads may have to send, to widen the window.
  enum class Sender { none, writer, reader };

  bool is_over() const { return !channel_ || told_ || end_.broken; }
  void turn();
  void go_on();
  bool flush();
  void drain();
  int read_some_of(int stream, size_t& budget);
  bool may_read() const;
  void take_note(Sender who, long code);
  void at_end();
  void tell_end();
  void break_off(const std::string& why);
  void set_interest();
  void stop_watching();

  Loop& loop_;
  std::unique_ptr<Ssh2Session> session_;  // until close()
  LIBSSH2_CHANNEL* channel_ = nullptr;    // of the command; the session's
  Handlers handlers_;
  WatchId watch_ = 0;
  unsigned interest_ = 0;
  TimerId end_timer_ = 0;
  std::string out_;  // taken and not yet sent
  size_t sent_ = 0;  // of out_
  Sender sender_ = Sender::none;
  bool blocked_ = false, end_wanted_ = false, end_sent_ = false;
  bool starved_ = false, again_ = false, told_ = false;
  End end_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with what is posted
};

}  // namespace choline
