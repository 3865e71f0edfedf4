#include "io/secret_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/digest.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace choline {

Result<std::string> SecretSource::from_file(const std::string& name) const {
  std::string path = config_ + "/credentials";
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) {
    return Error(ErrorKind::auth, "secret " + choline::quoted(name) +
                                      " is not set: no environment variable " + name +
                                      ", and no file " + choline::quoted(path) +
                                      "; store it with choline auth " + name);
  }
  if (!fd) return errno_error("open " + choline::quoted(path), errno);
  struct stat facts {};
  if (fstat(fd.get(), &facts) != 0) return errno_error("stat " + choline::quoted(path), errno);
  if ((facts.st_mode & 077) != 0) {
    return Error(ErrorKind::auth,
                 choline::quoted(path) + " may be read by others; run chmod 600 on it");
  }
  std::string text;
  char buffer[4096];
  for (;;) {
    ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read " + choline::quoted(path), errno);
    if (got == 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  Secret whole(std::move(text));
  std::string_view rest = whole.expose();
  while (!rest.empty()) {
    size_t end = rest.find('\n');
    std::string_view line = trim(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    size_t equals = line.find('=');
    if (equals == std::string_view::npos || line.starts_with('#')) continue;
    if (trim(line.substr(0, equals)) == name) return std::string(trim(line.substr(equals + 1)));
  }
  return Error(ErrorKind::auth, "secret " + choline::quoted(name) +
                                    " is not set: no environment variable " + name +
                                    ", and no line for it in " + choline::quoted(path) +
                                    "; store it with choline auth " + name);
}

Result<std::string> SecretSource::resolve(const std::string& name) {
  std::string value;
  const char* set = std::getenv(name.c_str());
  if (set && *set) {
    value = set;
  } else {
    Result<std::string> read = from_file(name);
    if (!read) return read;
    value = std::move(*read);
  }
  Redactor::Registration& known = registered_[name + "/" + sha256_hex(value)];
  known = Redactor::process().add(value, name);
  return value;
}

Result<SecretSource::Environment> SecretSource::environment(const Json& env) {
  Environment result;
  if (env.is_null() || (env.is_array() && env.empty())) return result;
  if (!env.is_object()) return Error(ErrorKind::invalid, "env: expected a table of variables");
  for (const auto& [name, value] : env.items()) {
    if (value.is_string()) {
      result.values[name] = value.get<std::string>();
    } else if (value.is_number_integer() || value.is_number_float()) {
      result.values[name] = to_text(value);
    } else if (value.is_object() && value.contains("secret") && value["secret"].is_string()) {
      Result<std::string> secret = resolve(value["secret"].get<std::string>());
      if (!secret) return secret.error();
      result.values[name] = *secret;
      result.secrets.push_back(std::move(*secret));
    } else {
      return Error(ErrorKind::invalid, "env." + name + ": expected a string or a secret");
    }
  }
  return result;
}

}  // namespace choline
