#include "durable/requests.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace choline {

namespace {

constexpr size_t kMostLine = 1 << 20;
constexpr int kBacklog = 64;

// A path of any length: a long one goes through the descriptor of its folder, which must stay open
// until the address has been used.
struct Address {
  UniqueFd folder;
  sockaddr_un socket{};
};

Result<Address> socket_address(const std::string& folder) {
  Address address;
  std::string path = folder + "/control.sock";
  if (path.size() >= sizeof address.socket.sun_path) {
    address.folder = UniqueFd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!address.folder) return errno_error("open '" + folder + "'", errno);
    path = "/proc/self/fd/" + std::to_string(address.folder.get()) + "/control.sock";
  }
  address.socket.sun_family = AF_UNIX;
  std::memcpy(address.socket.sun_path, path.c_str(), path.size() + 1);
  return address;
}

UniqueFd new_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

std::optional<ucred> peer_of(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return peer;
}

std::string user_name(uid_t user) {
  std::array<char, 4096> space;
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(user, &entry, space.data(), space.size(), &found) == 0 && found) {
    return found->pw_name;
  }
  return std::to_string(user);
}

std::string host_name() {
  char host[256] = "";
  if (::gethostname(host, sizeof host - 1) != 0) return "";
  return host;
}

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

}  // namespace

struct RequestServer::Connection {
  int64_t id = 0;
  UniqueFd fd;
  WatchId watch = 0;
  ucred peer{};
  std::string in, out;
  bool asked = false;    // its line has come
  bool closing = false;  // ends once `out` is written
};

RequestServer::RequestServer(Loop& loop, std::string folder, UniqueFd listener)
    : loop_(loop), folder_(std::move(folder)), listener_(std::move(listener)), arrived_(loop) {
  watch_ = loop_.watch(listener_.get(), kReadable, [this](unsigned) { accept_all(); });
}

RequestServer::~RequestServer() {
  close();
}

void RequestServer::close() {
  if (std::exchange(closed_, true)) return;
  loop_.unwatch(watch_);
  for (auto& [id, connection] : connections_) loop_.unwatch(connection->watch);
  connections_.clear();
  queue_.clear();
  listener_.reset();
  arrived_.set();
  // Another owner can only listen after the lock, which is given up after this.
  ::unlink((folder_ + "/control.sock").c_str());
}

Result<std::shared_ptr<RequestServer>> RequestServer::listen(Loop& loop,
                                                             const std::string& folder) {
  std::string path = folder + "/control.sock";
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return errno_error("remove the old '" + path + "'", errno);
  }
  Result<Address> address = socket_address(folder);
  if (!address) return address.error();
  UniqueFd fd = new_socket();
  if (!fd) return errno_error("make a socket", errno);
  auto* name = reinterpret_cast<const sockaddr*>(&address->socket);
  // The mode of the socket's file is taken from the descriptor.
  if (::fchmod(fd.get(), 0600) != 0 || ::bind(fd.get(), name, sizeof address->socket) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return errno_error("listen on '" + path + "'", errno);
  }
  return std::shared_ptr<RequestServer>(new RequestServer(loop, folder, std::move(fd)));
}

void RequestServer::accept_all() {
  for (;;) {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;  // none left, or one that has gone again
    std::optional<ucred> peer = peer_of(fd.get());
    if (!peer || peer->uid != ::geteuid()) continue;  // closed without a word
    int64_t id = ++last_id_;
    auto connection = std::make_unique<Connection>();
    connection->id = id;
    connection->peer = *peer;
    connection->watch =
        loop_.watch(fd.get(), kReadable, [this, id](unsigned events) { on_ready(id, events); });
    connection->fd = std::move(fd);
    connections_[id] = std::move(connection);
  }
}

void RequestServer::on_ready(int64_t id, unsigned events) {
  auto found = connections_.find(id);
  if (found == connections_.end()) return;
  if (events & kWritable) {
    write_to(*found->second);
  } else {
    read_from(*found->second);
  }
}

void RequestServer::read_from(Connection& connection) {
  std::array<char, 65536> space;
  ssize_t count = ::recv(connection.fd.get(), space.data(), space.size(), 0);
  if (count < 0 && would_block()) return;
  if (count <= 0) {
    drop(connection.id);
    return;
  }
  if (connection.asked) return;  // nothing more is expected
  connection.in.append(space.data(), static_cast<size_t>(count));
  size_t end = connection.in.find('\n');
  if (end != std::string::npos) {
    take_line(connection, connection.in.substr(0, end));
  } else if (connection.in.size() > kMostLine) {
    refuse(connection, Error(ErrorKind::invalid, "a request is at most 1 MiB"));
  }
}

void RequestServer::take_line(Connection& connection, const std::string& line) {
  connection.asked = true;
  Result<Json> message = parse_json(line);
  if (!message) {
    refuse(connection, message.error());
    return;
  }
  if (!message->is_object() || !message->contains("verb") || !(*message)["verb"].is_string()) {
    refuse(connection, Error(ErrorKind::invalid, "a request is {verb, args}"));
    return;
  }
  Request request;
  request.id = connection.id;
  request.verb = (*message)["verb"].get<std::string>();
  request.args = message->value("args", Json());
  request.host = host_name();
  request.user = user_name(connection.peer.uid);
  request.pid = connection.peer.pid;
  queue_.push_back(std::move(request));
  arrived_.set();
}

Co<Result<Request>> RequestServer::next() {
  auto self = shared_from_this();
  while (queue_.empty()) {
    if (closed_) co_return Error(ErrorKind::cancelled, "the run was given up by this process");
    arrived_.clear();
    co_await arrived_.wait();
  }
  Request request = std::move(queue_.front());
  queue_.pop_front();
  co_return request;
}

Status RequestServer::reply(int64_t id, const Json& answer) {
  auto found = connections_.find(id);
  if (found == connections_.end()) {
    if (id > 0 && id <= last_id_) return done();
    return Error(ErrorKind::not_found, "there is no request " + std::to_string(id));
  }
  if (found->second->closing) {
    return Error(ErrorKind::conflict, "request " + std::to_string(id) + " was answered already");
  }
  send(*found->second, {{"answer", answer}});
  return done();
}

void RequestServer::refuse(Connection& connection, const Error& error) {
  send(connection, {{"error", to_json(error)}});
}

void RequestServer::send(Connection& connection, const Json& message) {
  connection.asked = true;
  connection.closing = true;
  connection.out = to_text(message) + "\n";
  write_to(connection);
}

// Writes what the socket takes; the end of `out` ends the connection.
void RequestServer::write_to(Connection& connection) {
  while (!connection.out.empty()) {
    ssize_t count =
        ::send(connection.fd.get(), connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && would_block()) {
      loop_.rewatch(connection.watch, kWritable);
      return;
    }
    if (count < 0) break;  // it has gone
    connection.out.erase(0, static_cast<size_t>(count));
  }
  drop(connection.id);
}

void RequestServer::drop(int64_t id) {
  auto found = connections_.find(id);
  if (found == connections_.end()) return;
  loop_.unwatch(found->second->watch);
  connections_.erase(found);
}

namespace {

// A connected socket, or an empty one when nobody listens.
Co<Result<UniqueFd>> connect_to(Loop& loop, std::string folder) {
  for (;;) {
    Result<Address> address = socket_address(folder);
    if (!address) {
      if (address.error().kind == ErrorKind::not_found) co_return UniqueFd();
      co_return address.error();
    }
    UniqueFd fd = new_socket();
    if (!fd) co_return errno_error("make a socket", errno);
    auto* name = reinterpret_cast<const sockaddr*>(&address->socket);
    if (::connect(fd.get(), name, sizeof address->socket) == 0) co_return fd;
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) co_return UniqueFd();
    if (!would_block()) co_return errno_error("ask the run's owner in '" + folder + "'", errno);
    co_await Sleep(loop, 0.05);  // more ask at once than the owner has accepted
  }
}

Co<Result<std::optional<Json>>> ask(Loop& loop, std::string folder, std::string line) {
  Co<Result<UniqueFd>> connecting = connect_to(loop, folder);
  Result<UniqueFd> connected = co_await connecting;
  if (!connected) co_return connected.error();
  if (!*connected) co_return std::optional<Json>();
  int fd = connected->get();
  std::optional<ucred> peer = peer_of(fd);
  if (!peer || peer->uid != ::geteuid()) {
    co_return Error(ErrorKind::auth, "the socket in '" + folder + "' belongs to another user");
  }
  while (!line.empty()) {
    ssize_t count = ::send(fd, line.data(), line.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      line.erase(0, static_cast<size_t>(count));
    } else if (would_block()) {
      co_await FdReady(loop, fd, kWritable);
    } else {
      co_return std::optional<Json>();
    }
  }
  std::string reply;
  std::array<char, 4096> space;
  for (;;) {
    ssize_t count = ::recv(fd, space.data(), space.size(), 0);
    if (count > 0) {
      reply.append(space.data(), static_cast<size_t>(count));
    } else if (count < 0 && would_block()) {
      co_await FdReady(loop, fd, kReadable);
    } else {
      break;
    }
  }
  if (reply.empty() || reply.back() != '\n') co_return std::optional<Json>();
  Result<Json> message = parse_json(reply);
  if (!message) co_return message.error();
  if (message->contains("error")) co_return error_from_json((*message)["error"]);
  co_return std::optional<Json>(message->value("answer", Json()));
}

}  // namespace

Co<Result<std::optional<Json>>> send_request(Loop& loop, std::string folder, std::string verb,
                                             Json args, double seconds) {
  using Answer = Result<std::optional<Json>>;
  Json message = Json::object();
  message["verb"] = verb;
  message["args"] = std::move(args);
  std::string line = to_text(message) + "\n";
  if (line.size() > kMostLine) co_return Error(ErrorKind::invalid, "a request is at most 1 MiB");
  WithTimeout<Answer> limited(loop, seconds, ask(loop, folder, std::move(line)));
  std::optional<Answer> answer = co_await limited;
  if (!answer) {
    co_return Error(ErrorKind::timeout, "the owner of the run in '" + folder +
                                            "' did not answer '" + verb + "' in " +
                                            std::to_string(seconds) + " seconds");
  }
  co_return std::move(*answer);
}

}  // namespace choline
