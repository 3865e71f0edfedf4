// The end of a direct transfer that dials: the instance's own ssh program carries it, with a key
// and a host key that lie in memory and nowhere else.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <thread>
#include <vector>

#include "agent/direct.h"
#include "agent/file.h"
#include "agent/process.h"
#include "agent/reactor.h"
#include "transfer/serve.h"

namespace choline {

namespace {

constexpr double kGreetPatience = 30;             // seconds until the other end has greeted
constexpr size_t kMostGreeting = 256 << 10;       // what a login may print
constexpr size_t kMostComplaint = 8 << 10;        // kept of what ssh says
constexpr double kTellEvery = 0.25;               // seconds
constexpr const char* kAlias = "choline-direct";  // the name under which the host key is known

// A file in memory, which a child of the same user can open by name.
class MemoryFile {
 public:
  Status write(std::string_view text) {
    fd_.reset(::memfd_create("choline", MFD_CLOEXEC));
    // ssh wants private keys that nobody else may read.
    if (!fd_ || ::fchmod(fd_.get(), 0600) != 0) return errno_error("set memory aside", errno);
    return write_all(fd_.get(), text);
  }
  std::string path() const {
    return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_.get());
  }
  void forget() {
    if (fd_ && ::ftruncate(fd_.get(), 0) == 0) fd_.reset();
  }

 private:
  UniqueFd fd_;
};

std::vector<std::string> dial_words(const Json& job, const std::string& key,
                                    const std::string& known) {
  std::vector<std::string> words = {"ssh", "-F", "/dev/null", "-T", "-x",
                                    "-a",  "-e", "none",      "-i", key};
  for (const std::string& option :
       {std::string("BatchMode=yes"),
        std::string("IdentitiesOnly=yes"),
        std::string("IdentityAgent=none"),
        std::string("PreferredAuthentications=publickey"),
        std::string("StrictHostKeyChecking=yes"),
        "UserKnownHostsFile=" + known,
        std::string("GlobalKnownHostsFile=/dev/null"),
        std::string("HostKeyAlias=") + kAlias,
        std::string("CheckHostIP=no"),
        std::string("UpdateHostKeys=no"),
        std::string("VerifyHostKeyDNS=no"),
        std::string("ConnectTimeout=10"),
        std::string("ServerAliveInterval=5"),
        std::string("ServerAliveCountMax=3"),
        std::string("ClearAllForwardings=yes"),
        std::string("PermitLocalCommand=no"),
        std::string("ControlMaster=no"),
        std::string("ControlPath=none"),
        std::string("LogLevel=ERROR"),
        std::string("Compression=no"),
        std::string("Ciphers=aes128-gcm@openssh.com,aes256-gcm@openssh.com,"
                    "chacha20-poly1305@openssh.com,aes128-ctr,aes256-ctr")}) {
    words.insert(words.end(), {"-o", option});
  }
  words.insert(words.end(), {"-p", std::to_string(job.value("port", 22))});
  words.insert(words.end(), {"-l", job.value("user", "")});
  words.insert(words.end(), {"--", job.value("host", "")});
  return words;
}

std::string known_text(const Json& keys) {
  std::string text;
  for (const Json& key : keys) {
    if (key.is_string()) text += std::string(kAlias) + " " + key.get<std::string>() + "\n";
  }
  return text;
}

// The ssh program with our end of its stdin and stdout. Dies with the object, or with us.
class SshChild {
 public:
  SshChild() = default;
  SshChild(const SshChild&) = delete;
  SshChild& operator=(const SshChild&) = delete;
  ~SshChild() { (void)end(true); }

  Status start(const std::vector<std::string>& words) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return errno_error("make a socket pair", errno);
    }
    near_.reset(ends[0]);
    UniqueFd far(ends[1]);
    Result<Pipe> said = make_pipe();
    if (!said.ok()) return said.error();
    pid_t self = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) return errno_error("fork", errno);
    if (pid_ == 0) run(words, self, far.get(), said->write.get());
    listener_ = std::thread(
        [this, read = std::make_shared<UniqueFd>(std::move(said->read))] { listen(read->get()); });
    return done();
  }
  int socket() const { return near_.get(); }

  struct End {
    int code = 0;
    std::string complaint;
  };
  // Waits for it; at once, if `kill`.
  End end(bool kill) {
    if (pid_ <= 0) return {};
    near_.reset();
    if (kill) ::kill(-pid_, SIGKILL);  // it may be a script that has started the program
    if (kill) ::kill(pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    listener_.join();
    return {exit_code(status), std::move(complaint_)};
  }

 private:
  [[noreturn]] static void run(const std::vector<std::string>& words, pid_t parent, int ends,
                               int complaints) {
    restore_defaults();
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(ends, STDIN_FILENO);
    ::dup2(ends, STDOUT_FILENO);
    ::dup2(complaints, STDERR_FILENO);
    close_from(3);
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  // The last of what it says; a host may print without end.
  void listen(int fd) {
    char buffer[4096];
    for (;;) {
      ssize_t got = ::read(fd, buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return;
      complaint_.append(buffer, static_cast<size_t>(got));
      if (complaint_.size() > kMostComplaint) {
        complaint_.erase(0, complaint_.size() - kMostComplaint);
      }
    }
  }

  UniqueFd near_;
  pid_t pid_ = 0;
  std::thread listener_;
  std::string complaint_;
};

// Past what the login prints. False: it ended, or took too long.
bool wait_for_greeting(int socket) {
  double until = boot_seconds() + kGreetPatience;
  std::string heard;
  while (heard.size() < kMostGreeting) {
    pollfd poll_for{socket, POLLIN, 0};
    double left = until - boot_seconds();
    if (left <= 0) return false;
    if (::poll(&poll_for, 1, static_cast<int>(left * 1000) + 1) <= 0) continue;
    char letter = 0;
    // One by one: what follows belongs to the transfer.
    ssize_t got = ::read(socket, &letter, 1);
    if (got == 0 || (got < 0 && errno != EINTR)) return false;
    if (got == 1) heard += letter;
    if (heard.ends_with(kDirectReady)) return true;
  }
  return false;
}

int tell_unreached(const SshChild::End& end) {
  say_direct(Json{{"unreached", end.complaint}, {"code", end.code}});
  return 1;
}

class Teller {
 public:
  void operator()(const SyncProgress& now) {
    double at = boot_seconds();
    if (at - told_ < kTellEvery) return;
    told_ = at;
    say_direct(Json{{"progress", Json::array({now.files_done, now.files_total, now.bytes_done,
                                              now.bytes_total})}});
  }

 private:
  double told_ = 0;
};

}  // namespace

int dial_transfer() {
  ::signal(SIGPIPE, SIG_IGN);
  Result<Json> job = read_direct_job();
  if (!job.ok()) return tell_direct_end(job.error());
  std::string secret = job->value("secret", "");
  job->erase("secret");
  MemoryFile key, known;
  Status ready = key.write(secret);
  if (ready.ok()) ready = known.write(known_text(job->value("known", Json::array())));
  SshChild ssh;
  if (ready.ok()) ready = ssh.start(dial_words(*job, key.path(), known.path()));
  if (!ready.ok()) return tell_direct_end(ready.error());
  end_with_input();
  bool greeted = wait_for_greeting(ssh.socket());
  key.forget();
  if (!greeted) {
    // One that still runs has not got through; what it is waiting for does not matter.
    return tell_unreached(ssh.end(true));
  }
  say_direct(Json{{"begun", true}});
  FdStream stream(ssh.socket(), ssh.socket());
  Teller teller;
  Result<SyncReport> report = serve_given(stream, job->value("request", Json()), {},
                                          [&teller](const SyncProgress& now) { teller(now); });
  int code = tell_direct_end(report);
  (void)ssh.end(false);
  return code;
}

}  // namespace choline
