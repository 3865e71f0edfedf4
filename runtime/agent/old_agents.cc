#include "agent/old_agents.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace choline {

namespace {

namespace fs = std::filesystem;

constexpr time_t kUnused = time_t{30} * 24 * 3600;  // seconds
constexpr time_t kBroken = time_t{24} * 3600;       // more than any transmission takes
constexpr size_t kKept = 4;                         // this one included

struct OldAgent {
  std::string path;
  time_t used;
};

bool is_agent(const std::string& name) {
  return name.size() == 30 && name.starts_with("agent-") &&
         name.find_first_not_of("0123456789abcdef", 6) == std::string::npos;
}

// Programs that run: those of which we may know, which are all that can be ours.
std::set<std::string> running_programs() {
  std::set<std::string> found;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator("/proc", failed)) {
    std::error_code hidden;
    fs::path program = fs::read_symlink(entry.path() / "exe", hidden);
    if (!hidden) found.insert(program.string());
  }
  return found;
}

}  // namespace

void remove_old_agents() {
  std::error_code failed;
  fs::path self = fs::read_symlink("/proc/self/exe", failed);
  if (failed || !is_agent(self.filename().string())) return;  // not as choline puts it there
  ::utimensat(AT_FDCWD, self.c_str(), nullptr, 0);
  time_t now = ::time(nullptr);
  std::vector<OldAgent> agents;
  for (const auto& entry : fs::directory_iterator(self.parent_path(), failed)) {
    std::string name = entry.path().filename().string();
    struct stat info {};
    if (::lstat(entry.path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    bool broken = name.starts_with(".new-") || name.starts_with(".try-");
    if (broken && now - info.st_mtime > kBroken) ::unlink(entry.path().c_str());
    if (is_agent(name) && entry.path() != self) {
      agents.push_back({entry.path().string(), info.st_mtime});
    }
  }
  std::sort(agents.begin(), agents.end(),
            [](const OldAgent& a, const OldAgent& b) { return a.used > b.used; });
  std::set<std::string> running;
  for (size_t i = 0; i < agents.size(); i++) {
    if (i + 1 < kKept && now - agents[i].used <= kUnused) continue;
    if (running.empty()) running = running_programs();
    if (!running.contains(agents[i].path)) ::unlink(agents[i].path.c_str());
  }
}

}  // namespace choline
