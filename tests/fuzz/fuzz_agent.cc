// The agent's Server and all its verbs, against a client that sends anything. It runs in this
// process and over true pipes; what it forks ends at once, and its signals go nowhere, so that no
// input can do harm.
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "agent/server.h"
#include "tape.h"

namespace {
int fork_count = 0;
}

// In place of those of libc. A raw call: the child runs nothing of ours and none of the
// sanitizer's.
extern "C" pid_t fork() {
  if (++fork_count % 8 == 0) {
    errno = EAGAIN;
    return -1;
  }
  auto pid = static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (pid == 0) ::syscall(SYS_exit_group, fork_count % 3);
  return pid;
}
extern "C" int kill(pid_t, int) {
  return 0;
}

using namespace choline;
using namespace choline::fuzz;

namespace {

// Plays the input into a server, a piece for each of its turns, and then hangs up.
class Client {
 public:
  Client(Tape& tape, int to) : tape_(tape), to_(to) {}
  ~Client() { hang_up(); }
  void attach(Server& server) { next(server); }

 private:
  void next(Server& server) {
    server.reactor().timer(0.0002, [this, &server] {
      if (tape_.done()) return hang_up();
      std::string frame = make_frame(tape_);
      // It never waits for the server: what does not fit is lost, which is one more lie.
      if (::write(to_, frame.data(), frame.size()) < 0 && errno != EAGAIN) return hang_up();
      next(server);
    });
  }
  void hang_up() {
    if (to_ >= 0) ::close(to_);
    to_ = -1;
  }
  Tape& tape_;
  int to_;
};

struct Folder {
  Folder() : path("/tmp/choline-fuzz-" + std::to_string(::getpid())) { clear(); }
  ~Folder() { std::filesystem::remove_all(path); }
  void clear() const {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  std::string path;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static Folder folder;
  Tape tape(bytes, size);
  fork_count = tape.byte();
  int ends[2];
  require(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  // Full after a while: what the client never reads.
  int out[2];
  require(::pipe2(out, O_CLOEXEC | O_NONBLOCK) == 0);
  std::string hello = hello_frame();
  if (tape.byte() % 8 != 0) require(::write(ends[1], hello.data(), hello.size()) > 0);
  {
    Place place;
    place.root = folder.path;
    place.tag = "cho-fuzz";
    place.jail = true;
    Server server(place, ends[0], out[1]);
    Client client(tape, ends[1]);
    client.attach(server);
    (void)server.run();
  }
  for (int fd : {ends[0], out[0], out[1]}) ::close(fd);
  if (std::filesystem::exists(folder.path + "/.choline")) folder.clear();
  return 0;
}
