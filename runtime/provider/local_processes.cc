#include "provider/local_processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>

#include "base/time.h"
#include "base/unique_fd.h"

namespace choline {
namespace {

struct Process {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t session = 0;
  char state = '?';
  unsigned long long started = 0;  // ticks since boot: tells it from a later one with its number
  bool marked = false;
};

// Files of /proc have no size; nullopt when the process has gone or is someone else's.
std::optional<std::string> read_proc(pid_t pid, const char* name) {
  std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::string text;
  char buffer[16384];
  for (;;) {
    ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
  }
}

bool has_variable(const std::string& environment, const std::string& setting) {
  size_t at = 0;
  while (at < environment.size()) {
    size_t end = environment.find('\0', at);
    if (end == std::string::npos) end = environment.size();
    if (environment.compare(at, end - at, setting) == 0) return true;
    at = end + 1;
  }
  return false;
}

std::optional<Process> look(pid_t pid, const std::string& setting) {
  std::optional<std::string> stat = read_proc(pid, "stat");
  if (!stat) return std::nullopt;
  // The name is in parentheses and may hold any character: what follows starts at the last ')'.
  size_t close = stat->rfind(')');
  if (close == std::string::npos) return std::nullopt;
  Process process;
  process.pid = pid;
  // state ppid pgrp session, then fields 7 to 21, then the start in ticks since boot.
  if (std::sscanf(stat->c_str() + close + 1,
                  " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                  &process.state, &process.parent, &process.session, &process.started) != 4) {
    return std::nullopt;
  }
  if (process.state == 'Z' || process.state == 'X') return std::nullopt;  // dead already
  std::optional<std::string> environment = read_proc(pid, "environ");
  process.marked = environment && has_variable(*environment, setting);
  return process;
}

std::vector<Process> all_processes(const std::string& setting) {
  std::vector<Process> processes;
  std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc"), closedir);
  if (!folder) return processes;
  while (dirent* entry = readdir(folder.get())) {
    pid_t pid = 0;
    const char* end = entry->d_name + std::char_traits<char>::length(entry->d_name);
    auto [stop, fault] = std::from_chars(entry->d_name, end, pid);
    if (fault != std::errc() || stop != end) continue;
    if (std::optional<Process> process = look(pid, setting)) processes.push_back(*process);
  }
  return processes;
}

// All processes of the instance: the marked ones, and what follows from them.
std::vector<Process> members(const std::string& tag) {
  std::vector<Process> processes = all_processes(std::string(kInstanceVariable) + "=" + tag);
  std::set<pid_t> ours;
  for (const Process& process : processes) {
    if (process.marked && process.pid != getpid()) ours.insert(process.pid);
  }
  for (bool grew = !ours.empty(); grew;) {
    grew = false;
    for (const Process& process : processes) {
      if (process.pid == getpid() || ours.contains(process.pid)) continue;
      if (!ours.contains(process.parent) && !ours.contains(process.session)) continue;
      ours.insert(process.pid);
      grew = true;
    }
  }
  std::erase_if(processes, [&](const Process& process) { return !ours.contains(process.pid); });
  return processes;
}

// By descriptor, and only when it still is the process that was looked at: the number may have
// been given to another one meanwhile.
void kill_process(const Process& process) {
  int raw = static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0));
  if (raw < 0) return;  // gone
  UniqueFd fd(raw);
  std::optional<Process> now = look(process.pid, "");
  if (!now || now->started != process.started) return;
  syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0);
}

}  // namespace

std::vector<pid_t> local_processes(const std::string& tag) {
  std::vector<pid_t> pids;
  for (const Process& process : members(tag)) pids.push_back(process.pid);
  return pids;
}

bool kill_local_processes(const std::string& tag, double patience) {
  double until = boot_now() + patience;
  for (;;) {
    std::vector<Process> left = members(tag);
    if (left.empty()) return true;
    for (const Process& process : left) kill_process(process);
    if (boot_now() > until) return false;
    poll(nullptr, 0, 2);  // lets them die before the next look
  }
}

}  // namespace choline
