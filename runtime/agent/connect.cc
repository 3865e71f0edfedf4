// The verb connect: a connection from the instance to one of its ports, to another host's, or to a
// Unix socket, relayed over the channel; each direction ends by itself.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/child.h"
#include "agent/file.h"
#include "agent/server.h"
#include "base/text.h"

namespace choline {

namespace {

constexpr double kPatience = 30;      // seconds for all addresses of a name together
constexpr size_t kMostName = 255;     // of a host, as in DNS
constexpr size_t kMostLookup = 8192;  // of what `getent` says

struct Address {
  sockaddr_storage where{};
  socklen_t size = 0;
};

void add_address(std::vector<Address>& list, const std::string& text, int port) {
  Address address;
  auto* four = reinterpret_cast<sockaddr_in*>(&address.where);
  auto* six = reinterpret_cast<sockaddr_in6*>(&address.where);
  if (::inet_pton(AF_INET, text.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof *four;
  } else if (::inet_pton(AF_INET6, text.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof *six;
  } else {
    return;
  }
  list.push_back(address);
}

// What needs no question to anybody: numbers, localhost, and /etc/hosts. A static program cannot
// use the resolver of its system; that is asked through `getent`.
std::vector<Address> known_addresses(const std::string& host, int port) {
  std::vector<Address> found;
  if (host == "localhost") {
    add_address(found, "127.0.0.1", port);
    add_address(found, "::1", port);
    return found;
  }
  add_address(found, host, port);
  if (!found.empty()) return found;
  Result<std::string> table = read_file("/etc/hosts", size_t{1} << 20);
  for (std::string& line : split(table ? *table : "", '\n')) {
    line.resize(std::min(line.find('#'), line.size()));
    std::replace(line.begin(), line.end(), '\t', ' ');
    std::vector<std::string> words = split(line, ' ');
    std::erase(words, "");
    if (std::find(words.begin(), words.end(), host) != words.end()) {
      add_address(found, words[0], port);
    }
  }
  return found;
}

class Connection : public Activity {
 public:
  Connection(Server& server, uint32_t channel, std::string name)
      : Activity(server, channel), name_(std::move(name)) {
    timer_ = server.reactor().timer(kPatience, [this] {
      timer_ = 0;
      fail(Error(ErrorKind::timeout, name_ + " did not answer"));
    });
  }
  ~Connection() override {
    server_.reactor().cancel(timer_);
    close();
  }

  void connect_to(std::vector<Address> addresses) {
    addresses_ = std::move(addresses);
    try_next();
  }
  void look_up(const std::string& host, int port);

  void on_data(std::string_view bytes) override {
    if (failed_) return server_.mux().consumed(channel_, bytes.size());
    pending_ += bytes;
    feed();
  }
  void on_end() override {
    input_ends_ = true;
    feed();
  }
  void on_room() override {
    if (connected_) pump();
  }

 private:
  void try_next();
  void answered();
  void feed();
  void pump();
  void arm();
  void check_end();
  void fail(Error why);
  void close() {
    if (watch_) server_.reactor().unwatch(std::exchange(watch_, 0));
    socket_.reset();
  }

  std::string name_;  // for people
  std::vector<Address> addresses_;
  size_t next_ = 0;
  Error why_{ErrorKind::not_found, "no address"};  // of the last one that was tried
  std::unique_ptr<Child> lookup_;
  std::string looked_up_;
  UniqueFd socket_;
  Reactor::Id watch_ = 0, timer_ = 0;
  std::string pending_;                                         // for the socket
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with posts, weakly
  bool connected_ = false, failed_ = false;
  bool input_ends_ = false, input_ended_ = false;   // from the channel; told to the socket
  bool output_ended_ = false, waits_room_ = false;  // from the socket
};

void Connection::look_up(const std::string& host, int port) {
  Program program;
  program.argv = {"getent", "ahosts", host};
  program.env = {"PATH=/usr/local/bin:/usr/bin:/bin"};
  program.dir = "/";
  lookup_ = std::make_unique<Child>(
      server_.reactor(), Child::Events{
                             [this](int stream, std::string_view bytes) {
                               if (stream == 1)
                                 looked_up_.append(bytes, 0, kMostLookup - looked_up_.size());
                             },
                             [] { return size_t{4096}; },
                             [](size_t) {},
                             [this, port](int) {
                               server_.reactor().post([this, alive = std::weak_ptr(alive_), port] {
                                 if (alive.expired()) return;
                                 lookup_.reset();
                                 std::vector<Address> found;
                                 for (const std::string& line : split(looked_up_, '\n')) {
                                   // Each address comes once for each kind of socket.
                                   if (line.find("STREAM") == std::string::npos) continue;
                                   add_address(found, line.substr(0, line.find(' ')), port);
                                 }
                                 connect_to(std::move(found));
                               });
                             },
                         });
  Status started = lookup_->start(program);
  if (started) return lookup_->end_input();
  fail(started.error());
}

void Connection::try_next() {
  close();
  if (next_ == addresses_.size()) {
    if (addresses_.empty()) {
      why_ = Error(ErrorKind::not_found, "its name is not known on the instance");
    }
    return fail(Error(why_.kind, "no connection to " + name_ + ": " + why_.message));
  }
  const Address& address = addresses_[next_++];
  int family = address.where.ss_family;
  socket_.reset(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket_ && family != AF_UNIX) {
    int on = 1;  // keys of a notebook should not wait for each other; no harm where it is unknown
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  const auto* where = reinterpret_cast<const sockaddr*>(&address.where);
  bool failed = !socket_ || ::connect(socket_.get(), where, address.size) != 0;
  if (failed && errno != EINPROGRESS) {
    why_ = Error(ErrorKind::refused, std::strerror(errno));
    return try_next();
  }
  watch_ = server_.reactor().watch(socket_.get(), POLLOUT, [this](short seen) {
    if (!connected_) return answered();
    if (seen & (POLLOUT | POLLERR)) feed();
    if (connected_ && (seen & (POLLIN | POLLHUP | POLLERR))) pump();
  });
}

void Connection::answered() {
  int code = 0;
  socklen_t size = sizeof code;
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &code, &size) != 0) code = errno;
  if (code != 0) {
    why_ = Error(ErrorKind::refused, std::strerror(code));
    return try_next();
  }
  connected_ = true;
  server_.reactor().cancel(std::exchange(timer_, 0));
  feed();
}

void Connection::feed() {
  if (!connected_) return;
  while (!pending_.empty()) {
    ssize_t sent = ::send(socket_.get(), pending_.data(), pending_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) return fail(errno_error("write to " + name_, errno));
    pending_.erase(0, static_cast<size_t>(sent));
    server_.mux().consumed(channel_, static_cast<size_t>(sent));
  }
  if (pending_.empty() && input_ends_ && !input_ended_) {
    input_ended_ = true;
    // An error means that the other side has gone, which reading tells.
    if (::shutdown(socket_.get(), SHUT_WR) != 0) waits_room_ = false;
  }
  arm();
  check_end();
  server_.kick();
}

void Connection::pump() {
  while (!output_ended_ && connected_) {
    size_t room = server_.mux().room(channel_);
    waits_room_ = room == 0;
    if (waits_room_) break;
    char buffer[65536];
    ssize_t got = ::recv(socket_.get(), buffer, std::min(room, sizeof buffer), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got < 0) return fail(errno_error("read from " + name_, errno));
    if (got == 0) {
      output_ended_ = true;
      server_.mux().end(channel_);
      break;
    }
    server_.mux().send(channel_, {buffer, static_cast<size_t>(got)});
    break;  // one read for each turn, so that nothing else waits
  }
  arm();
  check_end();
  server_.kick();
}

void Connection::arm() {
  if (!watch_) return;
  int wanted = output_ended_ || waits_room_ ? 0 : POLLIN;
  if (!pending_.empty()) wanted |= POLLOUT;
  server_.reactor().rewatch(watch_, static_cast<short>(wanted));
}

void Connection::check_end() {
  if (failed_ || !input_ended_ || !output_ended_) return;
  failed_ = true;
  connected_ = false;
  close();
  server_.finish(channel_, Json::object());
}

void Connection::fail(Error why) {
  if (failed_) return;
  failed_ = true;
  connected_ = false;
  close();
  server_.mux().consumed(channel_, std::exchange(pending_, {}).size());
  server_.finish(channel_, error_answer(why));
  server_.kick();
}

Result<int> read_port(const Json& request) {
  const Json port = request.value("port", Json());
  if (port.is_number_unsigned() && port.get<uint64_t>() - 1 < 65535) return port.get<int>();
  return Error(ErrorKind::invalid, "port: expected a number from 1 to 65535");
}

}  // namespace

std::unique_ptr<Activity> make_connection(Server& server, uint32_t channel, const Json& request) {
  auto refuse = [&](const Error& why) {
    server.finish(channel, error_answer(why));
    return nullptr;
  };
  if (request.contains("socket")) {
    std::string path = true_path(server.place(), request.value("socket", ""));
    Address address;
    auto* local = reinterpret_cast<sockaddr_un*>(&address.where);
    if (path.size() >= sizeof local->sun_path || path.find('\0') != std::string::npos) {
      return refuse(Error(ErrorKind::invalid, "socket: the path is too long for a socket"));
    }
    local->sun_family = AF_UNIX;
    std::memcpy(local->sun_path, path.c_str(), path.size() + 1);
    address.size = sizeof *local;
    auto connection = std::make_unique<Connection>(server, channel, path);
    connection->connect_to({address});
    return connection;
  }
  Result<int> port = read_port(request);
  if (!port) return refuse(port.error());
  std::string host = request.value("host", "localhost");
  bool odd = host.empty() || host.size() > kMostName || host[0] == '-' ||
             host.find_first_of(std::string("\0 \t\n/", 5)) != std::string::npos;
  if (odd) return refuse(Error(ErrorKind::invalid, choline::quoted(host) + " is no host"));
  auto connection =
      std::make_unique<Connection>(server, channel, host + ":" + std::to_string(*port));
  std::vector<Address> known = known_addresses(host, *port);
  if (known.empty()) {
    connection->look_up(host, *port);
  } else {
    connection->connect_to(std::move(known));
  }
  return connection;
}

}  // namespace choline
