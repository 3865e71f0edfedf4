// The verb facts: what this instance is made of.
#include <sched.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

#include "agent/child.h"
#include "agent/file.h"
#include "agent/server.h"
#include "base/text.h"

namespace choline {

namespace {

constexpr double kGpuTimeout = 20;  // nvidia-smi takes seconds when the driver has slept
constexpr size_t kGpuOutput = 65536;

std::optional<int64_t> whole_number(std::string_view text) {
  text = trim(text);
  int64_t value = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failed == std::errc() && end > text.data() ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> number_in(const std::string& path) {
  Result<std::string> text = read_file(path, 4096);
  return text ? whole_number(*text) : std::nullopt;
}

int64_t memory() {
  int64_t bytes = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  for (const char* limit :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    if (std::optional<int64_t> most = number_in(limit); most && *most > 0)
      bytes = std::min(bytes, *most);
  }
  return bytes;
}

double ratio(std::optional<int64_t> quota, std::optional<int64_t> period) {
  int64_t above = quota.value_or(0);
  int64_t below = period.value_or(0);
  return above > 0 && below > 0 ? static_cast<double>(above) / static_cast<double>(below) : 0;
}

// What we may use, not what the machine has: affinity and the control group's share.
int cpus() {
  cpu_set_t set;
  int count = ::sched_getaffinity(0, sizeof set, &set) == 0
                  ? CPU_COUNT(&set)
                  : static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  double share = 0;
  if (Result<std::string> text = read_file("/sys/fs/cgroup/cpu.max", 4096)) {
    std::vector<std::string> words = split(trim(*text), ' ');
    if (words.size() == 2) share = ratio(whole_number(words[0]), whole_number(words[1]));
  } else {
    share = ratio(number_in("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
                  number_in("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
  }
  if (share > 0) count = std::min(count, std::max(1, static_cast<int>(std::ceil(share))));
  return std::max(1, count);
}

std::string system_name(const std::string& otherwise) {
  Result<std::string> text = read_file("/etc/os-release", 65536);
  if (!text) return otherwise;
  for (const std::string& line : split(*text, '\n')) {
    constexpr std::string_view kField = "PRETTY_NAME=";
    if (!line.starts_with(kField)) continue;
    std::string_view name = std::string_view(line).substr(kField.size());
    if (name.size() >= 2 && name.front() == '"') name = name.substr(1, name.size() - 2);
    return std::string(name);
  }
  return otherwise;
}

Json gpus(const std::string& table) {
  Json found = Json::array();
  for (const std::string& line : split(table, '\n')) {
    std::vector<std::string> fields = split(line, ',');
    if (fields.size() < 3) continue;
    int64_t mebibytes = whole_number(fields[1]).value_or(0);
    found.push_back(
        Json{{"name", trim(fields[0])}, {"memory", mebibytes << 20}, {"driver", trim(fields[2])}});
  }
  return found;
}

class Facts : public Activity {
 public:
  Facts(Server& server, uint32_t channel)
      : Activity(server, channel),
        child_(server.reactor(), Child::Events{
                                     [this](int stream, std::string_view bytes) {
                                       if (stream == 1 && table_.size() < kGpuOutput)
                                         table_ += bytes;
                                     },
                                     [] { return size_t{16384}; },
                                     [](size_t) {},
                                     [this](int status) { answer(status == 0 ? table_ : ""); },
                                 }) {}
  ~Facts() override { server_.reactor().cancel(timer_); }

  void start() {
    Result<Program> program =
        read_program(Json{{"command",
                           {{"list",
                             {"nvidia-smi", "--query-gpu=name,memory.total,driver_version",
                              "--format=csv,noheader,nounits"}}}}},
                     server_.place());
    if (!program || !child_.start(*program)) return answer("");
    child_.end_input();
    timer_ = server_.reactor().timer(kGpuTimeout, [this] { child_.kill(9); });
  }

 private:
  void answer(const std::string& table) {
    const Place& place = server_.place();
    utsname system{};
    ::uname(&system);
    struct statvfs disk {};
    int64_t free = 0;
    if (::statvfs(place.root.c_str(), &disk) == 0) {
      free = static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
    }
    const char* user = ::getenv("USER");
    server_.finish(channel_, Json{{"home", place.jail ? "/" : place.root},
                                  {"root", place.root},
                                  {"jail", place.jail},
                                  {"os", system_name(system.sysname)},
                                  {"arch", system.machine},
                                  {"kernel", system.release},
                                  {"hostname", system.nodename},
                                  {"user", user ? user : std::to_string(::getuid())},
                                  {"agent", CHOLINE_VERSION},
                                  {"cpus", cpus()},
                                  {"memory", memory()},
                                  {"disk", free},
                                  {"gpus", gpus(table)}});
    server_.kick();
  }

  Child child_;
  std::string table_;
  Reactor::Id timer_ = 0;
};

}  // namespace

std::unique_ptr<Activity> make_facts(Server& server, uint32_t channel) {
  auto facts = std::make_unique<Facts>(server, channel);
  facts->start();
  return facts;
}

}  // namespace choline
