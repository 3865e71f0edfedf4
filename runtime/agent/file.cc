#include "agent/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/unique_fd.h"

namespace choline {

Result<std::string> read_file(const std::string& path, size_t limit) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error("open '" + path + "'", errno);
  std::string text;
  char buffer[8192];
  while (true) {
    ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read '" + path + "'", errno);
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > limit) return Error(ErrorKind::invalid, "'" + path + "' is too long");
  }
}

Status write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno_error("write", errno);
    bytes.remove_prefix(static_cast<size_t>(wrote));
  }
  return done();
}

Status write_file(const std::string& path, std::string_view bytes) {
  // Two agents may write one file at a time.
  std::string aside = path + "." + std::to_string(::getpid()) + ".tmp";
  UniqueFd fd(::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return errno_error("create '" + aside + "'", errno);
  Status wrote = write_all(fd.get(), bytes);
  if (!wrote) return wrote;
  if (::fsync(fd.get()) != 0) return errno_error("sync '" + aside + "'", errno);
  if (::rename(aside.c_str(), path.c_str()) != 0) {
    return errno_error("rename '" + aside + "'", errno);
  }
  return done();
}

Status sync_folder(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error("open '" + path + "'", errno);
  // Some file systems cannot sync a folder; there is nothing better to do on those.
  if (::fsync(fd.get()) != 0 && errno != EINVAL) return errno_error("sync '" + path + "'", errno);
  return done();
}

Status make_folders(const std::string& path) {
  for (size_t end = 1; end != std::string::npos;) {
    end = path.find('/', end);
    std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST && errno != EISDIR && errno != EROFS &&
        errno != EACCES) {
      return errno_error("make folder '" + part + "'", errno);
    }
    if (end != std::string::npos) end++;
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return errno_error("make folder '" + path + "'", errno);
  return S_ISDIR(info.st_mode)
             ? done()
             : Status(Error(ErrorKind::conflict, "'" + path + "' is not a folder"));
}

}  // namespace choline
