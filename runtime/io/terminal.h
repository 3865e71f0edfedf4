// The terminal that this process is on: its size, and raw mode that is undone on every way out.
#pragma once

#include <termios.h>

#include <optional>

#include "base/result.h"

namespace choline {

struct WindowSize {
  unsigned rows = 24, columns = 80;
};
// Nothing when `fd` is no terminal.
std::optional<WindowSize> window_size(int fd);

// Raw while it lives, except where it was left for a while. A signal that ends the process by its
// nature (SIGSEGV, SIGABRT, SIGQUIT, ...) puts the terminal back first; those that the loop handles
// are its owner's. At most one at a time.
class RawTerminal {
 public:
  explicit RawTerminal(int fd);
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal();

  // Neither does anything while this process is in the background: the terminal is another's then.
  void enter();
  void leave();
  // Puts the terminal back, stops this process as Ctrl-Z does, and returns in raw mode again.
  void suspend();

 private:
  int fd_;
  bool known_ = false, raw_ = false;
  termios before_{};
};

}  // namespace choline
