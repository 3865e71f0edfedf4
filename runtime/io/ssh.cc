#include "io/ssh.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "base/text.h"
#include "io/process.h"

namespace choline {
namespace {

constexpr int kSshFailed = 255;  // how the program ends when it is not the command that failed
constexpr int kMostPort = 65535;

bool is_host_letter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_' ||
         c == ':' || c == '%';
}

bool is_name(std::string_view text) {
  return !text.empty() && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), is_host_letter);
}

Error no_target(const std::string& text) {
  return Error(ErrorKind::invalid,
               choline::quoted(text) + " is no host for ssh; expected [user@]host[:port]");
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// The last line that says something.
std::string last_line(std::string_view text) {
  std::string last;
  for (const std::string& line : split(text, '\n')) {
    std::string_view said = trim(line);
    if (!said.empty()) last = said;
  }
  return last;
}

}  // namespace

Json to_json(const SshTarget& target) {
  return {{"host", target.host},
          {"user", target.user},
          {"port", target.port},
          {"key", target.key},
          {"jump", target.jump}};
}

SshTarget ssh_target_from_json(const Json& value) {
  SshTarget target;
  if (!value.is_object()) return target;
  target.host = value.value("host", "");
  target.user = value.value("user", "");
  target.port = value.value("port", 0);
  target.key = value.value("key", "");
  target.jump = value.value("jump", "");
  return target;
}

Result<SshTarget> parse_ssh_target(const std::string& text) {
  SshTarget target;
  std::string rest = text;
  size_t at = rest.rfind('@');
  if (at != std::string::npos) {
    target.user = rest.substr(0, at);
    rest = rest.substr(at + 1);
    if (!is_name(target.user)) return no_target(text);
  }
  std::string port;
  if (rest.starts_with('[')) {
    size_t end = rest.find(']');
    if (end == std::string::npos) return no_target(text);
    target.host = rest.substr(1, end - 1);
    rest = rest.substr(end + 1);
    if (!rest.empty() && !rest.starts_with(':')) return no_target(text);
    if (!rest.empty()) port = rest.substr(1);
    if (!rest.empty() && port.empty()) return no_target(text);
  } else {
    size_t colon = rest.rfind(':');
    bool is_address = colon != std::string::npos && rest.find(':') != colon;  // bare IPv6
    target.host = is_address ? rest : rest.substr(0, colon);
    if (!is_address && colon != std::string::npos) {
      port = rest.substr(colon + 1);
      if (port.empty()) return no_target(text);
    }
  }
  if (!is_name(target.host)) return no_target(text);
  if (!port.empty()) {
    auto [stop, fault] = std::from_chars(port.data(), port.data() + port.size(), target.port);
    bool whole = fault == std::errc() && stop == port.data() + port.size();
    if (!whole || target.port < 1 || target.port > kMostPort) return no_target(text);
  }
  return target;
}

std::string to_text(const SshTarget& target) {
  std::string host = contains(target.host, ":") ? "[" + target.host + "]" : target.host;
  return (target.user.empty() ? "" : target.user + "@") + host +
         (target.port ? ":" + std::to_string(target.port) : "");
}

std::vector<std::string> ssh_words(const SshTarget& target, const std::string& known_hosts,
                                   const std::string& command) {
  std::vector<std::string> words = {"ssh", "-T", "-x", "-a", "-e", "none"};
  const std::string files = "\"" + known_hosts + "\" ~/.ssh/known_hosts ~/.ssh/known_hosts2";
  for (const std::string& option :
       {std::string("BatchMode=yes"), std::string("ConnectTimeout=15"),
        // A dead link is noticed in fifteen seconds.
        std::string("ServerAliveInterval=5"), std::string("ServerAliveCountMax=3"),
        std::string("StrictHostKeyChecking=accept-new"), std::string("HashKnownHosts=yes"),
        "UserKnownHostsFile=" + files, std::string("ClearAllForwardings=yes"),
        std::string("PermitLocalCommand=no"), std::string("RequestTTY=no"),
        // A master of the user's would outlive its session or die under ours.
        std::string("ControlMaster=no"), std::string("ControlPath=none"),
        std::string("LogLevel=ERROR")}) {
    words.insert(words.end(), {"-o", option});
  }
  if (target.port) words.insert(words.end(), {"-p", std::to_string(target.port)});
  if (!target.user.empty()) words.insert(words.end(), {"-l", target.user});
  if (!target.key.empty()) {
    words.insert(words.end(), {"-i", target.key, "-o", "IdentitiesOnly=yes"});
  }
  if (!target.jump.empty()) words.insert(words.end(), {"-J", target.jump});
  words.insert(words.end(), {"--", target.host, command});
  return words;
}

std::vector<std::pair<std::string, std::string>> ssh_environment() {
  std::vector<std::pair<std::string, std::string>> env;
  for (const char* name : {"HOME", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"}) {
    if (const char* value = std::getenv(name)) env.emplace_back(name, value);
  }
  return env;
}

Error ssh_error(const SshTarget& target, std::string_view complaint) {
  const std::string host = to_text(target);
  Json fields = {{"host", host}};
  if (contains(complaint, "REMOTE HOST IDENTIFICATION HAS CHANGED") ||
      contains(complaint, "Host key verification failed")) {
    return Error(ErrorKind::refused,
                 "the host key of " + host +
                     " is not the one it had before: this may be another host, or somebody in "
                     "between; nothing was sent. If the host was set up anew, remove its old key: "
                     "ssh-keygen -R " +
                     host,
                 fields);
  }
  if (contains(complaint, "Permission denied") || contains(complaint, "Too many authentication")) {
    return Error(ErrorKind::auth,
                 host + " does not accept the login (" + last_line(complaint) + "); try 'ssh " +
                     host + "' yourself, or give key = \"~/.ssh/…\"",
                 fields);
  }
  std::string why = last_line(complaint);
  return Error(ErrorKind::transient, "ssh to " + host + " failed" + (why.empty() ? "" : ": " + why),
               fields);
}

Co<Result<std::string>> run_over_ssh(Loop& loop, SshTarget target, std::string known_hosts,
                                     std::string script, double timeout) {
  RunOptions options;
  options.spawn.argv = ssh_words(target, known_hosts, "exec /bin/sh -s");
  options.spawn.in = Stdio::pipe;
  options.input = std::move(script);
  options.timeout = timeout;
  options.grace = 1;
  Result<RunResult> ran = co_await run_process(loop, std::move(options));
  if (!ran) co_return ran.error();
  if (ran->timed_out) {
    co_return Error(ErrorKind::transient,
                    "ssh to " + to_text(target) + " gave no answer for " +
                        std::to_string(static_cast<int>(timeout)) + " s",
                    {{"host", to_text(target)}});
  }
  if (ran->status.code == kSshFailed) co_return ssh_error(target, ran->err);
  if (ran->status.code != 0) {
    std::string why = last_line(ran->err);
    co_return Error(ErrorKind::transient,
                    "the shell of " + to_text(target) + " ended with " +
                        std::to_string(ran->status.code) + (why.empty() ? "" : ": " + why),
                    {{"host", to_text(target)}});
  }
  co_return std::move(ran->out);
}

}  // namespace choline
