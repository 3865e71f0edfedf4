// Reading and writing non-blocking descriptors from coroutines.
#pragma once

#include <string>

#include "base/result.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

Status set_nonblocking(int fd);

// Between 1 and `most` bytes; an empty string at the end. The descriptor must stay open meanwhile.
Co<Result<std::string>> read_some(Loop& loop, int fd, size_t most);
// All of `bytes`. Fails with EPIPE when the reader has gone; for a pipe, the process must ignore
// SIGPIPE.
Co<Status> write_all(Loop& loop, int fd, std::string bytes);

}  // namespace choline
