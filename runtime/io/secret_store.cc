#include "io/secret_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "base/secret.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "io/files.h"

namespace choline {
namespace {

constexpr uint64_t kMostBytes = 1 << 20;

std::string file_of(const std::string& config) {
  return config + "/credentials";
}

// The lines of the file, secrets and all; wiped when this goes.
class Lines {
 public:
  Lines() = default;
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;
  ~Lines() {
    for (std::string& line : lines) wipe(line);
  }

  Status read(const std::string& config) {
    Result<std::string> text = read_file(file_of(config), kMostBytes);
    if (!text && text.error().kind == ErrorKind::not_found) return done();
    if (!text) return text.error();
    lines = split(*text, '\n');
    if (!lines.empty() && lines.back().empty()) lines.pop_back();
    wipe(*text);
    return done();
  }

  Status write(const std::string& config) const {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    Status written = write_atomic(file_of(config), text, 0600);
    wipe(text);
    return written;
  }

  static std::string name_of(const std::string& line) {
    size_t equals = line.find('=');
    if (equals == std::string::npos || trim(line).starts_with('#')) return "";
    return std::string(trim(std::string_view(line).substr(0, equals)));
  }

  std::vector<std::string> lines;
};

// One changes the file at a time; the lock is a file of its own, since the other is replaced.
Result<UniqueFd> lock(const std::string& config) {
  Status made = make_folders(config, 0700);
  if (!made) return made.error();
  const std::string path = file_of(config) + ".lock";
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return errno_error("open " + choline::quoted(path), errno);
  while (::flock(file.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return errno_error("lock " + choline::quoted(path), errno);
  }
  return file;
}

}  // namespace

bool is_secret_name(std::string_view name) {
  bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  });
  return plain && !name.empty() && !std::isdigit(static_cast<unsigned char>(name.front()));
}

Status store_secret(const std::string& config, const std::string& name, std::string_view value) {
  if (!is_secret_name(name)) {
    return Error(ErrorKind::invalid,
                 "a secret's name has letters, digits and _ only, such as "
                 "VAST_API_KEY; got " +
                     choline::quoted(name));
  }
  std::string_view kept = trim(value);
  if (kept.empty()) {
    return Error(ErrorKind::invalid, "secret " + choline::quoted(name) + ": the value is empty");
  }
  if (kept.find_first_of(std::string_view("\n\r\0", 3)) != std::string_view::npos) {
    return Error(ErrorKind::invalid,
                 "secret " + choline::quoted(name) + ": the value has more than one line");
  }
  Result<UniqueFd> locked = lock(config);
  if (!locked) return locked.error();
  Lines file;
  Status read = file.read(config);
  if (!read) return read;
  std::string line = name + "=" + std::string(kept);
  auto found = std::find_if(file.lines.begin(), file.lines.end(),
                            [&](const std::string& one) { return Lines::name_of(one) == name; });
  if (found == file.lines.end()) {
    file.lines.push_back(std::move(line));
  } else {
    wipe(*found);
    *found = std::move(line);
  }
  return file.write(config);
}

Result<bool> forget_secret(const std::string& config, const std::string& name) {
  Result<UniqueFd> locked = lock(config);
  if (!locked) return locked.error();
  Lines file;
  Status read = file.read(config);
  if (!read) return read.error();
  size_t before = file.lines.size();
  std::erase_if(file.lines, [&](const std::string& one) { return Lines::name_of(one) == name; });
  if (file.lines.size() == before) return false;
  Status written = file.write(config);
  if (!written) return written.error();
  return true;
}

Result<std::vector<std::string>> stored_secrets(const std::string& config) {
  Lines file;
  Status read = file.read(config);
  if (!read) return read.error();
  std::vector<std::string> names;
  for (const std::string& line : file.lines) {
    std::string name = Lines::name_of(line);
    if (!name.empty()) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace choline
