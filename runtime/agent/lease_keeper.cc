// The keeper of a lease: waits until it is over, and ends the instance.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "agent/command.h"
#include "agent/file.h"
#include "agent/lease.h"
#include "agent/lease_record.h"
#include "agent/reactor.h"

namespace choline {

// A timer does not count while the host sleeps, so it looks this often.
constexpr double kLook = 5;  // seconds
constexpr double kAfterKill = 10;
constexpr double kMostBetweenEnds = 60;

class LeaseKeeper {
 public:
  explicit LeaseKeeper(const Place& place) : place_(place), lease_(place), commands_(place) {
    mark_ = "CHOLINE_INSTANCE=" + place.tag;
  }
  int run();

 private:
  bool claim();
  double look();
  bool wait_for_word(double seconds);
  bool a_command_runs() const;
  void end();
  void end_commands();
  bool run_hook() const;

  Place place_;
  Lease lease_;
  Commands commands_;
  std::string mark_;
  UniqueFd claim_, ending_;
  LeaseTerms terms_;
  std::optional<LeaseRecord> record_;
  std::string why_;  // once it is over
};

bool LeaseKeeper::claim() {
  claim_.reset(::open(lease_.path("keeper").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!claim_ || ::flock(claim_.get(), LOCK_EX | LOCK_NB) != 0) return false;
  std::string text = std::to_string(::getpid());
  text.resize(16, ' ');
  if (::pwrite(claim_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return false;
  }
  // Memory may become scarce because of what runs here, which must not keep that alive.
  Status safe = done();
  UniqueFd score(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (score) safe = write_all(score.get(), "-1000");  // only for root; others take their chance
  return true;
}

bool LeaseKeeper::a_command_runs() const {
  Result<Json> list = commands_.list();
  if (!list) return true;
  for (const Json& command : (*list)["commands"]) {
    if (command["status"]["state"] == "running") return true;
  }
  return false;
}

// Seconds until it is to be looked at again; nothing once it is over. What is told to wait and the
// decision to end are in one order, that of the lock.
double LeaseKeeper::look() {
  Result<UniqueFd> held = lease_.lock(3600);
  Result<std::string> text = read_file(lease_.path("terms"), size_t{64} << 10);
  if (Result<Json> value = text ? parse_json(*text) : Result<Json>(text.error());
      value && value->is_object()) {
    terms_ = terms_from_json(*value);
  }
  Moment now = this_moment();
  std::optional<LeaseRecord> written = read_record(lease_.path("heard"));
  if (written && written->heard.boot_id != now.boot_id) {
    written = after_boot(*written, terms_, now);
    Status kept = write_record(lease_.path("heard"), *written);
    (void)kept;  // the next look moves it again
  }
  if (written && (!record_ || written->heard.boot > record_->heard.boot)) record_ = written;
  if (written && !written->ending.empty()) record_ = written;
  if (!record_) record_ = LeaseRecord{now, 0, false, ""};  // nobody can say: from now on
  bool word = wait_for_word(0);
  if (terms_.keep && a_command_runs()) word = true;
  if (word && record_->ending.empty()) {
    record_->lived += std::max(0.0, now.boot - record_->heard.boot);
    record_->heard = now;
    // Sparingly: it is needed only when another keeper takes over.
    if (!written || now.boot - written->heard.boot > std::max(1.0, terms_.lease / 10)) {
      Status kept = write_record(lease_.path("heard"), *record_);
      (void)kept;
    }
  }
  std::optional<LeaseLeft> left = left_of(terms_, *record_, now);
  if (record_->ending.empty() && (!left || left->seconds > 0)) {
    return left ? std::min(left->seconds, kLook) : kLook;
  }
  if (record_->ending.empty()) record_->ending = left->why;
  why_ = record_->ending;
  // Should it not be written, the lock says it for as long as this process lives.
  if (!write_record(lease_.path("heard"), *record_) && held) ending_ = std::move(*held);
  return 0;
}

// True when choline was heard, by the signal of the agent that it spoke to.
bool LeaseKeeper::wait_for_word(double seconds) {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  ::sigaddset(&wanted, SIGUSR1);
  timespec most{};
  most.tv_sec = static_cast<time_t>(seconds);
  most.tv_nsec = static_cast<long>((seconds - static_cast<double>(most.tv_sec)) * 1e9);
  return ::sigtimedwait(&wanted, nullptr, &most) == SIGUSR1;
}

// SIGTERM, the grace time, and then SIGKILL to all that belongs to the instance.
void LeaseKeeper::end_commands() {
  std::vector<PidFile> running;
  Result<Json> list = commands_.list();
  const Json commands = list ? (*list)["commands"] : Json::array();
  for (const Json& command : commands) {
    if (command["status"]["state"] != "running") continue;
    std::optional<PidFile> pid = read_pid_file(commands_.files(command["key"]));
    if (!pid || (!place_.tag.empty() && !is_marked(pid->keeper.pid, mark_))) continue;
    running.push_back(*pid);
  }
  auto any_left = [&] {
    return std::any_of(running.begin(), running.end(),
                       [](const PidFile& pid) { return is_alive(pid.keeper); });
  };
  // A command that ends at once lets go of what it started, which may have left group and mark.
  std::map<pid_t, ProcessName> started;
  auto note = [&] {
    for (const PidFile& pid : running) {
      for (const ProcessName& one : descendants(pid.keeper.pid)) started[one.pid] = one;
    }
  };
  double until = boot_seconds() + terms_.grace;
  note();
  for (const PidFile& pid : running) kill_group(pid.command.pid, SIGTERM);
  for (; any_left() && boot_seconds() < until; note()) wait_for_word(0.05);
  // The keepers at last: they write down how their commands ended.
  until = boot_seconds() + kAfterKill;
  while (any_left() && boot_seconds() < until) {
    for (const PidFile& pid : running) {
      if (is_alive(pid.keeper)) kill_tree(pid.keeper.pid, SIGKILL);
    }
    wait_for_word(0.02);
  }
  for (const PidFile& pid : running) {
    if (is_alive(pid.keeper)) ::kill(pid.keeper.pid, SIGKILL);
  }
  for (const auto& [pid, name] : started) {
    if (is_alive(name)) ::kill(pid, SIGKILL);
  }
  if (place_.tag.empty()) return;
  until = boot_seconds() + kAfterKill;
  while (kill_marked(mark_) > 0 && boot_seconds() < until) wait_for_word(0.02);
}

bool LeaseKeeper::run_hook() const {
  if (terms_.end.empty()) return true;
  pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) {
    restore_defaults();
    ::setenv("CHOLINE_END", why_.c_str(), 1);
    ::setenv("CHOLINE_ENDED", std::to_string(wall_seconds()).c_str(), 1);
    std::vector<char*> argv;
    for (const std::string& word : terms_.end) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return exit_code(status) == 0;
}

// What costs money is tried again until it has ended.
void LeaseKeeper::end() {
  double wait = 1;
  while (true) {
    end_commands();
    if (run_hook() || ::access(place_.root.c_str(), F_OK) != 0) return;
    wait_for_word(wait);
    wait = std::min(wait * 2, kMostBetweenEnds);
  }
}

int LeaseKeeper::run() {
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR1);
  ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
  if (!claim()) return 0;
  while (true) {
    double wait = look();
    if (!why_.empty()) {
      end();
      return 0;
    }
    if (::access(place_.root.c_str(), F_OK) != 0) return 0;  // the instance is no more
    bool counts = terms_.lease > 0 || terms_.lifetime > 0;
    if (!counts && ::access(lease_.path("terms").c_str(), F_OK) == 0) return 0;
    if (wait_for_word(wait)) ::kill(::getpid(), SIGUSR1);  // for the next look, under the lock
  }
}

int keep_lease(const Place& place) {
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  return LeaseKeeper(place).run();
}

}  // namespace choline
