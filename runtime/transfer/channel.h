// A byte stream to the far end of a transfer, as the loop sees it. A link makes one for each
// transfer; the far end runs serve_transfer() (transfer/serve.h).
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"
#include "loop/co.h"

namespace choline {

// Destroying a Channel closes both directions. At most one read and one write are waited for at a
// time, but a read and a write may overlap. Destroying the Co of a read loses no bytes; destroying
// that of a write may leave a part of the bytes written, and the channel is then of no more use.
class Channel {
 public:
  Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  virtual ~Channel() = default;

  // Between 1 and `most` bytes; an empty string when the far end has closed and all was read.
  virtual Co<Result<std::string>> read(size_t most) = 0;
  // Returns when the bytes were taken (flow control included). Fails once the far end has closed:
  // a writer must not wait for ever for a peer that has gone.
  virtual Co<Status> write(std::string bytes) = 0;
};

}  // namespace choline
