#include "durable/owned_run_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/text.h"

namespace choline {

namespace {

// An open-file-description lock: it belongs to the descriptor, not to whichever part of the process
// closes the file first.
struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

std::string read_text(const char* path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Field 22 of /proc/self/stat: the kernel's ticks at which this process started.
int64_t start_ticks() {
  std::string stat = read_text("/proc/self/stat");
  size_t name_end = stat.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return 0;
  std::vector<std::string> fields = split(std::string_view(stat).substr(name_end + 2), ' ');
  return fields.size() > 19 ? std::strtoll(fields[19].c_str(), nullptr, 10) : 0;
}

}  // namespace

Result<std::optional<RunLock>> RunLock::take(const std::string& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) return errno_error("make the run's folder '" + folder + "'", code.value());
  if (::chmod(folder.c_str(), 0700) != 0) return errno_error("protect '" + folder + "'", errno);
  std::string path = folder + "/lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return errno_error("open '" + path + "'", errno);
  struct flock lock = whole_file();
  if (::fcntl(fd.get(), F_OFD_SETLK, &lock) == 0) {
    return std::optional<RunLock>(RunLock(std::move(fd)));
  }
  if (errno == EAGAIN || errno == EACCES) return std::optional<RunLock>();
  return errno_error("lock '" + path + "'", errno);
}

bool RunLock::is_held(const std::string& folder) {
  UniqueFd fd(::open((folder + "/lock").c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  struct flock lock = whole_file();
  return ::fcntl(fd.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

Json describe_this_process(double now) {
  char host[256] = "";
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  std::string boot = read_text("/proc/sys/kernel/random/boot_id");
  return {{"host", host},
          {"boot", std::string(trim(boot))},
          {"pid", ::getpid()},
          {"started", start_ticks()},
          {"since", now}};
}

}  // namespace choline
