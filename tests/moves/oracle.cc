#include "moves/oracle.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <sstream>

#include "base/unique_fd.h"

namespace choline::moves {

namespace {

constexpr size_t kItemized = 12;  // ">f.st......" or "*deleting  ", and a space

std::string run_program(const std::vector<std::string>& words) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe failed");
  UniqueFd out(ends[0]);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    setenv("LC_ALL", "C", 1);
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(ends[1]);
  std::string text;
  char block[65536];
  for (ssize_t got; (got = read(out.get(), block, sizeof block)) > 0;) {
    text.append(block, static_cast<size_t>(got));
  }
  int status = 0;
  waitpid(pid, &status, 0);
  // 23: a folder that is not empty would be in the way, which is told line by line.
  if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 23)) {
    throw std::runtime_error("rsync ended with " + std::to_string(status) + ": " + text);
  }
  return text;
}

// rsync writes what cannot be printed as \#012.
std::string decode(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text.compare(at, 2, "\\#") == 0 && at + 5 <= text.size()) {
      out += static_cast<char>(std::stoi(text.substr(at + 2, 3), nullptr, 8));
      at += 4;
    } else {
      out += text[at];
    }
  }
  return out;
}

}  // namespace

std::map<uint64_t, std::string> ask_rsync(const Batch& batch) {
  // By contents; times to the nanosecond, but not those of folders and links.
  std::vector<std::string> words = {"rsync",
                                    "-rlptcOJ",
                                    "--modify-window=-1",
                                    "--dry-run",
                                    "--out-format=%i %n",
                                    "--info=nonreg0",
                                    "--exclude=.choline-part-*"};
  if (batch.setting.delete_extra) words.push_back("--delete");
  std::vector<std::string> excluded;
  if (batch.setting.exclude) excluded = {"*.skip", "drop/", "/*/only-top"};
  if (batch.setting.ignore) {
    for (const char* each : {".git", "*.log", "out/"}) excluded.push_back(each);
  }
  for (const std::string& each : excluded) words.push_back("--exclude=" + each);
  words.push_back(batch.from + "/");
  words.push_back(batch.to + "/");
  std::map<uint64_t, std::string> wrong;
  std::istringstream lines(run_program(words));
  for (std::string line; std::getline(lines, line);) {
    bool itemized = line.size() > kItemized && line[kItemized - 1] == ' ' &&
                    (line[0] == '*' || std::strchr("<>ch.", line[0])) &&
                    (line.starts_with("*deleting") || std::strchr("fdLDS", line[1]));
    if (!itemized) continue;
    std::string path = decode(line.substr(kItemized));
    if (path.ends_with('/')) path.pop_back();
    size_t slash = path.find('/');
    if (slash == std::string::npos) continue;  // a root: its mode is its own
    auto found = batch.cases.find(std::strtoull(path.c_str(), nullptr, 10));
    if (found == batch.cases.end()) continue;
    bool removal = line.starts_with("*deleting") && found->second.nothing_removed();
    if (!removal && !found->second.covers(path.substr(slash + 1))) {
      wrong.emplace(found->first, "rsync finds a difference that nobody told: " + line);
    }
  }
  return wrong;
}

}  // namespace choline::moves
