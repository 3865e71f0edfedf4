// native.secret: what is stored of secrets, and where. No value of one ever reaches Lua.
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/secret.h"
#include "base/text.h"
#include "io/secret_store.h"
#include "loop/await.h"
#include "native/module.h"
#include "native/services.h"

namespace choline {
namespace {

constexpr size_t kMostBytes = 64 << 10;

// What is typed is not shown while this lives.
class Unseen {
 public:
  Unseen() {
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    hidden_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
  }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
  ~Unseen() {
    if (!hidden_) return;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    (void)!::write(STDERR_FILENO, "\n", 1);
  }

 private:
  termios before_{};
  bool hidden_ = false;
};

// A line of the input, which the loop waits for, so that Ctrl-C is heard meanwhile.
Co<Result<std::string>> read_unseen(Loop& loop) {
  Unseen unseen;
  std::string line;
  for (char byte = 0;;) {
    FdReady ready(loop, STDIN_FILENO, kReadable);
    co_await ready;
    ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) co_return errno_error("read standard input", errno);
    if (got == 0 || byte == '\n') co_return line;
    line += byte;
    if (line.size() > kMostBytes) co_return Error(ErrorKind::invalid, "a secret that long is none");
  }
}

// Takes a line of the input as the secret's value. The prompt is for a person at a terminal.
Co<Result<Json>> secret_ask(Services& services, Json args) {
  Result<std::string> name = string_arg(args, 0, "native.secret.ask");
  if (!name) co_return name.error();
  if (isatty(STDIN_FILENO)) {
    const std::string prompt = *name + " (not shown): ";
    (void)!::write(STDERR_FILENO, prompt.data(), prompt.size());
  }
  Result<std::string> value = co_await read_unseen(services.loop);
  if (!value) co_return value.error();
  Status stored = store_secret(services.folders.config, *name, *value);
  wipe(*value);
  if (!stored) co_return stored.error();
  co_return Json(true);
}

Result<Json> secret_forget(Services& services, const Json& args) {
  Result<std::string> name = string_arg(args, 0, "native.secret.forget");
  if (!name) return name.error();
  Result<bool> gone = forget_secret(services.folders.config, *name);
  if (!gone) return gone.error();
  return Json(*gone);
}

Result<Json> secret_stored(Services& services, const Json&) {
  Result<std::vector<std::string>> names = stored_secrets(services.folders.config);
  if (!names) return names.error();
  return Json(*names);
}

// The environment counts before the file, as it does when the secret is used.
Result<Json> secret_where(Services& services, const Json& args) {
  Result<std::string> name = string_arg(args, 0, "native.secret.where");
  if (!name) return name.error();
  const char* set = std::getenv(name->c_str());
  if (set && *set) return Json("environment");
  Result<std::vector<std::string>> names = stored_secrets(services.folders.config);
  if (!names) return names.error();
  for (const std::string& one : *names) {
    if (one == *name) return Json("file");
  }
  return Json();
}

}  // namespace

NativeModule secret_module() {
  NativeModule module;
  module.name = "secret";
  module.functions = {{"ask", secret_ask},
                      {"forget", secret_forget},
                      {"stored", secret_stored},
                      {"where", secret_where}};
  return module;
}

}  // namespace choline
