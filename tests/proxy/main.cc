// A line between a client and a server on this computer, for tests and benchmarks: it delays,
// paces, cuts, falls silent and forgets one side. Ends when its stdin does, so that it outlives
// nobody.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <list>
#include <map>
#include <sstream>
#include <vector>

#include "line.h"

namespace {

using namespace proxy;

constexpr const char* kUsage = R"(usage: choline_proxy PORT [NAME VALUE ...]

Listens on a free port of 127.0.0.1, prints it, and passes what comes on to PORT. Names to set, at
the start or later as a line on stdin, each of which is answered by a line:

  delay MS        each way
  rate BYTES      a second, each way, of all connections together; 0 for no limit
  cut-after N     resets a connection when N bytes have gone through it, both ways together
  freeze 1|0      nothing goes through, new connections neither, and nobody is told; 0 heals it
  refuse 1|0      new connections are reset
  cut 1           resets every connection now
  half-open 1     resets the server's side of every connection; the client's hears nothing more
  count 1         answers how many connections there have been, and how many there are
  bytes 1         answers how many bytes have gone through, both ways together

example: choline_proxy 2222 delay 25
)";

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "choline_proxy: " << what << "\n";
  exit(2);
}

void reset(int fd) {
  linger hard{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(fd);
}

void set_up(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

struct Connection {
  Connection(int client_fd, int server_fd, Pace& up_pace, Pace& down_pace, uint64_t bytes)
      : client(client_fd),
        server(server_fd),
        left(bytes),
        up(client, server, up_pace),
        down(server, client, down_pace) {}
  int client, server;  // -1: forgotten
  uint64_t left;
  Flow up, down;
};

class Proxy {
 public:
  Proxy(uint16_t port) : port_(port), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_, 512) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      fail(std::string("listen: ") + strerror(errno));
    }
    fcntl(listener_, F_SETFL, O_NONBLOCK);
    listens_on_ = ntohs(address.sin_port);
  }

  uint16_t listens_on() const { return listens_on_; }
  std::string set(const std::string& name, const std::string& value);
  // False once stdin has ended.
  bool turn();

 private:
  bool read_commands();
  void accept_one();
  bool move(Connection& connection, const std::map<int, short>& seen);
  void watch(std::vector<pollfd>& polled) const;
  timespec until_due() const;
  void forget_servers();

  Settings settings_;
  Pace up_, down_;
  uint16_t port_, listens_on_ = 0;
  int listener_;
  std::list<Connection> connections_;
  uint64_t accepted_ = 0, passed_ = 0;
  std::string commands_;
};

std::string Proxy::set(const std::string& name, const std::string& value) {
  char* end = nullptr;
  double number = strtod(value.c_str(), &end);
  if (value.empty() || *end || !(number >= 0)) return "bad value for " + name;
  auto whole = static_cast<uint64_t>(number);
  if (name == "delay") {
    settings_.delay = std::chrono::microseconds(static_cast<int64_t>(number * 1000));
  } else if (name == "rate") {
    settings_.rate = whole;
  } else if (name == "cut-after") {
    settings_.cut_after = whole;
  } else if (name == "refuse") {
    settings_.refuses = whole > 0;
  } else if (name == "freeze") {
    settings_.frozen = whole > 0;
    for (Connection& each : connections_) {
      each.up.heal(Clock::now());
      each.down.heal(Clock::now());
    }
  } else if (name == "cut") {
    for (Connection& each : connections_) {
      reset(each.client);
      if (each.server >= 0) reset(each.server);
    }
    connections_.clear();
  } else if (name == "half-open") {
    forget_servers();
  } else if (name == "bytes") {
    return std::to_string(passed_);
  } else if (name == "count") {
    return std::to_string(accepted_) + " " + std::to_string(connections_.size());
  } else {
    return "unknown name " + name;
  }
  return "ok";
}

void Proxy::forget_servers() {
  for (Connection& each : connections_) {
    if (each.server >= 0) reset(each.server);
    each.server = -1;
  }
}

void Proxy::accept_one() {
  int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  ++accepted_;
  if (settings_.refuses) return reset(client);
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(port_);
  // On loopback it is made at once or refused.
  if (server < 0 || connect(server, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    if (server >= 0) close(server);
    return reset(client);
  }
  set_up(client);
  set_up(server);
  uint64_t bytes = settings_.cut_after ? settings_.cut_after : UINT64_MAX;
  connections_.emplace_back(client, server, up_, down_, bytes);
}

// False when the connection has ended, in whatever way.
bool Proxy::move(Connection& connection, const std::map<int, short>& seen) {
  Time now = Clock::now();
  for (Flow* flow : {&connection.up, &connection.down}) {
    auto from = seen.find(flow->from()), to = seen.find(flow->to());
    if (to != seen.end() && (to->second & (POLLOUT | POLLERR | POLLHUP))) flow->room();
    bool readable = from != seen.end() && (from->second & (POLLIN | POLLERR | POLLHUP));
    if (readable && flow->wants_bytes(settings_) && !flow->take(settings_, now)) return false;
    uint64_t before = connection.left;
    bool works = flow->give(now, connection.left);
    passed_ += before - connection.left;
    if (!works) return false;
  }
  return !(connection.up.over() && connection.down.over());
}

void Proxy::watch(std::vector<pollfd>& polled) const {
  polled.push_back({STDIN_FILENO, POLLIN, 0});
  if (settings_.frozen) return;
  polled.push_back({listener_, POLLIN, 0});
  for (const Connection& each : connections_) {
    if (each.server < 0) continue;
    auto of = [&](const Flow& in, const Flow& out) {
      return static_cast<short>((in.wants_bytes(settings_) ? POLLIN : 0) |
                                (out.wants_room() ? POLLOUT : 0));
    };
    short client = of(each.up, each.down), server = of(each.down, each.up);
    if (client) polled.push_back({each.client, client, 0});
    if (server) polled.push_back({each.server, server, 0});
  }
}

timespec Proxy::until_due() const {
  Time first = Time::max();
  if (!settings_.frozen) {
    for (const Connection& each : connections_) {
      if (each.server < 0) continue;
      first = std::min({first, each.up.due(), each.down.due()});
    }
  }
  if (first == Time::max()) return {3600, 0};
  auto wait = std::max(std::chrono::nanoseconds(first - Clock::now()), std::chrono::nanoseconds(0));
  return {static_cast<time_t>(wait.count() / 1'000'000'000),
          static_cast<long>(wait.count() % 1'000'000'000)};
}

bool Proxy::read_commands() {
  char bytes[4096];
  ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
  if (got <= 0) return got < 0 && errno == EINTR;
  commands_.append(bytes, static_cast<size_t>(got));
  for (size_t end; (end = commands_.find('\n')) != std::string::npos;) {
    std::istringstream words(commands_.substr(0, end));
    commands_.erase(0, end + 1);
    std::string name, value;
    words >> name >> value;
    std::cout << set(name, value) << std::endl;
  }
  return true;
}

bool Proxy::turn() {
  std::vector<pollfd> polled;
  watch(polled);
  timespec wait = until_due();
  if (ppoll(polled.data(), polled.size(), &wait, nullptr) < 0 && errno != EINTR) {
    fail(std::string("ppoll: ") + strerror(errno));
  }
  std::map<int, short> seen;
  for (const pollfd& each : polled) seen[each.fd] = each.revents;
  if (seen[STDIN_FILENO] && !read_commands()) return false;
  if (settings_.frozen) return true;
  for (auto each = connections_.begin(); each != connections_.end();) {
    if (each->server < 0 || move(*each, seen)) {
      ++each;
      continue;
    }
    bool peaceful = each->up.over() && each->down.over();
    peaceful ? void(close(each->client)) : reset(each->client);
    peaceful ? void(close(each->server)) : reset(each->server);
    each = connections_.erase(each);
  }
  if (seen[listener_] & POLLIN) accept_one();  // last: a number of a closed one may come again
  return true;
}

}  // namespace

int main(int count, char** words) {
  bool good = count >= 2 && count % 2 == 0 && atoi(words[1]) > 0 && atoi(words[1]) < 65536;
  if (!good) {
    std::cerr << kUsage;
    return 2;
  }
  Proxy proxy(static_cast<uint16_t>(atoi(words[1])));
  for (int at = 2; at < count; at += 2) {
    std::string answer = proxy.set(words[at], words[at + 1]);
    if (answer != "ok") fail(answer);
  }
  std::cout << proxy.listens_on() << std::endl;
  while (proxy.turn()) {
  }
  return 0;
}
