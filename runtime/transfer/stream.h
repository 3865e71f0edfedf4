// A blocking byte stream: what the transfer protocol itself runs over, on both ends. No loop here,
// so that the agent can use it. See docs/design/transfer.md.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/result.h"

namespace choline {

class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  // At least one byte, or 0 at the end.
  virtual Result<size_t> read(char* into, size_t most) = 0;
  // All of it, or an error.
  virtual Status write(std::string_view bytes) = 0;
  // From any thread: a read() that waits, and each one after it, ends.
  virtual void abandon() {}
};

// Over blocking descriptors, which may be the same (a socket). Does not own them. The process must
// ignore SIGPIPE.
class FdStream : public Stream {
 public:
  FdStream(int in, int out) : in_(in), out_(out) {}
  Result<size_t> read(char* into, size_t most) override;
  Status write(std::string_view bytes) override;
  void abandon() override;  // of a socket only

 private:
  int in_;
  int out_;
};

}  // namespace choline
