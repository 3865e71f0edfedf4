#include "transfer/shell_lane.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/text.h"
#include "io/process.h"

namespace choline {

namespace {

constexpr size_t kMostGreeting = 256 << 10;  // what a login may print

// The child that carries a lane; ends with it.
class Carrier {
 public:
  explicit Carrier(pid_t pid) : pid_(pid) {}
  Carrier(const Carrier&) = delete;
  Carrier& operator=(const Carrier&) = delete;
  ~Carrier() {
    ::kill(-pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

 private:
  pid_t pid_;
};

Status wait_for_agent(LaneStream& stream) {
  std::string heard;
  char letter = 0;
  while (heard.size() < kMostGreeting) {
    // One by one: what follows belongs to the lane.
    Status status = stream.read_all(&letter, 1);
    if (!status.ok()) return status;
    heard += letter;
    if (heard.ends_with(kLaneReady)) return done();
  }
  return Error(ErrorKind::refused, "transfer: the shell of a lane prints without end");
}

}  // namespace

LaneOpener shell_lanes(ShellRoute route) {
  return [route](uint64_t, const LaneWaker& waker) -> Result<LanePipe> {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return errno_error("make a socket pair", errno);
    }
    UniqueFd near(ends[0]), far(ends[1]);
    SpawnOptions options;
    options.argv = route.argv;
    if (route.clean_env) options.env.emplace();
    options.extra_env = route.env;
    options.folder = route.dir;
    options.in_fd = options.out_fd = far.get();
    options.err = Stdio::null;
    Result<Spawned> spawned = spawn(options);
    if (!spawned.ok()) return spawned.error();
    LanePipe pipe;
    pipe.holder = std::make_shared<Carrier>(spawned->pid);
    far.reset();
    LaneStream stream(near.get(), near.get(), waker);
    Status status = stream.write("exec " + shell_quote(route.agent) + " lane\n");
    if (status.ok()) status = wait_for_agent(stream);
    if (!status.ok()) return status.error();
    pipe.out.reset(::dup(near.get()));
    pipe.in = std::move(near);
    return pipe;
  };
}

}  // namespace choline
