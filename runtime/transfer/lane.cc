#include "transfer/lane.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/random.h"
#include "transfer/named_socket.h"

namespace choline {

namespace {

constexpr size_t kIdLength = 16;
constexpr size_t kSecretLength = 32;
constexpr char kTaken = 'k';
constexpr int kGreetingPatience = 10'000;  // milliseconds
constexpr int kLaneBuffer = 1 << 20;       // asked for; the kernel may give less

std::string lane_name(const std::string& id) {
  return "choline-lane-" + id;
}

void widen(int fd) {
  int size = kLaneBuffer;
  (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  (void)fcntl(fd, F_SETPIPE_SZ, kLaneBuffer);
}

// The number in a greeting with this key.
bool read_greeting(const std::string& greeting, const LaneKey& key, uint64_t& number) {
  if (greeting.size() != kLaneGreeting) return false;
  std::string expected = lane_greeting(key, 0);
  unsigned char difference = 0;  // as long for a wrong key as for the right one
  for (size_t at = 0; at < kIdLength + kSecretLength; ++at) {
    difference = static_cast<unsigned char>(difference | (greeting[at] ^ expected[at]));
  }
  number = 0;
  for (char digit : greeting.substr(kIdLength + kSecretLength)) {
    if (digit < '0' || digit > '9') return false;
    number = number * 10 + static_cast<uint64_t>(digit - '0');
  }
  return difference == 0;
}

// The threads of lanes that run.
class Runs {
 public:
  Runs() = default;
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;
  ~Runs() { finish(true); }

  void add(uint64_t number, std::function<void(const LaneWaker&)> body) {
    std::lock_guard lock(mutex_);
    if (over_ || threads_.size() >= kMostLanes) return;
    auto waker = std::make_shared<LaneWaker>();  // shared: by its thread and those who wake it
    lanes_[number] = Known{waker, false};
    threads_.emplace_back([waker, body = std::move(body)] { body(*waker); });
  }
  // It is open on both ends: from now on it is waited for. False: too late for that.
  bool open(uint64_t number) {
    std::lock_guard lock(mutex_);
    if (over_) return false;
    return lanes_[number].open = true;
  }
  void drop(uint64_t number) {
    std::lock_guard lock(mutex_);
    auto found = lanes_.find(number);
    if (found != lanes_.end()) found->second.waker->wake();
  }
  void finish(bool wake) {
    std::vector<std::thread> threads;
    {
      std::lock_guard lock(mutex_);
      over_ = true;
      threads.swap(threads_);
      for (const auto& [number, lane] : lanes_) {
        if (wake || !lane.open) lane.waker->wake();
      }
    }
    for (std::thread& thread : threads) thread.join();
  }

 private:
  std::mutex mutex_;
  bool over_ = false;
  std::vector<std::thread> threads_;
  struct Known {
    std::shared_ptr<LaneWaker> waker;
    bool open = false;
  };
  std::map<uint64_t, Known> lanes_;
};

class Dialled : public LaneSource {
 public:
  Dialled(LaneOpener opener, LaneKey key) : opener_(std::move(opener)), key_(std::move(key)) {}
  void start(size_t most, Run run, std::function<void(uint64_t)> lost) override {
    for (uint64_t number = 1; number <= std::min(most, kMostLanes); ++number) {
      runs_.add(number, [this, number, run, lost](const LaneWaker& waker) {
        Result<LanePipe> pipe = opener_(number, waker);
        if (!pipe.ok()) return;  // with fewer lanes, then
        LaneStream stream(pipe->in.get(), pipe->out.get(), waker);
        pipe->number = number;
        if (!stream.write(lane_greeting(key_, number)).ok()) return;
        char taken = 0;
        bool fine = stream.read_all(&taken, 1).ok() && taken == kTaken && runs_.open(number);
        fine ? run(std::move(*pipe), waker) : lost(number);
      });
    }
  }
  void drop(uint64_t number) override { runs_.drop(number); }
  void stop(bool wake) override { runs_.finish(wake); }

 private:
  LaneOpener opener_;
  LaneKey key_;
  Runs runs_;
};

class Taken : public LaneSource {
 public:
  Taken(LaneKey key, UniqueFd listener) : key_(std::move(key)), listener_(std::move(listener)) {}
  ~Taken() override { stop(true); }

  void start(size_t, Run run, std::function<void(uint64_t)>) override {
    accepting_ = std::thread([this, run = std::move(run)] { accept_all(run); });
  }
  void drop(uint64_t number) override { runs_.drop(number); }
  void stop(bool wake) override {
    over_.wake();
    if (accepting_.joinable()) accepting_.join();
    runs_.finish(wake);
  }

 private:
  void accept_all(const Run& run) {
    for (;;) {
      pollfd polls[2] = {{listener_.get(), POLLIN, 0}, {over_.fd(), POLLIN, 0}};
      if (poll(polls, 2, -1) < 0 && errno != EINTR) return;
      if (polls[1].revents) return;
      if (!polls[0].revents) continue;
      UniqueFd caller(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (caller && is_ours(caller.get())) welcome(std::move(caller), run);
    }
  }

  // One that connects and says nothing holds up other lanes for a while, and nothing else.
  void welcome(UniqueFd caller, const Run& run) {
    pollfd polls[2] = {{caller.get(), POLLIN, 0}, {over_.fd(), POLLIN, 0}};
    if (poll(polls, 2, kGreetingPatience) <= 0 || !polls[0].revents) return;
    auto pipe = std::make_shared<LanePipe>();  // shared: std::function copies what it holds
    std::string greeting(kLaneGreeting, '\0');
    if (!take_descriptors(caller.get(), greeting, pipe->in, pipe->out)) return;
    if (!read_greeting(greeting, key_, pipe->number)) return;
    pipe->holder = std::make_shared<UniqueFd>(std::move(caller));
    runs_.add(pipe->number, [this, pipe, run](const LaneWaker& waker) {
      LaneStream stream(pipe->in.get(), pipe->out.get(), waker);
      if (!stream.write(std::string_view(&kTaken, 1)).ok() || !runs_.open(pipe->number)) return;
      run(std::move(*pipe), waker);
    });
  }

  LaneKey key_;
  UniqueFd listener_;
  LaneWaker over_;
  std::thread accepting_;
  Runs runs_;
};

}  // namespace

LaneKey LaneKey::make() {
  return LaneKey{random_id(kIdLength), random_id(kSecretLength)};
}

std::string lane_greeting(const LaneKey& key, uint64_t number) {
  std::string digits = std::to_string(number);
  size_t width = kLaneGreeting - kIdLength - kSecretLength;
  return key.id + key.secret + std::string(width - digits.size(), '0') + digits;
}

LaneWaker::LaneWaker() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void LaneWaker::wake() const {
  woken_ = true;
  uint64_t one = 1;
  while (::write(event_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

LaneStream::LaneStream(int in, int out, const LaneWaker& waker)
    : in_(in), out_(out), waker_(waker) {
  for (int fd : {in, out}) {
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    widen(fd);
  }
}

Status LaneStream::wait(int fd, short events) {
  pollfd polls[2] = {{fd, events, 0}, {waker_.fd(), POLLIN, 0}};
  if (poll(polls, 2, -1) < 0 && errno != EINTR) return errno_error("transfer: poll", errno);
  if (waker_.woken()) return Error(ErrorKind::cancelled, "transfer: a lane was given up");
  return done();
}

Result<size_t> LaneStream::read(char* into, size_t most) {
  for (;;) {
    ssize_t got = ::read(in_, into, most);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno == EAGAIN) {
      Status status = wait(in_, POLLIN);
      if (!status.ok()) return status.error();
    } else if (errno != EINTR) {
      return errno_error("transfer: read", errno);
    }
  }
}

Status LaneStream::read_all(char* into, size_t count) {
  while (count > 0) {
    Result<size_t> got = read(into, count);
    if (!got.ok()) return got.error();
    if (*got == 0) return Error(ErrorKind::lost, "transfer: a lane closed before its end");
    into += *got;
    count -= *got;
  }
  return done();
}

Status LaneStream::write(std::string_view bytes) {
  return write(bytes, std::string_view());
}

Status LaneStream::write(std::string_view head, std::string_view bytes) {
  bool is_socket = true;
  while (!head.empty() || !bytes.empty()) {
    iovec parts[2] = {{const_cast<char*>(head.data()), head.size()},
                      {const_cast<char*>(bytes.data()), bytes.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    ssize_t put = is_socket ? sendmsg(out_, &message, MSG_NOSIGNAL) : writev(out_, parts, 2);
    if (put < 0 && errno == ENOTSOCK) {
      is_socket = false;
    } else if (put < 0 && errno == EAGAIN) {
      Status status = wait(out_, POLLOUT);
      if (!status.ok()) return status;
    } else if (put < 0 && errno != EINTR) {
      return errno_error("transfer: write", errno);
    } else if (put > 0) {
      size_t of_head = std::min(head.size(), static_cast<size_t>(put));
      head.remove_prefix(of_head);
      bytes.remove_prefix(static_cast<size_t>(put) - of_head);
    }
  }
  return done();
}

std::unique_ptr<LaneSource> dial_lanes(LaneOpener opener, LaneKey key) {
  return std::make_unique<Dialled>(std::move(opener), std::move(key));
}

std::unique_ptr<LaneSource> take_lanes(const LaneKey& key) {
  bool fine = key.id.size() == kIdLength && key.secret.size() == kSecretLength;
  if (!fine) return nullptr;
  UniqueFd listener = listen_by_name(lane_name(key.id), static_cast<int>(kMostLanes));
  if (!listener) return nullptr;
  return std::make_unique<Taken>(key, std::move(listener));
}

Status hand_lane(int in, int out) {
  FdStream stream(in, out);
  Status status = stream.write(kLaneReady);
  std::string greeting(kLaneGreeting, '\0');
  for (size_t at = 0; status.ok() && at < greeting.size();) {
    Result<size_t> got = stream.read(greeting.data() + at, greeting.size() - at);
    if (!got.ok()) return got.error();
    if (*got == 0) return Error(ErrorKind::lost, "transfer: nobody wants this lane");
    at += *got;
  }
  if (!status.ok()) return status;
  UniqueFd desk = call_by_name(lane_name(greeting.substr(0, kIdLength)));
  if (!desk) return errno_error("transfer: reach the transfer of a lane", errno);
  if (!is_ours(desk.get()) || !send_descriptors(desk.get(), in, out, greeting)) {
    return Error(ErrorKind::refused, "transfer: the transfer of a lane is not ours");
  }
  char nothing = 0;
  while (::read(desk.get(), &nothing, 1) < 0 && errno == EINTR) {
  }
  return done();
}

}  // namespace choline
