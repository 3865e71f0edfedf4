// native.sys: this process and this machine.
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "base/unique_fd.h"
#include "io/files.h"
#include "io/process.h"
#include "loop/await.h"
#include "native/module.h"
#include "native/services.h"
#include "native/signals.h"

namespace choline {

namespace {

constexpr int kClosedPipe = 141;  // as the shell says of a program ended by SIGPIPE

Result<Json> env(Services&, const Json& args) {
  Result<std::string> name = string_arg(args, 0, "sys.env");
  if (!name) return name.error();
  const char* value = std::getenv(name->c_str());
  return value ? Json(std::string(value)) : Json();
}

Result<Json> cwd(Services&, const Json&) {
  std::string folder(4096, '\0');
  if (!getcwd(folder.data(), folder.size())) return errno_error("find the current folder", errno);
  folder.resize(folder.find('\0'));
  return Json(std::move(folder));
}

Result<Json> folders(Services& services, const Json&) {
  const Folders& all = services.folders;
  return Json{{"config", all.config},         {"state", all.state}, {"cache", all.cache},
              {"executable", all.executable}, {"agent", all.agent}, {"share", all.share}};
}

std::string user_name() {
  std::string buffer(4096, '\0');
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found) {
    return found->pw_name;
  }
  return std::to_string(geteuid());
}

Result<Json> facts(Services& services, const Json&) {
  utsname names{};
  if (uname(&names) != 0) return errno_error("uname", errno);
  long pages = sysconf(_SC_PHYS_PAGES);
  long page = sysconf(_SC_PAGESIZE);
  return Json{{"host", names.nodename},
              {"user", user_name()},
              {"pid", static_cast<int64_t>(getpid())},
              {"os", names.sysname},
              {"arch", names.machine},
              {"cpus", static_cast<int64_t>(sysconf(_SC_NPROCESSORS_ONLN))},
              {"memory", static_cast<int64_t>(pages) * page},
              {"install", services.install()}};
}

Result<Json> terminal(Services&, const Json& args) {
  Result<int64_t> fd = integer_arg(args, 0, "sys.terminal");
  if (!fd) return fd.error();
  winsize size{};
  if (!isatty(static_cast<int>(*fd))) return Json();
  if (ioctl(static_cast<int>(*fd), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    size.ws_col = 80;
    size.ws_row = 24;
  }
  return Json{{"columns", int64_t{size.ws_col}}, {"rows", int64_t{size.ws_row}}};
}

Result<Json> write_out(Services&, const Json& args) {
  Result<int64_t> fd = integer_arg(args, 0, "sys.write");
  if (!fd) return fd.error();
  Result<std::string> text = string_arg(args, 1, "sys.write");
  if (!text) return text.error();
  if (*fd != 1 && *fd != 2) return Error(ErrorKind::invalid, "native.sys.write: fd must be 1 or 2");
  int target = static_cast<int>(*fd);
  size_t done = 0;
  while (done < text->size()) {
    ssize_t count = ::write(target, text->data() + done, text->size() - done);
    if (count >= 0) {
      done += static_cast<size_t>(count);
    } else if (errno == EPIPE) {
      _exit(kClosedPipe);
    } else if (errno == EAGAIN) {
      pollfd ready{target, POLLOUT, 0};
      if (poll(&ready, 1, -1) < 0 && errno != EINTR) return errno_error("wait for output", errno);
    } else if (errno != EINTR) {
      return errno_error(target == 1 ? "write to standard output" : "write to standard error",
                         errno);
    }
  }
  return Json();
}

Result<Json> read_line(Services&, const Json&) {
  std::string line;
  bool any = false;
  // One byte at a time, so that nothing is taken from whoever reads this input after us.
  for (char byte = 0;;) {
    ssize_t count = ::read(STDIN_FILENO, &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error("read standard input", errno);
    if (count == 0) break;
    any = true;
    if (byte == '\n') break;
    line += byte;
  }
  return any ? Json(std::move(line)) : Json();
}

Result<Json> exit_now(Services&, const Json& args) {
  Result<int64_t> code = integer_arg(args, 0, "sys.exit");
  if (!code) return code.error();
  _exit(static_cast<int>(*code));
}

Result<Json> disk_free(Services&, const Json& args) {
  Result<std::string> path = string_arg(args, 0, "sys.disk_free");
  if (!path) return path.error();
  Result<DiskSpace> space = disk_space(*path);
  if (!space) return space.error();
  return Json(static_cast<int64_t>(space->free));
}

// --- programs
// -------------------------------------------------------------------------------------

Result<std::vector<std::string>> argv_arg(const Json& args, std::string_view what) {
  Result<std::vector<std::string>> argv = texts_arg(args, 0, what);
  if (argv && argv->empty()) {
    return Error(ErrorKind::invalid, "native." + std::string(what) + ": no program was named");
  }
  return argv;
}

Result<RunOptions> run_options(const Json& args) {
  Result<std::vector<std::string>> argv = argv_arg(args, "sys.run");
  if (!argv) return argv.error();
  RunOptions options;
  options.spawn.argv = std::move(*argv);
  const Json& given = arg(args, 1);
  if (given.is_null()) return options;
  if (!given.is_object())
    return Error(ErrorKind::invalid, "native.sys.run: options must be a table");
  for (auto field = given.begin(); field != given.end(); ++field) {
    const std::string& key = field.key();
    if (key == "dir" && field->is_string()) {
      options.spawn.folder = field->get<std::string>();
    } else if (key == "input" && field->is_string()) {
      options.input = field->get<std::string>();
    } else if (key == "timeout" && field->is_number()) {
      options.timeout = field->get<double>();
    } else if (key == "env" && field->is_object()) {
      for (auto item = field->begin(); item != field->end(); ++item) {
        if (!item->is_string()) {
          return Error(ErrorKind::invalid, "native.sys.run: env." + item.key() + " is no string");
        }
        options.spawn.extra_env[item.key()] = item->get<std::string>();
      }
    } else {
      return Error(ErrorKind::invalid, "native.sys.run: unknown or wrong option '" + key + "'");
    }
  }
  if (!options.input.empty()) options.spawn.in = Stdio::pipe;
  return options;
}

Co<Result<Json>> run(Services& services, Json args) {
  Result<RunOptions> options = run_options(args);
  if (!options) co_return options.error();
  std::string program = options->spawn.argv[0];
  double timeout = options->timeout;
  Result<RunResult> result = co_await run_process(services.loop, std::move(*options));
  if (!result) co_return result.error();
  if (result->timed_out) {
    co_return Error(ErrorKind::timeout,
                    "'" + program + "' did not end within " + std::to_string(timeout) + " s");
  }
  Json out = Json::object();
  out["code"] = static_cast<int64_t>(result->status.code);
  out["out"] = std::move(result->out);
  out["err"] = std::move(result->err);
  co_return out;
}

Result<Json> detach(Services&, const Json& args) {
  Result<std::vector<std::string>> argv = argv_arg(args, "sys.detach");
  if (!argv) return argv.error();
  Result<std::string> log = string_arg(args, 1, "sys.detach");
  if (!log) return log.error();
  UniqueFd file(open(log->c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!file) return errno_error("open '" + *log + "'", errno);
  SpawnOptions options;
  options.argv = std::move(*argv);
  options.in = Stdio::null;
  options.out_fd = file.get();
  options.err_fd = file.get();
  options.detached = true;
  Result<Spawned> child = spawn(options);
  if (!child) return child.error();
  return Json(static_cast<int64_t>(child->pid));
}

// The terminal belongs to the child while it runs: it is in the foreground, and Ctrl-C is its own.
class Foreground {
 public:
  explicit Foreground(pid_t group) {
    if (!isatty(STDIN_FILENO)) return;
    before_ = signal(SIGTTOU, SIG_IGN);
    given_ = tcsetpgrp(STDIN_FILENO, group) == 0;
  }
  Foreground(const Foreground&) = delete;
  Foreground& operator=(const Foreground&) = delete;
  ~Foreground() {
    if (given_ && tcsetpgrp(STDIN_FILENO, getpgrp()) != 0) given_ = false;
    if (before_ != SIG_ERR) signal(SIGTTOU, before_);
  }

 private:
  sighandler_t before_ = SIG_ERR;
  bool given_ = false;
};

Co<Result<Json>> interactive(Services& services, Json args) {
  Result<std::vector<std::string>> argv = argv_arg(args, "sys.interactive");
  if (!argv) co_return argv.error();
  SpawnOptions options;
  options.argv = std::move(*argv);
  options.in = options.out = options.err = Stdio::inherit;
  Result<Spawned> spawned = spawn(options);
  if (!spawned) co_return spawned.error();
  pid_t pid = spawned->pid;
  Foreground foreground(pid);
  Child child(services.loop, std::move(*spawned));
  ExitStatus status = co_await child.wait();
  co_return Json(static_cast<int64_t>(status.code));
}

Co<Result<Json>> next_signal(Services& services, Json) {
  Signals& signals = services.signals();
  while (signals.empty()) co_await signals.wait();
  co_return Json(signals.take());
}

}  // namespace

NativeModule sys_module() {
  return {"sys",
          {{"env", env},
           {"cwd", cwd},
           {"folders", folders},
           {"facts", facts},
           {"terminal", terminal},
           {"write", write_out},
           {"read_line", read_line},
           {"run", run},
           {"detach", detach},
           {"interactive", interactive},
           {"next_signal", next_signal},
           {"exit", exit_now},
           {"disk_free", disk_free}}};
}

}  // namespace choline
