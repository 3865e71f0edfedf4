#include "io/ssh_config.h"

#include <glob.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/text.h"
#include "io/files.h"
#include "io/process.h"
#include "io/ssh_keys.h"

namespace choline {
namespace {

constexpr const char* kSystemConfig = "/etc/ssh/ssh_config";
constexpr int kMostIncludes = 8;  // deep
constexpr double kPatience = 10;  // seconds for `ssh -G`

// Settings that choline gives itself, or that change nothing for a stream to a shell.
constexpr std::string_view kNoMatter =
    " host sendenv setenv hashknownhosts gssapiauthentication gssapidelegatecredentials"
    " visualhostkey loglevel addkeystoagent serveraliveinterval serveralivecountmax"
    " tcpkeepalive compression forwardx11 forwardx11trusted forwardx11timeout forwardagent"
    " controlmaster controlpath controlpersist batchmode connecttimeout connectionattempts"
    " localforward remoteforward dynamicforward clearallforwardings exitonforwardfailure"
    " stricthostkeychecking checkhostip updatehostkeys escapechar fingerprinthash"
    " numberofpasswordprompts permitlocalcommand localcommand requesttty ipqos rekeylimit"
    " enableescapecommandline"
    " ";
// Settings that are followed here as the ssh program does.
constexpr std::string_view kFollowed =
    " hostname user port identityfile identitiesonly userknownhostsfile ";

bool is_in(std::string_view words, const std::string& word) {
  return words.find(" " + word + " ") != std::string_view::npos;
}

// "Keyword value", "Keyword=value"; lower-case keyword.
std::pair<std::string, std::string> config_line(std::string_view line) {
  line = trim(line);
  if (line.empty() || line.front() == '#') return {};
  size_t end = std::min(line.find_first_of(" \t="), line.size());
  std::string_view value = line.substr(end);
  size_t start = value.find_first_not_of(" \t=");
  value = start == std::string_view::npos ? std::string_view() : value.substr(start);
  return {to_lower(line.substr(0, end)), std::string(trim(value))};
}

bool include_matters(const std::string& value, const std::string& from, int depth) {
  for (const std::string& word : split(value, ' ')) {
    std::string pattern(trim(word));
    if (pattern.empty()) continue;
    if (pattern.front() == '"') return true;  // `ssh -G` shall say
    pattern = expand_home(pattern);
    if (pattern.front() != '/') pattern = from.substr(0, from.rfind('/') + 1) + pattern;
    glob_t found{};
    bool matters = false;
    if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
      for (size_t i = 0; i < found.gl_pathc && !matters; ++i) {
        matters = ssh_config_matters(found.gl_pathv[i], depth + 1);
      }
    }
    globfree(&found);
    if (matters) return true;
  }
  return false;
}

// Empty when the system does not know the user.
std::string true_home() {
  const passwd* entry = getpwuid(geteuid());
  return entry && entry->pw_dir ? entry->pw_dir : "";
}

std::string user_config() {
  return home_folder() + "/.ssh/config";
}

bool is_there(const std::string& path) {
  return ::access(path.c_str(), R_OK) == 0;
}

std::multimap<std::string, std::string> settings_of(const std::string& text) {
  std::multimap<std::string, std::string> settings;
  for (const std::string& line : split(text, '\n')) {
    size_t blank = line.find(' ');
    if (blank == std::string::npos) continue;
    settings.emplace(line.substr(0, blank), std::string(trim(line.substr(blank))));
  }
  return settings;
}

std::vector<std::string> values_of(const std::multimap<std::string, std::string>& settings,
                                   const std::string& key) {
  std::vector<std::string> values;
  auto [from, to] = settings.equal_range(key);
  for (auto each = from; each != to; ++each) values.push_back(each->second);
  return values;
}

}  // namespace

bool has_ssh_program() {
  const char* path = std::getenv("PATH");
  for (const std::string& folder : split(path ? path : "", ':')) {
    if (!folder.empty() && ::access((folder + "/ssh").c_str(), X_OK) == 0) return true;
  }
  return false;
}

bool ssh_config_matters(const std::string& path, int depth) {
  if (depth > kMostIncludes) return true;
  Result<std::string> text = read_file(path, uint64_t{16} << 20);
  if (!text) return false;
  for (const std::string& line : split(*text, '\n')) {
    auto [keyword, value] = config_line(line);
    if (keyword.empty()) continue;
    if (keyword == "include" ? include_matters(value, path, depth) : !is_in(kNoMatter, keyword)) {
      return true;
    }
  }
  return false;
}

std::vector<std::string> ssh_config_words() {
  if (home_folder() == true_home()) return {};
  return {"-F", is_there(user_config()) ? user_config() : std::string(kSystemConfig)};
}

Co<Result<SshConfig::Settings>> SshConfig::ask(std::vector<std::string> words) {
  RunOptions options;
  options.spawn.argv = std::move(words);
  options.timeout = kPatience;
  Result<RunResult> ran = co_await run_process(loop_, std::move(options));
  if (!ran) co_return ran.error();
  if (ran->status.code != 0) {
    co_return Error(ErrorKind::invalid,
                    "ssh cannot read its configuration: " + std::string(trim(ran->err)));
  }
  co_return settings_of(ran->out);
}

Co<Result<SshConfigured>> SshConfig::look_up(SshTarget target) {
  SshConfigured said;
  if (!has_ssh_program()) co_return said;
  if (!ssh_config_matters(user_config()) && !ssh_config_matters(kSystemConfig)) co_return said;
  std::vector<std::string> words = {"ssh", "-G"};
  if (!usual_) {
    std::vector<std::string> plain = {"ssh", "-G", "-F", "none", "--", "choline"};
    Result<Settings> usual = co_await ask(std::move(plain));
    if (!usual) co_return usual.error();
    usual_ = std::move(*usual);
  }
  for (std::string& word : ssh_config_words()) words.push_back(std::move(word));
  if (target.port) words.insert(words.end(), {"-p", std::to_string(target.port)});
  if (!target.user.empty()) words.insert(words.end(), {"-l", target.user});
  words.insert(words.end(), {"--", target.host});
  Result<Settings> asked = co_await ask(std::move(words));
  if (!asked) co_return asked.error();
  for (const auto& [key, value] : *asked) {
    if (is_in(kNoMatter, key) || is_in(kFollowed, key)) continue;
    if (values_of(*asked, key) == values_of(*usual_, key)) continue;
    said.beyond = key;
    if (key == "proxyjump" || key == "proxycommand") said.jumps = true;
  }
  auto first = [&](const char* key) {
    std::vector<std::string> values = values_of(*asked, key);
    return values.empty() ? std::string() : values.front();
  };
  said.host = first("hostname");
  said.user = first("user");
  std::string port = first("port");
  std::from_chars(port.data(), port.data() + port.size(), said.port);
  said.only_those = first("identitiesonly") == "yes";
  if (values_of(*asked, "identityfile") != values_of(*usual_, "identityfile")) {
    for (const std::string& path : values_of(*asked, "identityfile")) {
      said.key_files.push_back(expand_home(path));
    }
  }
  if (values_of(*asked, "userknownhostsfile") != values_of(*usual_, "userknownhostsfile")) {
    for (const std::string& path : split(first("userknownhostsfile"), ' ')) {
      said.known_files.push_back(expand_home(path));
    }
  }
  co_return said;
}

}  // namespace choline
