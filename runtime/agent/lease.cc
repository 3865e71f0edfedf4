#include "agent/lease.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>

#include "agent/file.h"
#include "agent/lease_record.h"
#include "agent/reactor.h"

namespace choline {

namespace {

constexpr double kLockPatience = 2;  // seconds; only an end holds it for longer

std::string folder_of_tag(const std::string& tag) {
  std::string name;
  for (char letter : tag.empty() ? std::string("none") : tag) {
    bool plain = std::isalnum(static_cast<unsigned char>(letter)) || letter == '-' || letter == '_';
    name += plain ? letter : '_';
  }
  return name.substr(0, 200);
}

Error over(const std::string& why) {
  return Error(ErrorKind::lost, "the instance is ending itself: its " + why + " is over",
               Json{{"ending", why}});
}

}  // namespace

Lease::Lease(const Place& place)
    : place_(place), folder_(place.root + "/.choline/lease/" + folder_of_tag(place.tag)) {}

Result<UniqueFd> Lease::lock(double patience) const {
  UniqueFd fd(::open(path("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return errno_error("open '" + path("lock") + "'", errno);
  double until = boot_seconds() + patience;
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return errno_error("lock '" + path("lock") + "'", errno);
    }
    if (boot_seconds() > until) return over("lease");
    ::poll(nullptr, 0, 5);
  }
  return fd;
}

bool Lease::exists() const {
  return ::access(path("terms").c_str(), F_OK) == 0;
}

// The number is right while the lock is held: it is written after the lock was taken.
std::optional<pid_t> Lease::keeper() const {
  UniqueFd fd(::open(path("keeper").c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return std::nullopt;
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return std::nullopt;
  Result<std::string> text = read_file(path("keeper"), 64);
  pid_t pid = text ? static_cast<pid_t>(std::atoi(text->c_str())) : 0;
  return pid > 1 ? std::optional<pid_t>(pid) : std::nullopt;
}

// A grandchild in a session of its own, so that it belongs to nobody. Of many, one gets the lock.
Status Lease::spawn() const {
  pid_t child = ::fork();
  if (child < 0) return errno_error("fork", errno);
  if (child == 0) {
    restore_defaults();
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    int nothing = ::open("/dev/null", O_RDWR);
    for (int fd : {0, 1, 2}) ::dup2(nothing, fd);
    close_from(3);
    if (::chdir("/") != 0) ::_exit(1);
    execute_self({"choline-agent", "lease", place_.root.c_str(), place_.tag.c_str()});
    ::_exit(keep_lease(place_));
  }
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return done();
}

void Lease::guard() const {
  if (!exists() || keeper()) return;
  Status spawned = spawn();
  (void)spawned;  // tried again at the next look
}

std::optional<std::string> Lease::ending() const {
  std::optional<LeaseRecord> record = read_record(path("heard"));
  if (!record || record->ending.empty()) return std::nullopt;
  return record->ending;
}

Result<Json> Lease::renew(const Json& request) const {
  LeaseTerms terms = terms_from_json(request);
  Status made = make_folders(folder_);
  if (!made) return made.error();
  Result<UniqueFd> held = lock(kLockPatience);
  if (!held) return held.error();
  std::optional<LeaseRecord> record = read_record(path("heard"));
  if (record && !record->ending.empty()) return over(record->ending);
  Moment now = this_moment();
  LeaseRecord next;
  if (record) {
    LeaseRecord before = after_boot(*record, terms, now);
    next.lived = before.lived + std::max(0.0, now.boot - before.heard.boot);
  } else {
    next.lived = std::max(0.0, request.value("lived", 0.0));  // before anybody counted here
  }
  next.heard = now;
  Result<std::string> known = read_file(path("terms"), size_t{64} << 10);
  std::string wanted = to_text(to_json(terms));
  if (!known || *known != wanted) {
    Status wrote = write_file(path("terms"), wanted);
    if (!wrote) return wrote.error();
  }
  Status wrote = write_record(path("heard"), next);
  std::optional<pid_t> keeper_pid = keeper();
  // It counts from the signal, whatever became of the record.
  if (keeper_pid) ::kill(*keeper_pid, SIGUSR1);
  if (!keeper_pid && !wrote) return wrote.error();
  if (!keeper_pid) {
    Status spawned = spawn();
    if (!spawned) return spawned.error();
  }
  std::optional<LeaseLeft> left = left_of(terms, next, now);
  Json answer = Json::object();
  if (left) answer["left"] = left->seconds;
  if (terms.lifetime > 0) answer["lifetime_left"] = terms.lifetime - next.lived;
  return answer;
}

}  // namespace choline
