// The end of a direct transfer that is dialled. What the login may do lies only here, in memory:
// its key leads to a process that hands over its descriptors, and to nothing once one has come.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "agent/direct.h"
#include "agent/process.h"
#include "agent/reactor.h"
#include "base/text.h"
#include "transfer/authorized_keys.h"
#include "transfer/lane.h"
#include "transfer/named_socket.h"
#include "transfer/serve.h"

namespace choline {

namespace {

constexpr int64_t kAdmittedFor = 3600;  // seconds, if nobody lives to take the line out before
constexpr size_t kHello = 1;            // bytes with the descriptors

std::string desk_name(const std::string& id) {
  return "choline-direct-" + id;
}

std::string own_path() {
  char path[4096];
  ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : std::string();
}

// A process of its own session, with nothing of our environment, that takes the line out when we
// let go of it, however we end.
class Sweeper {
 public:
  Status start(const std::string& home, const std::string& id, bool made) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return errno_error("make a socket pair", errno);
    }
    leash_.reset(ends[0]);
    UniqueFd far(ends[1]);
    pid_t between = ::fork();
    if (between < 0) return errno_error("fork", errno);
    if (between == 0) run(far.get(), home, id, made);
    while (::waitpid(between, nullptr, 0) < 0 && errno == EINTR) {
    }
    far.reset();
    return wait_for_a_byte() ? done() : Error(ErrorKind::io, "cannot start what takes a key out");
  }
  void release() { ::shutdown(leash_.get(), SHUT_WR); }
  void wait() { (void)wait_for_a_byte(); }

 private:
  [[noreturn]] static void run(int leash, const std::string& home, const std::string& id,
                               bool made) {
    ::setsid();
    // A child of nobody here: it outlives those who are ended with all that they began.
    if (::fork() != 0) ::_exit(0);
    int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(leash, STDIN_FILENO);
    for (int target : {STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing, target);
    close_from(3);
    // The mark of the instance, by which all that runs on it is ended, is not for this one.
    char* nothing_more[] = {nullptr};
    environ = nothing_more;
    execute_self({"choline-agent", "sweep", home.c_str(), id.c_str(), made ? "1" : "0"});
    ::_exit(sweep_admitted(home, id, made));
  }
  bool wait_for_a_byte() {
    char byte = 0;
    ssize_t got = 0;
    do {
      got = ::read(leash_.get(), &byte, 1);
    } while (got < 0 && errno == EINTR);
    return got == 1;
  }

  UniqueFd leash_;
};

// Descriptors of whatever kind sshd gave them.
class HandedStream : public Stream {
 public:
  HandedStream(int in, int out) : in_(in, out, reading_), out_(in, out, writing_) {}
  Result<size_t> read(char* into, size_t most) override { return in_.read(into, most); }
  Status write(std::string_view bytes) override { return out_.write(bytes); }
  void abandon() override { reading_.wake(); }

 private:
  LaneWaker reading_, writing_;
  LaneStream in_, out_;
};

// The first login that comes; whoever comes later meets nobody.
Status take_login(UniqueFd desk, UniqueFd& caller, UniqueFd& in, UniqueFd& out) {
  for (;;) {
    caller.reset(::accept4(desk.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!caller && errno == EINTR) continue;
    if (!caller) return errno_error("accept a login", errno);
    std::string hello(kHello, '\0');
    if (is_ours(caller.get()) && take_descriptors(caller.get(), hello, in, out)) return done();
  }
}

Result<SyncReport> serve_login(const Json& job, Sweeper& sweeper, UniqueFd desk) {
  UniqueFd caller, in, out;
  Status came = take_login(std::move(desk), caller, in, out);
  sweeper.release();  // the key has served
  if (!came.ok()) return came.error();
  HandedStream stream(in.get(), out.get());
  Status greeted = stream.write(kDirectReady);
  if (!greeted.ok()) return greeted.error();
  return serve_given(stream, job.value("request", Json()), {}, nullptr);
}

Result<UniqueFd> open_desk(const std::string& home, const AdmittedKey& key, Sweeper& sweeper) {
  if (key.id.empty()) return Error(ErrorKind::invalid, "direct: the login has no id");
  if (!home.starts_with('/')) return Error(ErrorKind::unsupported, "the login has no home there");
  UniqueFd desk = listen_by_name(desk_name(key.id), 1);
  if (!desk) return errno_error("wait for a login", errno);
  Status ready = sweeper.start(home, key.id, !has_authorized_keys(home));
  if (ready.ok()) ready = admit_key(home, key);
  if (!ready.ok()) return ready.error();
  return desk;
}

}  // namespace

int admit_transfer() {
  ::signal(SIGPIPE, SIG_IGN);
  Result<Json> job = read_direct_job();
  if (!job.ok()) return tell_direct_end(job.error());
  const char* home = ::getenv("HOME");
  AdmittedKey key;
  key.id = job->value("id", "");
  key.key = job->value("key", "");
  key.command = shell_quote(own_path()) + " admitted " + key.id;
  key.until = static_cast<int64_t>(wall_seconds()) + kAdmittedFor;
  Sweeper sweeper;
  Result<UniqueFd> desk = open_desk(home ? home : "", key, sweeper);
  if (!desk.ok()) return tell_direct_end(desk.error());
  end_with_input();
  say_direct(Json{{"admitted", true}});
  Result<SyncReport> report = serve_login(*job, sweeper, std::move(*desk));
  sweeper.wait();
  return tell_direct_end(report);
}

int enter_admitted(const std::string& id) {
  ::signal(SIGPIPE, SIG_IGN);
  UniqueFd desk = call_by_name(desk_name(id));
  bool taken = desk && is_ours(desk.get()) &&
               send_descriptors(desk.get(), STDIN_FILENO, STDOUT_FILENO, std::string(kHello, 'd'));
  if (!taken) {
    ::dprintf(STDERR_FILENO, "choline: this key has served, or its transfer has ended\n");
    return 1;
  }
  char nothing = 0;
  while (::read(desk.get(), &nothing, 1) < 0 && errno == EINTR) {
  }
  return 0;
}

int sweep_admitted(const std::string& home, const std::string& id, bool made) {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  char byte = 'r';
  if (::write(STDIN_FILENO, &byte, 1) != 1) return 1;
  while (::read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR) {
  }
  return expel_key(home, id, made).ok() ? 0 : 1;
}

}  // namespace choline
