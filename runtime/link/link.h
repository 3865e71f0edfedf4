// A byte stream to the far side: a pipe to a child process, later a channel of ssh. Above it
// nothing knows which.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace choline {

// Callbacks come from the loop, never from within a call to the link. They may close() the link but
// not destroy it.
class Link {
 public:
  struct Handlers {
    std::function<void(std::string_view)> bytes;
    std::function<void()> writable;     // after a short write
    std::function<void(Error)> closed;  // by the far side, once; never after close()
  };

  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  virtual ~Link() = default;

  // May be called again: the new owner hears what comes from then on.
  virtual void listen(Handlers handlers) = 0;
  // Takes what fits without waiting and says how much; less than all means: wait for `writable`.
  virtual size_t write(std::string_view bytes) = 0;
  virtual void close() = 0;
  // For messages: "pipe to /bin/sh".
  virtual std::string name() const = 0;
};

}  // namespace choline
