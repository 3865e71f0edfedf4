#include "transfer/stream.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace choline {

Result<size_t> FdStream::read(char* into, size_t most) {
  for (;;) {
    ssize_t got = ::read(in_, into, most);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) return errno_error("transfer: read", errno);
  }
}

void FdStream::abandon() {
  (void)shutdown(in_, SHUT_RD);
}

Status FdStream::write(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t put = ::send(out_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put < 0 && errno == ENOTSOCK) put = ::write(out_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error("transfer: write", errno);
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return done();
}

}  // namespace choline
