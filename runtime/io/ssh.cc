#include "io/ssh.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "base/text.h"
#include "io/ssh_config.h"
#include "io/ssh_keys.h"

namespace choline {
namespace {

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

// The way through the last of the jump hosts, which may lead through others. `ssh -J` would give it
// neither our key nor our known hosts, and might ask.
std::string proxy_command(const SshTarget& target, const SshWording& wording) {
  size_t comma = target.jump.rfind(',');
  std::string last = comma == std::string::npos ? target.jump : target.jump.substr(comma + 1);
  Result<SshTarget> jump = parse_ssh_target(last);
  if (!jump) return "false";  // ssh_settings has refused it
  jump->key = target.key;
  if (comma != std::string::npos) jump->jump = target.jump.substr(0, comma);
  SshWording passing = wording;
  passing.is_known = passing.has_password = false;  // the password is the target's
  std::vector<std::string> words = ssh_words(*jump, passing, "");
  std::string command;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i == 1) command += " -W '[%h]:%p'";
    std::string word = shell_quote(words[i]);
    replace_all(word, "%", "%%");
    command += (command.empty() ? "" : " ") + word;
  }
  return command;
}

}  // namespace

std::string last_line(std::string_view text) {
  std::string last;
  for (const std::string& line : split(text, '\n')) {
    std::string_view said = trim(line);
    if (!said.empty()) last = said;
  }
  return last;
}

Json to_json(const SshTarget& target) {
  return {{"host", target.host},           {"user", target.user},
          {"port", target.port},           {"key", target.key},
          {"jump", target.jump},           {"password", target.password},
          {"transport", target.transport}, {"known_as", target.known_as},
          {"host_keys", target.host_keys}};
}

SshTarget ssh_target_from_json(const Json& value) {
  SshTarget target;
  if (!value.is_object()) return target;
  target.host = value.value("host", "");
  target.user = value.value("user", "");
  target.port = value.value("port", 0);
  target.key = value.value("key", "");
  target.jump = value.value("jump", "");
  target.password = value.value("password", "");
  target.transport = value.value("transport", "");
  target.known_as = value.value("known_as", "");
  target.host_keys = value.value("host_keys", std::vector<std::string>());
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

std::vector<std::string> ssh_words(const SshTarget& target, const SshWording& wording,
                                   const std::string& command) {
  std::vector<std::string> words = {"ssh", "-T", "-x", "-a", "-e", "none"};
  for (std::string& word : ssh_config_words()) words.push_back(std::move(word));
  std::vector<std::string> options = {
      "ConnectTimeout=15",
      // A dead link is noticed in fifteen seconds.
      "ServerAliveInterval=5", "ServerAliveCountMax=3", "HashKnownHosts=yes",
      "ClearAllForwardings=yes", "PermitLocalCommand=no", "RequestTTY=no",
      // A master of the user's would outlive its session or die under ours.
      "ControlMaster=no", "ControlPath=none", "LogLevel=ERROR"};
  options.push_back(std::string("StrictHostKeyChecking=") +
                    (wording.is_known ? "yes" : "accept-new"));
  std::string files;
  for (const std::string& file : wording.known_files) {
    files += (files.empty() ? "\"" : " \"") + file + "\"";
  }
  if (!files.empty()) options.push_back("UserKnownHostsFile=" + files);
  if (!target.known_as.empty()) options.push_back("HostKeyAlias=" + target.known_as);
  if (wording.has_password) {
    options.insert(options.end(), {"BatchMode=no", "NumberOfPasswordPrompts=1"});
  } else {
    options.emplace_back("BatchMode=yes");
  }
  if (!target.key.empty()) {
    options.emplace_back("IdentitiesOnly=yes");
    words.insert(words.end(), {"-i", expand_home(target.key)});
  } else if (!wording.own_key.empty() || !ssh_config_words().empty()) {
    // One key named takes the usual ones' place, and in another $HOME it would not find them.
    for (const std::string& file : usual_key_files()) words.insert(words.end(), {"-i", file});
    if (!wording.own_key.empty()) words.insert(words.end(), {"-i", wording.own_key});
  }
  for (const std::string& option : options) words.insert(words.end(), {"-o", option});
  if (target.port) words.insert(words.end(), {"-p", std::to_string(target.port)});
  if (!target.user.empty()) words.insert(words.end(), {"-l", target.user});
  if (!target.jump.empty()) {
    words.insert(words.end(), {"-o", "ProxyCommand=" + proxy_command(target, wording)});
  }
  words.insert(words.end(), {"--", target.host});
  if (!command.empty()) words.push_back(command);
  return words;
}

std::vector<std::pair<std::string, std::string>> ssh_environment() {
  std::vector<std::pair<std::string, std::string>> env;
  for (const char* name : {"HOME", "PATH", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"}) {
    if (const char* value = std::getenv(name)) env.emplace_back(name, value);
  }
  return env;
}

SshComplaint ssh_complaint(std::string_view complaint) {
  for (const char* words : {"REMOTE HOST IDENTIFICATION HAS CHANGED", "REVOKED HOST KEY",
                            "Host key verification failed"}) {
    if (contains(complaint, words)) return SshComplaint::host_changed;
  }
  bool refused =
      contains(complaint, "Permission denied") || contains(complaint, "Too many authentication");
  return refused ? SshComplaint::no_login : SshComplaint::other;
}

std::string shown_fingerprint(std::string_view complaint) {
  size_t at = complaint.find("SHA256:");
  if (at == std::string_view::npos) return "";
  size_t end = complaint.find_first_of(" \r\n", at);
  std::string shown(complaint.substr(at, end - at));
  if (shown.ends_with('.')) shown.pop_back();
  return shown;
}

}  // namespace choline
