// choline: the loop, the services and the Lua that decides. Everything a user sees is in stdlib/.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/options.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "loop/epoll_loop.h"
#include "lua/host.h"
#include "native/module.h"
#include "native/services.h"

namespace choline {

namespace {

constexpr int kOurFault = 70;  // EX_SOFTWARE

void say(const std::string& text) {
  std::string safe = Redactor::process().redact(text);
  std::fwrite(safe.data(), 1, safe.size(), stderr);
}

int exit_code(const Outcome& outcome) {
  if (outcome.ok && outcome.value.is_number_integer()) return outcome.value.get<int>();
  if (outcome.ok) return 0;
  if (!outcome.kind.empty()) {  // main.lua answers failures; one that gets here was raised in there
    say("choline: " + outcome.message + "\n");
    return outcome.kind == "invalid" ? 2 : 1;  // a cholfile that never ends is an invalid one
  }
  say("choline: " + outcome.message + "\n");
  if (!outcome.traceback.empty()) say(outcome.traceback + "\n");
  say("choline: this is a fault of choline; please report it with the lines above\n");
  return kOurFault;
}

// What choline says about itself: CHOLINE_LOG is the least that is said, CHOLINE_LOG_FILE takes it
// instead of stderr.
Status open_log_as_asked() {
  const char* word = std::getenv("CHOLINE_LOG");
  const char* file = std::getenv("CHOLINE_LOG_FILE");
  LogOptions options;
  if (file) options.file = file;
  if (!options.file.empty()) options.level = LogLevel::info;
  if (word && *word) {
    std::optional<LogLevel> level = log_level(word);
    if (!level) {
      return Error(ErrorKind::invalid, "CHOLINE_LOG is " + quoted(word) +
                                           "; expected debug, info, warning, error or off");
    }
    options.level = *level;
  }
  return open_log(options);
}

int run(const std::vector<std::string>& argv) {
  if (Status opened = open_log_as_asked(); !opened) {
    say("choline: " + opened.error().message + "\n");
    return 2;
  }
  EpollLoop loop;
  Services services(loop, find_folders());
  Host host(loop, HostOptions::from_environment());
  host.version = CHOLINE_VERSION;
  host.find_source = stdlib_source;
  host.modules = stdlib_modules();
  add_native_modules(host, services);
  std::optional<Outcome> outcome;
  host.start(argv, [&](Outcome ended) {
    outcome = std::move(ended);
    loop.stop();
  });
  loop.run();
  if (!outcome) {
    say("choline: every task waits for another one; this is a fault of choline\n");
    return kOurFault;
  }
  return exit_code(*outcome);
}

// The ssh program asks us for a password by SSH_ASKPASS; it lies in the memory of the choline that
// started it (io/ssh_ways.h), behind this path.
int tell_password(const char* path, std::string_view prompt) {
  // Only what a host asks for: never the passphrase of a key, never a yes to a host's key.
  if (prompt.find("assword") == std::string_view::npos) return 1;
  UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  ssize_t got = fd ? ::pread(fd.get(), buffer, sizeof buffer, 0) : -1;
  if (got < 0) return 1;
  bool told = std::fwrite(buffer, 1, static_cast<size_t>(got), stdout) == static_cast<size_t>(got);
  explicit_bzero(buffer, sizeof buffer);
  return told && std::fputs("\n", stdout) >= 0 && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace

}  // namespace choline

int main(int argc, char** argv) {
  // Before anything else, because people and scripts ask often.
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    return std::puts("choline " CHOLINE_VERSION) < 0 || std::fflush(stdout) != 0 ? 1 : 0;
  }
  const char* password = std::getenv("CHOLINE_ASKPASS");
  if (password && argc == 2) return choline::tell_password(password, argv[1]);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return choline::run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& fault) {
    choline::say(std::string("choline: ") + fault.what() +
                 "\ncholine: this is a fault of choline\n");
    return choline::kOurFault;
  }
}
