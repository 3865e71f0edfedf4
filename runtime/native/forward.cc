// native.forward: ports here that lead to ports on an instance.
#include "native/forward.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/text.h"
#include "native/module.h"
#include "native/services.h"

namespace choline {

namespace {

constexpr size_t kMostVisits = 256;  // more wait to be accepted; the link has 512 channels for all
constexpr size_t kMostEvents = 1000;

bool read_address(const std::string& text, int port, sockaddr_storage& where, socklen_t& size) {
  auto* four = reinterpret_cast<sockaddr_in*>(&where);
  auto* six = reinterpret_cast<sockaddr_in6*>(&where);
  if (::inet_pton(AF_INET, text.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(static_cast<uint16_t>(port));
    size = sizeof *four;
    return true;
  }
  if (::inet_pton(AF_INET6, text.c_str(), &six->sin6_addr) != 1) return false;
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(static_cast<uint16_t>(port));
  size = sizeof *six;
  return true;
}

// The errno in the error's fields tells a port that is taken from other trouble.
Result<UniqueFd> open_port(const std::string& address, int port) {
  sockaddr_storage where{};
  socklen_t size = 0;
  if (!read_address(address, port, where, size)) {
    return Error(ErrorKind::invalid, choline::quoted(address) +
                                         " is no address to listen at; it takes numbers such as "
                                         "127.0.0.1 or 0.0.0.0");
  }
  UniqueFd fd(::socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("make a socket", errno);
  int on = 1;  // what was closed a moment ago does not keep the port
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<sockaddr*>(&where), size) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0) {
    std::string what = "listen at " + address + ":" + std::to_string(port);
    if (errno != EADDRINUSE) return errno_error(what, errno);
    return Error(ErrorKind::conflict, "cannot " + what + ": the port is taken");
  }
  return fd;
}

int port_of(const UniqueFd& fd) {
  sockaddr_storage where{};
  socklen_t size = sizeof where;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&where), &size) != 0) return 0;
  return ntohs(where.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&where)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&where)->sin_port);
}

}  // namespace

struct Forwards::Door {
  UniqueFd fd;
  RelayTarget target;
  Started accepting;
};

struct Forwards::Visit {
  Started serving;
};

Forwards::Forwards(Instances& instances, std::string tag)
    : instances_(instances),
      tag_(std::move(tag)),
      changed_(instances.loop()),
      visit_over_(instances.loop()),
      link_lost_(instances.loop()) {
  std::function<void(Status)> ended = [this](Status status) {
    if (!status) failed_ = status.error();
    changed_.set();
  };
  keeping_ = Started(keep_link(), std::move(ended));
}

Forwards::~Forwards() = default;

void Forwards::tell(Json event) {
  if (events_.size() < kMostEvents) {
    events_.push_back(std::move(event));
  } else {
    left_out_++;
  }
  changed_.set();
}

// The link is had before anybody asks for it, and again when it has died.
Co<Status> Forwards::keep_link() {
  for (bool first = true;; first = false) {
    Result<Instances::Client> agent = co_await instances_.reach(tag_);
    if (!agent) co_return agent.error();
    tell({{"event", "linked"}, {"again", !first}});
    link_lost_.clear();
    std::string why;
    (*agent)->on_death([this, alive = std::weak_ptr(alive_), &why](const Error& error) {
      if (alive.expired()) return;
      why = error.message;
      link_lost_.set();
    });
    Event::Waiter waiter(link_lost_);
    co_await waiter;
    tell({{"event", "lost"}, {"text", why}});
  }
}

Result<int> Forwards::listen(const Listen& where, RelayTarget target) {
  for (int tried = 0;; tried++) {
    Result<UniqueFd> fd = open_port(where.address, where.port + tried);
    bool taken = !fd && fd.error().kind == ErrorKind::conflict;
    if (taken && tried + 1 < where.tries && where.port + tried < 65535) continue;
    if (!fd) return fd.error();
    auto door = std::make_unique<Door>();
    door->fd = std::move(*fd);
    door->target = std::move(target);
    int port = port_of(door->fd);
    std::function<void(Status)> ended = [this](Status status) {
      if (!status && !failed_) failed_ = status.error();
      changed_.set();
    };
    door->accepting = Started(accept_all(*door), std::move(ended));
    doors_.push_back(std::move(door));
    return port;
  }
}

Co<Status> Forwards::accept_all(Door& door) {
  for (;;) {
    while (visits_.size() >= kMostVisits) {
      visit_over_.clear();
      co_await visit_over_.wait();
    }
    co_await FdReady(instances_.loop(), door.fd.get(), kReadable);
    UniqueFd near(::accept4(door.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!near && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
      Sleep pause(instances_.loop(), 0.1);
      co_await pause;
      continue;
    }
    if (!near) continue;  // whoever knocked has gone
    int on = 1;
    // Where it is unknown there is nothing to hurry.
    if (::setsockopt(near.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) errno = 0;
    uint64_t id = ++last_visit_;
    std::function<void(Status)> ended = [this, id](Status) {
      instances_.loop().post([this, alive = std::weak_ptr(alive_), id] {
        if (alive.expired()) return;
        visits_.erase(id);
        visit_over_.set();
      });
    };
    auto visit = std::make_unique<Visit>();
    Visit& kept = *visit;
    visits_[id] = std::move(visit);
    kept.serving = Started(serve(std::move(near), door.target), std::move(ended));
  }
}

Co<Status> Forwards::serve(UniqueFd near, RelayTarget target) {
  Result<Instances::Client> agent = co_await instances_.reach(tag_);
  if (!agent) co_return agent.error();  // keep_link tells it
  Status ended = co_await relay(instances_.loop(), *agent, std::move(near), target);
  if (ended) co_return ended;
  const Error& why = ended.error();
  bool began = why.fields.is_object() && why.fields.contains("began");
  bool of_target = why.kind == ErrorKind::refused || why.kind == ErrorKind::not_found ||
                   why.kind == ErrorKind::timeout || why.kind == ErrorKind::invalid;
  if (!began && of_target) {
    tell({{"event", "refused"}, {"text", why.message}, {"target", to_text(target)}});
  }
  co_return ended;
}

Co<Result<Json>> Forwards::next() {
  while (events_.empty()) {
    if (failed_) co_return *failed_;
    changed_.clear();
    co_await changed_.wait();
  }
  Json event = std::move(events_.front());
  events_.pop_front();
  if (left_out_ > 0) event["left_out"] = std::exchange(left_out_, 0);
  co_return event;
}

namespace {

Result<Json> forward_listen(Services& services, const Json& args) {
  Result<Instances*> instances = services.instances();
  if (!instances) return instances.error();
  Result<std::string> tag = string_arg(args, 0, "native.forward.listen");
  if (!tag) return tag.error();
  const Json& fields = arg(args, 1);
  Forwards::Listen where;
  if (std::string address = text_field(fields, "address"); !address.empty()) {
    where.address = std::move(address);
  }
  where.port = fields.value("port", 0);
  where.tries = fields.value("tries", 1);
  RelayTarget target;
  target.host = text_field(fields, "host");
  target.port = fields.value("to", 0);
  target.socket = text_field(fields, "socket");
  std::unique_ptr<Forwards>& forwards = services.forwards[*tag];
  if (!forwards) forwards = std::make_unique<Forwards>(**instances, *tag);
  Result<int> port = forwards->listen(where, std::move(target));
  if (!port) return port.error();
  return Json(int64_t{*port});
}

Co<Result<Json>> forward_next(Services& services, Json args) {
  Result<std::string> tag = string_arg(args, 0, "native.forward.next");
  if (!tag) co_return tag.error();
  auto found = services.forwards.find(*tag);
  if (found == services.forwards.end()) {
    co_return Error(ErrorKind::invalid, "native.forward.next: nothing is forwarded there");
  }
  Result<Json> event = co_await found->second->next();
  co_return event;
}

}  // namespace

NativeModule forward_module() {
  NativeModule module;
  module.name = "forward";
  module.functions = {{"listen", forward_listen}, {"next", forward_next}};
  return module;
}

}  // namespace choline
