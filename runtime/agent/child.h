// A short-lived child of the agent with pipes to it: ended with the object, or with the agent.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "agent/process.h"
#include "agent/reactor.h"

namespace choline {

class Child {
 public:
  struct Events {
    // At most as many bytes as room() said.
    std::function<void(int stream, std::string_view)> output;
    std::function<size_t()> room;
    std::function<void(size_t)> input_taken;
    // Once, when it has ended and its output was read; may destroy the Child by a post.
    std::function<void(int wait_status)> ended;
  };

  Child(Reactor& reactor, Events events) : reactor_(reactor), events_(std::move(events)) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();  // kills what still runs

  Status start(const Program& program);
  void write(std::string_view bytes);
  void end_input();
  void room_again();  // room() has grown
  void kill(int number);
  pid_t pid() const { return pid_; }

 private:
  struct Output {
    UniqueFd fd;
    Reactor::Id watch = 0;
  };
  void pump(int stream);
  void feed();
  void check_end();
  void close_output(Output& output);

  Reactor& reactor_;
  Events events_;
  pid_t pid_ = 0;  // 0: not started, or reaped
  Output outputs_[2];
  UniqueFd input_;
  Reactor::Id input_watch_ = 0;
  std::string pending_;  // input
  bool input_ends_ = false;
  bool exited_ = false, told_ = false;
  int status_ = 0;
};

}  // namespace choline
