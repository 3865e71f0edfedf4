#include "agent/keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "agent/command.h"
#include "agent/file.h"
#include "agent/lease.h"
#include "agent/process.h"
#include "agent/reactor.h"
#include "link/protocol.h"

namespace choline {

namespace {

constexpr int kReportFd = 3;
constexpr time_t kLookAtLease = 5;  // seconds; its keeper may have been killed
constexpr size_t kRcSize = 256;     // bytes set aside for rc, so that a full disk cannot swallow it

void report(const Json& what) {
  // A failed write means that the agent has gone; the command goes on all the same.
  if (!write_all(kReportFd, to_text(what))) ::close(kReportFd);
}

Result<Program> read_spec() {
  std::string text;
  char buffer[65536];
  while (true) {
    ssize_t got = ::read(0, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read the command", errno);
    if (got == 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  Result<Json> spec = parse_json(text);
  if (!spec) return spec.error();
  Program program;
  program.argv = spec->at("argv").get<std::vector<std::string>>();
  program.env = spec->at("env").get<std::vector<std::string>>();
  program.dir = spec->at("dir").get<std::string>();
  return program;
}

class Keeper {
 public:
  explicit Keeper(const std::string& folder) : files_{folder} {
    place_.root = folder.substr(0, folder.rfind("/.choline/commands/"));
    if (const char* tag = ::getenv("CHOLINE_INSTANCE")) place_.tag = tag;
  }
  int run();

 private:
  Result<bool> claim();
  Status prepare();
  Status launch(const Program& program);
  int wait_for_end();
  void write_end(int status);
  void complain(const std::string& text);

  Place place_;
  CommandFiles files_;
  PidFile pid_;
  UniqueFd lock_, log_, rc_;
  OomCount oom_before_;
  double started_ticks_ = 0;
};

// True: this process is the one that starts the command.
Result<bool> Keeper::claim() {
  std::string path = files_.path("lock");
  lock_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_) return errno_error("open '" + path + "'", errno);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    return errno_error("lock '" + path + "'", errno);
  }
  if (::access(files_.path("rc").c_str(), F_OK) == 0 || read_pid_file(files_)) return false;
  std::optional<ProcessName> self = name_process(::getpid());
  if (!self) return Error(ErrorKind::unsupported, "/proc is not mounted on the instance");
  pid_.keeper = *self;
  pid_.boot = boot_id();
  pid_.started = wall_seconds();
  return true;
}

Status Keeper::prepare() {
  std::string log = files_.path("log");
  log_.reset(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log_) return errno_error("create '" + log + "'", errno);
  std::string rc = files_.path("rc.tmp");
  rc_.reset(::open(rc.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!rc_) return errno_error("create '" + rc + "'", errno);
  Status reserved = write_all(rc_.get(), std::string(kRcSize, ' '));
  if (!reserved) return reserved;
  // From here on a key with this name is taken for good.
  Status wrote = write_file(files_.path("pid"), to_text(to_json(pid_)));
  if (!wrote) return wrote;
  return sync_folder(files_.folder);
}

Status Keeper::launch(const Program& program) {
  sigset_t ends;  // waited for in wait_for_end
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &ends, nullptr);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  oom_before_ = oom_count();
  Result<Pipe> gate = make_pipe();
  if (!gate) return gate.error();
  pid_t self = ::getpid();
  pid_t child = ::fork();
  if (child < 0) return errno_error("fork", errno);
  if (child == 0) {
    // Nothing runs before its number is written down; a keeper that dies before lets go of the
    // gate.
    gate->write.reset();
    ::close(kReportFd);
    char go = 0;
    if (::read(gate->read.get(), &go, 1) != 1) ::_exit(127);
    execute(program, self, ExecFds{-1, log_.get(), log_.get()});
  }
  gate->read.reset();
  std::optional<ProcessName> name = name_process(child);
  pid_.command = name ? *name : ProcessName{child, 0};
  Status wrote = write_file(files_.path("pid"), to_text(to_json(pid_)));
  started_ticks_ = boot_seconds();
  if (!wrote || !write_all(gate->write.get(), "g")) {
    ::kill(child, SIGKILL);
    return wrote ? Status(Error(ErrorKind::crashed, "the command died before it began")) : wrote;
  }
  return done();
}

// The command is left as a zombie until rc is written, so that its number names nobody else.
int Keeper::wait_for_end() {
  sigset_t ends;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGCHLD);
  const timespec look{kLookAtLease, 0};
  while (true) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG) != 0) {
      if (errno == EINTR) continue;
      return 127 << 8;
    }
    if (info.si_pid == 0) {
      if (::sigtimedwait(&ends, nullptr, &look) != SIGCHLD) Lease(place_).guard();
      continue;
    }
    if (info.si_pid == pid_.command.pid) {
      return info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
    }
    ::waitpid(info.si_pid, nullptr, 0);
  }
}

void Keeper::complain(const std::string& text) {
  Status wrote = write_all(log_.get(), "choline: " + text + "\n");
  (void)wrote;  // there is nowhere else to say it
}

void Keeper::write_end(int status) {
  OomCount after = oom_count();
  bool killed = exit_signal(status) == SIGKILL || exit_code(status) == 128 + SIGKILL;
  // The count of the whole machine may be somebody else's kill, so it needs the signal as well.
  bool oom = after.kills > oom_before_.kills && after.ours == oom_before_.ours &&
             (after.ours ? exit_code(status) != 0 : killed);
  std::string text = to_text(Json{{"code", exit_code(status)},
                                  {"signal", exit_signal(status)},
                                  {"oom", oom},
                                  {"ended", wall_seconds()},
                                  {"seconds", boot_seconds() - started_ticks_}});
  text.resize(kRcSize, ' ');  // over the bytes set aside
  if (::pwrite(rc_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
      ::fsync(rc_.get()) != 0 ||
      ::rename(files_.path("rc.tmp").c_str(), files_.path("rc").c_str()) != 0) {
    complain(std::string("cannot write how the command ended: ") + ::strerror(errno));
    return;
  }
  if (Status synced = sync_folder(files_.folder); !synced) complain(synced.error().message);
}

int Keeper::run() {
  Result<Program> program = read_spec();
  if (!program) {  // the agent died while it wrote: nobody has been told that anything runs
    report(error_answer(program.error()));
    return 1;
  }
  Result<bool> mine = claim();
  if (!mine) {
    report(error_answer(mine.error()));
    return 1;
  }
  if (!*mine) {
    std::optional<PidFile> other = read_pid_file(files_);
    report(Json{{"already", true}, {"pid", other ? other->command.pid : 0}});
    return 0;
  }
  Status ready = prepare();
  if (ready) ready = launch(*program);
  if (!ready) {
    ::unlink(files_.path("pid").c_str());  // nothing ran: the key may be started again
    report(error_answer(ready.error()));
    return 1;
  }
  report(Json{{"already", false}, {"pid", pid_.command.pid}});
  ::close(kReportFd);
  int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(nothing, 0);
  int status = wait_for_end();
  write_end(status);
  ::waitpid(pid_.command.pid, nullptr, 0);
  return 0;
}

}  // namespace

int keep_command(const std::string& folder) {
  ::fcntl(kReportFd, F_SETFD, FD_CLOEXEC);
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  try {
    return Keeper(folder).run();
  } catch (const std::exception& broken) {
    report(error_answer(Error(ErrorKind::io, broken.what())));
    return 1;
  }
}

}  // namespace choline
