#include "io/fd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "loop/await.h"

namespace choline {

Status set_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return errno_error("fcntl", errno);
  return done();
}

Co<Result<std::string>> read_some(Loop& loop, int fd, size_t most) {
  std::string buffer(most, '\0');
  for (;;) {
    ssize_t got = read(fd, buffer.data(), most);
    if (got >= 0) {
      buffer.resize(static_cast<size_t>(got));
      co_return buffer;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return errno_error("read", errno);
    co_await FdReady(loop, fd, kReadable);
  }
}

Co<Status> write_all(Loop& loop, int fd, std::string bytes) {
  size_t written = 0;
  while (written < bytes.size()) {
    ssize_t put = send(fd, bytes.data() + written, bytes.size() - written, MSG_NOSIGNAL);
    if (put < 0 && errno == ENOTSOCK)
      put = write(fd, bytes.data() + written, bytes.size() - written);
    if (put >= 0) {
      written += static_cast<size_t>(put);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return errno_error("write", errno);
    co_await FdReady(loop, fd, kWritable);
  }
  co_return done();
}

}  // namespace choline
