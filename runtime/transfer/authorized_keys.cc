#include "transfer/authorized_keys.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>

#include "base/random.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "transfer/posix.h"

namespace choline {

namespace {

constexpr size_t kMostFile = size_t{4} << 20;
constexpr std::string_view kComment = " choline-direct-";
constexpr std::string_view kExpiry = "expiry-time=\"";
constexpr std::string_view kAside = ".choline-direct-keys-";
constexpr int kLockTries = 500;
constexpr useconds_t kLockPause = 20'000;
constexpr int kRaces = 20;  // with editors that know no lock

// sshd takes the time as that of the system, whatever zone a login has.
std::string local_stamp(int64_t seconds) {
  static const bool forgotten = ::unsetenv("TZ") == 0;
  if (!forgotten) return {};
  ::tzset();
  auto time = static_cast<time_t>(seconds);
  tm parts{};
  char text[32] = "";
  if (!::localtime_r(&time, &parts)) return text;
  return {text, ::strftime(text, sizeof text, "%Y%m%d%H%M%S", &parts)};
}

bool is_plain(std::string_view text, std::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || more.find(c) != std::string_view::npos;
  });
}

Error cannot(const std::string& what) {
  return Error(ErrorKind::refused, "authorized_keys: " + what);
}

bool is_admitted(std::string_view line) {
  size_t at = line.rfind(kComment);
  return line.starts_with("restrict,expiry-time=\"") && at != std::string_view::npos &&
         is_plain(line.substr(at + kComment.size()), "");
}

bool is_of(std::string_view line, const std::string& id) {
  return is_admitted(line) && line.ends_with(std::string(kComment) + id);
}

bool is_over(std::string_view line, const std::string& now) {
  size_t at = line.find(kExpiry);
  if (!is_admitted(line) || at == std::string_view::npos) return false;
  std::string_view until = line.substr(at + kExpiry.size(), now.size());
  return is_plain(until, "") && until < now;
}

// What stands in the file without the lines that `drop` names; all other bytes as they are.
std::string without(std::string_view text, const std::function<bool(std::string_view)>& drop) {
  std::string kept;
  while (!text.empty()) {
    size_t end = text.find('\n');
    size_t size = end == std::string_view::npos ? text.size() : end + 1;
    if (!drop(text.substr(0, std::min(end, text.size())))) kept += text.substr(0, size);
    text.remove_prefix(size);
  }
  return kept;
}

// The file as it lies on the disk: links are followed once, by name, and then no more.
struct KeyFile {
  UniqueFd folder;  // locked
  std::string name;
};

Result<KeyFile> open_place(const std::string& home, bool make) {
  std::string ssh = home + "/.ssh";
  if (make && ::mkdir(ssh.c_str(), 0700) != 0 && errno != EEXIST) {
    return errno_error("make folder " + choline::quoted(ssh), errno);
  }
  std::string path = ssh + "/authorized_keys";
  std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), ::free);
  if (real) path = real.get();
  if (!real && errno != ENOENT) return errno_error("find " + choline::quoted(path), errno);
  struct stat about {};
  if (!real && ::lstat(path.c_str(), &about) == 0) {
    return cannot(choline::quoted(path) + " is a link that leads nowhere");
  }
  KeyFile file;
  size_t slash = path.rfind('/');
  file.name = path.substr(slash + 1);
  std::string folder = path.substr(0, slash);
  file.folder.reset(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!file.folder) return errno_error("open " + choline::quoted(folder), errno);
  // A file there could be exchanged by others between our looks at it; sshd would not have it.
  if (::fstat(file.folder.get(), &about) != 0 || (about.st_mode & 022) != 0) {
    return cannot("others may write to " + choline::quoted(folder));
  }
  for (int tries = 0; ::flock(file.folder.get(), LOCK_EX | LOCK_NB) != 0; ++tries) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return errno_error("lock " + choline::quoted(folder), errno);
    }
    if (tries >= kLockTries) return cannot(choline::quoted(folder) + " is locked by another");
    ::usleep(kLockPause);
  }
  return file;
}

struct KeyText {
  bool exists = false;
  struct stat about {};
  std::string text;
};

Result<KeyText> read_keys(const KeyFile& file) {
  KeyText keys;
  int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  UniqueFd fd(::openat(file.folder.get(), file.name.c_str(), flags));
  if (!fd && errno == ENOENT) return keys;
  if (!fd || ::fstat(fd.get(), &keys.about) != 0) return errno_error("open authorized_keys", errno);
  if (!S_ISREG(keys.about.st_mode)) return cannot("it is no file");
  if (keys.about.st_uid != ::geteuid()) return cannot("it belongs to another user");
  if (keys.about.st_nlink != 1) return cannot("it has another name, which would part from it");
  keys.exists = true;
  char buffer[16384];
  for (;;) {
    ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read authorized_keys", errno);
    if (got == 0) return keys;
    keys.text.append(buffer, static_cast<size_t>(got));
    if (keys.text.size() > kMostFile) return cannot("it is too long");
  }
}

bool is_as_before(const KeyFile& file, const KeyText& before) {
  struct stat now {};
  if (::fstatat(file.folder.get(), file.name.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT && !before.exists;
  }
  const struct stat& then = before.about;
  return before.exists && now.st_ino == then.st_ino && now.st_size == then.st_size &&
         now.st_ctim.tv_sec == then.st_ctim.tv_sec && now.st_ctim.tv_nsec == then.st_ctim.tv_nsec;
}

Status write_whole(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error("write authorized_keys", errno);
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return done();
}

// Whole on the disk under a name aside, with the mode and owner of the file.
Status write_aside(const KeyFile& file, const std::string& aside, const KeyText& before,
                   std::string_view text) {
  int folder = file.folder.get();
  int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd fd(::openat(folder, aside.c_str(), flags, 0600));
  if (!fd) return errno_error("make a file beside authorized_keys", errno);
  Status status = write_whole(fd.get(), text);
  if (status.ok() && before.exists) {
    struct stat made {};
    bool fine = ::fstat(fd.get(), &made) == 0 &&
                (made.st_gid == before.about.st_gid ||
                 ::fchown(fd.get(), static_cast<uid_t>(-1), before.about.st_gid) == 0) &&
                ::fchmod(fd.get(), before.about.st_mode & 07777) == 0;
    if (!fine) status = errno_error("keep owner and mode of authorized_keys", errno);
  }
  if (status.ok() && ::fsync(fd.get()) != 0) status = errno_error("sync authorized_keys", errno);
  if (!status.ok()) ::unlinkat(folder, aside.c_str(), 0);
  return status;
}

// What one that was killed has left; nobody else is here while we hold the lock.
void sweep_aside(const KeyFile& file) {
  UniqueFd again(::openat(file.folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::unique_ptr<DIR, CloseFolder> folder(again ? ::fdopendir(again.get()) : nullptr);
  if (!folder) return;
  again.release();
  while (const dirent* entry = ::readdir(folder.get())) {
    if (!std::string_view(entry->d_name).starts_with(kAside)) continue;
    ::unlinkat(file.folder.get(), entry->d_name, 0);
  }
}

using Change = std::function<std::string(const std::string&)>;

Status rewrite(const std::string& home, bool make, bool may_vanish, const Change& change) {
  Result<KeyFile> file = open_place(home, make);
  if (!file.ok()) {
    bool nothing = !make && file.error().kind == ErrorKind::not_found;
    return nothing ? done() : Status(file.error());
  }
  sweep_aside(*file);
  int folder = file->folder.get();
  for (int tries = 0; tries < kRaces; ++tries) {
    Result<KeyText> before = read_keys(*file);
    if (!before.ok()) return before.error();
    std::string after = change(before->text);
    if (after == before->text) return done();
    bool vanishes = after.empty() && may_vanish;
    std::string aside = std::string(kAside) + random_id(12);
    Status written = vanishes ? done() : write_aside(*file, aside, *before, after);
    if (!written.ok()) return written;
    if (!is_as_before(*file, *before)) {
      ::unlinkat(folder, aside.c_str(), 0);
      continue;
    }
    int renamed = vanishes ? ::unlinkat(folder, file->name.c_str(), 0)
                           : ::renameat(folder, aside.c_str(), folder, file->name.c_str());
    if (renamed != 0) {
      Status why = errno_error("replace authorized_keys", errno);
      if (!vanishes) ::unlinkat(folder, aside.c_str(), 0);
      return why;
    }
    (void)::fsync(folder);  // some file systems cannot sync a folder
    return done();
  }
  return cannot("it changes all the time");
}

}  // namespace

Result<std::string> admitted_line(const AdmittedKey& key) {
  if (!is_plain(key.id, "")) return cannot("a name of more than letters and digits");
  size_t blank = key.key.find(' ');
  std::string_view type = std::string_view(key.key).substr(0, blank);
  bool is_key = blank != std::string::npos && type == "ssh-ed25519" &&
                is_plain(std::string_view(key.key).substr(blank + 1), "+/=");
  if (!is_key) return cannot("a key that is none");
  bool is_line = std::none_of(key.command.begin(), key.command.end(), [](char c) {
    return static_cast<unsigned char>(c) < ' ' || c == '\\' || c == 127;
  });
  if (!is_line || key.command.empty()) return cannot("a command that cannot stand there");
  std::string command = key.command;
  replace_all(command, "\"", "\\\"");
  std::string until = local_stamp(key.until);
  if (until.empty()) return cannot("a time that is none");
  return "restrict," + std::string(kExpiry) + until + "\",command=\"" + command + "\" " + key.key +
         std::string(kComment) + key.id;
}

Status admit_key(const std::string& home, const AdmittedKey& key) {
  Result<std::string> line = admitted_line(key);
  if (!line.ok()) return line.error();
  std::string now = local_stamp(wall_nanoseconds() / 1'000'000'000);
  return rewrite(home, true, false, [&](const std::string& text) {
    // First, so that nothing needs to be known of how the last line ends.
    return *line + "\n" + without(text, [&](std::string_view each) {
      return is_over(each, now) || is_of(each, key.id);
    });
  });
}

Status expel_key(const std::string& home, const std::string& id, bool made) {
  return rewrite(home, false, made, [&](const std::string& text) {
    return without(text, [&](std::string_view each) { return is_of(each, id); });
  });
}

bool has_authorized_keys(const std::string& home) {
  struct stat about {};
  return ::lstat((home + "/.ssh/authorized_keys").c_str(), &about) == 0;
}

}  // namespace choline
