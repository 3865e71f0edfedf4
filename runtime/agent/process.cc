#include "agent/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>

#include "agent/file.h"
#include "base/text.h"

extern char** environ;

namespace choline {

namespace {

struct Stat {
  char state = '?';
  pid_t parent = 0;
  pid_t session = 0;
  uint64_t ticks = 0;
};

template <class T>
T number(std::string_view text) {
  T value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The name in field 2 may hold blanks and brackets, so fields count from the last ')'.
std::optional<Stat> read_stat(pid_t pid) {
  // Of its first thread: an emulator forges what a process reads of itself.
  std::string name = std::to_string(pid);
  Result<std::string> text = read_file("/proc/" + name + "/task/" + name + "/stat", 4096);
  if (!text) return std::nullopt;
  size_t bracket = text->rfind(')');
  if (bracket == std::string::npos || bracket + 2 >= text->size()) return std::nullopt;
  std::vector<std::string> fields = split(std::string_view(*text).substr(bracket + 2), ' ');
  if (fields.size() < 20) return std::nullopt;
  return Stat{fields[0].empty() ? '?' : fields[0][0], number<pid_t>(fields[1]),
              number<pid_t>(fields[3]), number<uint64_t>(fields[19])};
}

std::optional<uint64_t> counter(const std::string& path, std::string_view name) {
  Result<std::string> text = read_file(path, 65536);
  if (!text) return std::nullopt;
  for (const std::string& line : split(*text, '\n')) {
    std::vector<std::string> words = split(line, ' ');
    if (words.size() == 2 && words[0] == name) return number<uint64_t>(words[1]);
  }
  return std::nullopt;
}

bool is_name(std::string_view text) {
  return !text.empty() && text.find('=') == std::string_view::npos &&
         text.find('\0') == std::string_view::npos;
}

// The given PATH, with the usual folders behind it where it lacks them.
std::string sane_path(const char* given) {
  std::vector<std::string> folders = split(given ? given : "", ':');
  std::erase(folders, "");
  for (const char* usual :
       {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}) {
    if (std::find(folders.begin(), folders.end(), usual) == folders.end()) {
      folders.emplace_back(usual);
    }
  }
  return join(folders, ":");
}

Error bad(std::string text) {
  return Error(ErrorKind::invalid, std::move(text));
}

std::string find_program(const char* name) {
  for (const char* folder : {"/bin/", "/usr/bin/", "/usr/local/bin/"}) {
    std::string path = std::string(folder) + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

// The shell that the list of users has for us; where it cannot be run (/usr/sbin/nologin runs, and
// ends at once: whoever came here has a shell already), the plain one.
std::string login_shell() {
  Result<std::string> users = read_file("/etc/passwd", size_t{4} << 20);
  std::string mine = std::to_string(::geteuid());
  for (const std::string& line : split(users ? *users : "", '\n')) {
    std::vector<std::string> fields = split(line, ':');
    if (fields.size() < 7 || fields[2] != mine) continue;
    std::string shell(trim(fields[6]));
    bool ends_at_once = shell.ends_with("/nologin") || shell.ends_with("/false");
    if (!shell.empty() && !ends_at_once && ::access(shell.c_str(), X_OK) == 0) return shell;
    break;
  }
  return "/bin/sh";
}

Result<std::vector<std::string>> read_command(const Json& command) {
  if (!command.is_object()) return bad("command: expected an object with shell, list or login");
  if (command.contains("shell")) {
    const Json& text = command["shell"];
    if (!text.is_string()) return bad("command.shell: expected a string");
    std::string bash = find_program("bash");
    std::string script = text.get<std::string>();
    if (!bash.empty()) return std::vector<std::string>{bash, "-e", "-o", "pipefail", "-c", script};
    return std::vector<std::string>{"/bin/sh", "-e", "-c", script};
  }
  const Json list = command.value("list", Json());
  if (!list.is_array() || list.empty()) return bad("command.list: expected a list of strings");
  std::vector<std::string> argv;
  for (const Json& word : list) {
    if (!word.is_string()) return bad("command.list: expected a list of strings");
    argv.push_back(word.get<std::string>());
  }
  return argv;
}

}  // namespace

std::optional<ProcessName> name_process(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  std::optional<Stat> stat = read_stat(pid);
  if (!stat || stat->state == 'Z' || stat->state == 'X') return std::nullopt;
  return ProcessName{pid, stat->ticks};
}

bool is_alive(const ProcessName& process) {
  std::optional<ProcessName> now = name_process(process.pid);
  return now && now->ticks == process.ticks;
}

std::string boot_id() {
  Result<std::string> text = read_file("/proc/sys/kernel/random/boot_id", 128);
  return text ? std::string(trim(*text)) : std::string();
}

OomCount oom_count() {
  if (Result<std::string> groups = read_file("/proc/self/cgroup", 65536)) {
    for (const std::string& line : split(*groups, '\n')) {
      std::vector<std::string> parts = split(line, ':');
      if (parts.size() < 3) continue;
      std::string path = join({parts.begin() + 2, parts.end()}, ":");
      // Version 2 has one line "0::/path"; version 1 one for each controller.
      std::vector<std::string> files;
      if (parts[0] == "0" && parts[1].empty()) {
        files = {"/sys/fs/cgroup" + path + "/memory.events", "/sys/fs/cgroup/memory.events"};
      } else if (parts[1] == "memory") {
        files = {"/sys/fs/cgroup/memory" + path + "/memory.oom_control",
                 "/sys/fs/cgroup/memory/memory.oom_control"};
      }
      for (const std::string& file : files) {
        if (std::optional<uint64_t> kills = counter(file, "oom_kill")) return {*kills, true};
      }
    }
  }
  return {counter("/proc/vmstat", "oom_kill").value_or(0), false};
}

void kill_group(pid_t leader, int number) {
  if (leader > 1) ::kill(-leader, number);
}

std::vector<ProcessName> descendants(pid_t root) {
  std::multimap<pid_t, ProcessName> children;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", failed)) {
    pid_t pid = number<pid_t>(entry.path().filename().native());
    if (pid <= 1) continue;
    if (std::optional<Stat> stat = read_stat(pid))
      children.emplace(stat->parent, ProcessName{pid, stat->ticks});
  }
  std::vector<ProcessName> found{ProcessName{root, 0}};
  std::set<pid_t> seen{root};
  for (size_t i = 0; i < found.size(); i++) {
    auto [first, last] = children.equal_range(found[i].pid);
    for (auto child = first; child != last; ++child) {
      if (seen.insert(child->second.pid).second) found.push_back(child->second);
    }
  }
  found.erase(found.begin());
  return found;
}

int kill_session(pid_t leader, int signal) {
  int found = 0;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", failed)) {
    pid_t pid = number<pid_t>(entry.path().filename().native());
    if (pid <= 1) continue;
    std::optional<Stat> stat = read_stat(pid);
    if (!stat || stat->session != leader || stat->state == 'Z' || stat->state == 'X') continue;
    if (signal != 0) ::kill(pid, signal);
    found++;
  }
  return found;
}

void kill_tree(pid_t root, int signal) {
  for (const ProcessName& process : descendants(root)) ::kill(process.pid, signal);
}

bool is_marked(pid_t pid, const std::string& entry) {
  Result<std::string> env = read_file("/proc/" + std::to_string(pid) + "/environ", size_t{4} << 20);
  return env && ('\0' + *env).find('\0' + entry + '\0') != std::string::npos;
}

int kill_marked(const std::string& entry) {
  int found = 0;
  std::error_code failed;
  for (const auto& process : std::filesystem::directory_iterator("/proc", failed)) {
    pid_t pid = number<pid_t>(process.path().filename().native());
    if (pid <= 1 || pid == ::getpid() || !is_marked(pid, entry)) continue;
    ::kill(pid, SIGKILL);
    found++;
  }
  return found;
}

std::string true_path(const Place& place, std::string_view path) {
  if (path.empty() || path == "~") return place.root;
  if (path.starts_with("~/")) path.remove_prefix(2);
  bool absolute = path.starts_with('/');
  if (absolute && !place.jail) return std::string(path);
  if (!place.jail) return place.root + "/" + std::string(path);
  std::vector<std::string> kept;  // ".." stops at the root of the jail
  for (std::string& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!kept.empty()) kept.pop_back();
    } else {
      kept.push_back(std::move(part));
    }
  }
  return kept.empty() ? place.root : place.root + "/" + join(kept, "/");
}

Result<Program> read_program(const Json& request, const Place& place) {
  Program program;
  const Json command = request.value("command", Json());
  if (command.is_object() && command.value("login", Json()) == true) {
    program.file = login_shell();
    // The dash makes it read the files of a login, as after `ssh HOST`.
    program.argv = {"-" + program.file.substr(program.file.rfind('/') + 1)};
  } else {
    Result<std::vector<std::string>> argv = read_command(command);
    if (!argv) return argv.error();
    program.argv = std::move(*argv);
  }
  for (const std::string& word : program.argv) {
    if (word.find('\0') != std::string::npos) return bad("command: a word holds a zero byte");
  }
  const Json dir = request.value("dir", Json(""));
  if (!dir.is_string()) return bad("dir: expected a string");
  program.dir = true_path(place, dir.get<std::string>());

  std::map<std::string, std::string> env;
  for (char** entry = environ; *entry; entry++) {
    std::string_view text(*entry);
    size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      env.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  env["PATH"] = sane_path(std::getenv("PATH"));
  env["HOME"] = place.root;
  env["PWD"] = program.dir;
  env.erase("OLDPWD");
  const Json more = request.value("env", Json::object());
  if (!more.is_object()) return bad("env: expected an object");
  for (const auto& [name, value] : more.items()) {
    if (!is_name(name) || !value.is_string() ||
        value.get_ref<const std::string&>().find('\0') != std::string::npos) {
      return bad("env: " + choline::quoted(name) +
                 " is no name, or its value no string without zero bytes");
    }
    env[name] = value.get<std::string>();
  }
  if (!place.tag.empty()) env["CHOLINE_INSTANCE"] = place.tag;
  if (!program.file.empty()) env["SHELL"] = program.file;
  for (const auto& [name, value] : env) program.env.push_back(name + "=" + value);

  struct stat info {};
  if (::stat(program.dir.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return Error(ErrorKind::not_found, "the folder " + choline::quoted(dir.get<std::string>()) +
                                           " of the command does not exist on the instance (" +
                                           program.dir + "); sync to it, or make it first");
  }
  return program;
}

namespace {
std::optional<rlimit> file_limit_before;
}

void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  rlimit raised = limit;
  raised.rlim_cur = std::min<rlim_t>(limit.rlim_max, 65536);
  if (raised.rlim_cur <= limit.rlim_cur) return;
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) file_limit_before = limit;
}

void restore_defaults() {
  // Some programs break where there are more than 1024.
  if (file_limit_before) ::setrlimit(RLIMIT_NOFILE, &*file_limit_before);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; number++) ::sigaction(number, &plain, nullptr);
}

void close_from(int first) {
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0U, 0) == 0) return;
#endif
  long most = std::min(::sysconf(_SC_OPEN_MAX), 65536L);
  for (int fd = first; fd < most; fd++) ::close(fd);
}

void execute(const Program& program, pid_t parent, const ExecFds& fds) {
  restore_defaults();
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  // Copies above 2 first, so that no source is overwritten before its turn.
  int sources[3] = {fds.in, fds.out, fds.err};
  for (int& source : sources) source = ::fcntl(source < 0 ? nothing : source, F_DUPFD_CLOEXEC, 10);
  for (int target = 0; target < 3; target++) {
    if (::dup2(sources[target], target) < 0) ::_exit(127);
  }
  execute_here(program);
}

void execute_here(const Program& program) {
  close_from(3);
  if (::chdir(program.dir.c_str()) != 0) {
    ::dprintf(2, "choline: cannot enter %s: %s\n", program.dir.c_str(), ::strerror(errno));
    ::_exit(127);
  }
  std::vector<char*> argv, env;
  for (const std::string& word : program.argv) argv.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& word : program.env) env.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  env.push_back(nullptr);
  environ = env.data();  // execvp looks for the program in the PATH of the command
  const char* file = program.file.empty() ? argv[0] : program.file.c_str();
  ::execvp(file, argv.data());
  int code = errno;
  ::dprintf(2, "choline: cannot run %s: %s\n", file, ::strerror(code));
  ::_exit(code == ENOENT ? 127 : 126);
}

int signal_of(const Json& note) {
  const Json number = note.value("signal", Json());
  if (!number.is_number_unsigned() || number.get<uint64_t>() >= NSIG) return 0;
  return number.get<int>();
}

void execute_self(std::vector<const char*> words) {
  // The name behind the link: an emulator knows its guest's, while the link itself is its own.
  char path[4096];
  ssize_t size = ::readlink("/proc/self/exe", path, sizeof path - 1);
  if (size <= 0) return;
  path[size] = 0;
  words.push_back(nullptr);
  ::execv(path, const_cast<char**>(words.data()));
}

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return errno_error("make a pipe", errno);
  Pipe pipe;
  pipe.read.reset(fds[0]);
  pipe.write.reset(fds[1]);
  return pipe;
}

int exit_code(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
int exit_signal(int status) {
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace choline
