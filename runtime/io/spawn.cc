// The fork and everything between it and exec, where only async-signal-safe calls are allowed.
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/text.h"
#include "io/fd.h"
#include "io/process.h"

extern char** environ;

namespace choline {

namespace {

enum class Stage : int { setup, folder, exec };
struct Failure {
  Stage stage;
  int code;
};

// Everything the child needs, prepared before the fork: it may not allocate.
struct Plan {
  std::vector<std::string> programs;  // paths to try in order
  std::vector<char*> argv, env;
  std::vector<std::string> env_texts;
  const char* folder = nullptr;
  std::array<int, 3> stdio = {-1, -1, -1};
  bool detached = false;
  pid_t parent = 0;
  int report = -1;
};

std::map<std::string, std::string> our_environment() {
  std::map<std::string, std::string> out;
  for (char** entry = environ; entry && *entry; ++entry) {
    std::string_view text = *entry;
    size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      out.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return out;
}

std::vector<std::string> candidates(const std::string& program,
                                    const std::map<std::string, std::string>& env) {
  if (program.find('/') != std::string::npos) return {program};
  auto path = env.find("PATH");
  std::vector<std::string> out;
  for (const std::string& folder : split(path == env.end() ? "/usr/bin:/bin" : path->second, ':')) {
    out.push_back((folder.empty() ? "." : folder) + "/" + program);
  }
  return out;
}

[[noreturn]] void fail(const Plan& plan, Stage stage) {
  Failure failure{stage, errno};
  ssize_t put = write(plan.report, &failure, sizeof failure);
  _exit(put == sizeof failure ? 127 : 126);
}

void close_others(int keep) {
  // `keep` is above 2 and marked close-on-exec.
  unsigned kept = static_cast<unsigned>(keep);
  bool done = (kept == 3 || syscall(SYS_close_range, 3U, kept - 1, 0U) == 0) &&
              syscall(SYS_close_range, kept + 1, ~0U, 0U) == 0;
  if (done) return;
  long most = sysconf(_SC_OPEN_MAX);
  for (int fd = 3; fd < (most > 0 && most < 65536 ? most : 65536); ++fd) {
    if (fd != keep) close(fd);
  }
}

[[noreturn]] void become(const Plan& plan) {
  if (plan.detached ? setsid() < 0 : setpgid(0, 0) < 0) fail(plan, Stage::setup);
  if (!plan.detached) {
    // Ours only for as long as we live. The parent may have died before the call.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail(plan, Stage::setup);
    if (getppid() != plan.parent) _exit(126);
  }
  // The loop blocks signals for its signalfd and ignores SIGPIPE; the program starts clean.
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int target = 0; target < 3; ++target) {
    // All sources are above 2 (see source_for), so no dup2 overwrites one that is still needed.
    int source = plan.stdio[static_cast<size_t>(target)];
    if (source >= 0 && dup2(source, target) < 0) fail(plan, Stage::setup);
  }
  close_others(plan.report);
  if (plan.folder && chdir(plan.folder) != 0) fail(plan, Stage::folder);
  int worst = ENOENT;
  for (const std::string& program : plan.programs) {
    execve(program.c_str(), plan.argv.data(), plan.env.data());
    if (errno != ENOENT && errno != ENOTDIR) worst = errno;
    if (errno == E2BIG || errno == ENOMEM) break;
  }
  errno = worst;
  fail(plan, Stage::exec);
}

// A descriptor above 2 for the child, kept in `hold` where it is ours to close.
Result<int> source_for(Stdio kind, int given, int mode, UniqueFd& hold, UniqueFd& our_end) {
  if (given >= 0) {
    hold.reset(fcntl(given, F_DUPFD_CLOEXEC, 3));
  } else if (kind == Stdio::null) {
    hold.reset(open("/dev/null", mode | O_CLOEXEC));
  } else if (kind == Stdio::pipe) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe", errno);
    our_end.reset(ends[mode == O_RDONLY ? 1 : 0]);
    hold.reset(ends[mode == O_RDONLY ? 0 : 1]);
    Status status = set_nonblocking(our_end.get());
    if (!status.ok()) return status.error();
  } else {
    return -1;
  }
  if (hold && hold.get() < 3) hold.reset(fcntl(hold.get(), F_DUPFD_CLOEXEC, 3));
  if (!hold) return errno_error("prepare stdio", errno);
  return hold.get();
}

Error start_error(const SpawnOptions& options, const Failure& failure) {
  switch (failure.stage) {
    case Stage::folder:
      return errno_error("start in folder '" + options.folder + "'", failure.code);
    case Stage::exec:
      return errno_error("start '" + options.argv[0] + "'", failure.code);
    case Stage::setup:
      break;
  }
  return errno_error("prepare the start of '" + options.argv[0] + "'", failure.code);
}

}  // namespace

Result<Spawned> spawn(const SpawnOptions& options) {
  if (options.argv.empty()) return Error(ErrorKind::invalid, "no program to start");
  std::map<std::string, std::string> env = options.env ? *options.env : our_environment();
  for (const auto& [name, value] : options.extra_env) env[name] = value;

  Plan plan;
  plan.programs = candidates(options.argv[0], env);
  std::vector<std::string> arguments = options.argv;
  for (std::string& argument : arguments) plan.argv.push_back(argument.data());
  plan.argv.push_back(nullptr);
  for (const auto& [name, value] : env) plan.env_texts.push_back(name + "=" + value);
  for (std::string& text : plan.env_texts) plan.env.push_back(text.data());
  plan.env.push_back(nullptr);
  if (!options.folder.empty()) plan.folder = options.folder.c_str();
  plan.detached = options.detached;
  plan.parent = getpid();

  Spawned spawned;
  std::array<UniqueFd, 3> held;
  Result<int> in = source_for(options.in, options.in_fd, O_RDONLY, held[0], spawned.in);
  if (!in.ok()) return in.error();
  Result<int> out = source_for(options.out, options.out_fd, O_WRONLY, held[1], spawned.out);
  if (!out.ok()) return out.error();
  Stdio err_kind = options.err_to_out ? Stdio::inherit : options.err;
  Result<int> err = source_for(err_kind, options.err_fd, O_WRONLY, held[2], spawned.err);
  if (!err.ok()) return err.error();
  // With nothing named for stdout, its errors go where our stdout goes.
  int err_source = options.err_to_out ? (*out >= 0 ? *out : STDOUT_FILENO) : *err;
  plan.stdio = {*in, *out, err_source};

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe", errno);
  UniqueFd reports(ends[0]), report(ends[1]);
  if (report.get() < 3) report.reset(fcntl(report.get(), F_DUPFD_CLOEXEC, 3));
  plan.report = report.get();

  // No signal handler of ours may run in the child before it has reset them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  spawned.pid = fork();
  if (spawned.pid == 0) become(plan);
  int fork_errno = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (spawned.pid < 0) return errno_error("fork", fork_errno);

  report.reset();
  Failure failure{};
  ssize_t got = 0;
  do {
    got = read(reports.get(), &failure, sizeof failure);  // the end, once exec has worked
  } while (got < 0 && errno == EINTR);
  if (got != sizeof failure) return spawned;
  while (waitpid(spawned.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return start_error(options, failure);
}

}  // namespace choline
