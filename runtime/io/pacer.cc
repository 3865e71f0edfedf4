#include "io/pacer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "base/unique_fd.h"
#include "io/files.h"
#include "loop/await.h"

namespace choline {
namespace {

// A turn further off than this was written under another clock.
constexpr double kFarthest = 900;

// When the next turn of a name begins, in wall seconds, as a line in a file of that name. Held for
// a few system calls only.
class NextTurn {
 public:
  Status open(const std::string& folder, const std::string& name) {
    Status made = make_folders(folder, 0700);
    if (!made) return made;
    path_ = folder + "/" + name;
    file_.reset(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (file_.get() < 0) return errno_error("open " + path_, errno);
    while (::flock(file_.get(), LOCK_EX) != 0) {
      if (errno != EINTR) return errno_error("lock " + path_, errno);
    }
    return done();
  }

  double read(double now) const {
    char text[64] = {};
    ssize_t got = ::pread(file_.get(), text, sizeof text - 1, 0);
    double next = got > 0 ? std::strtod(text, nullptr) : 0;
    return next > now && next < now + kFarthest ? next : now;
  }

  Status write(double next) const {
    char text[64];
    int length = std::snprintf(text, sizeof text, "%-32.6f\n", next);
    if (::pwrite(file_.get(), text, static_cast<size_t>(length), 0) != length) {
      return errno_error("write " + path_, errno);
    }
    return done();
  }

 private:
  std::string path_;
  UniqueFd file_;
};

}  // namespace

Co<Status> Pacer::turn(std::string name, double interval) {
  double wait = 0;
  {
    NextTurn next;
    Status opened = next.open(folder_, name);
    if (!opened) co_return opened;
    double now = loop_.wall();
    double mine = next.read(now);
    Status written = next.write(mine + interval);
    if (!written) co_return written;
    wait = mine - now;
  }
  if (wait > 0) {
    Sleep until_then(loop_, wait);
    co_await until_then;
  }
  co_return done();
}

Status Pacer::hold(const std::string& name, double seconds) {
  NextTurn next;
  Status opened = next.open(folder_, name);
  if (!opened) return opened;
  double now = loop_.wall();
  return next.write(std::max(next.read(now), now + std::min(seconds, kFarthest / 2)));
}

}  // namespace choline
