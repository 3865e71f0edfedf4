#include "transfer/named_socket.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace choline {

namespace {

socklen_t address_of(const std::string& name, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  std::string path = std::string(1, '\0') + name;
  path.copy(address.sun_path, sizeof address.sun_path);
  size_t size = std::min(path.size(), sizeof address.sun_path);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
}

}  // namespace

UniqueFd listen_by_name(const std::string& name, int backlog) {
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address;
  socklen_t size = address_of(name, address);
  bool fine = listener && bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) == 0 &&
              listen(listener.get(), backlog) == 0;
  if (!fine) return UniqueFd();
  return listener;
}

UniqueFd call_by_name(const std::string& name) {
  UniqueFd caller(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address;
  socklen_t size = address_of(name, address);
  if (!caller || connect(caller.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
    return UniqueFd();
  }
  return caller;
}

bool is_ours(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

bool send_descriptors(int socket, int in, int out, std::string_view greeting) {
  std::string text(greeting);
  iovec part{text.data(), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(2 * sizeof(int));
  int both[2] = {in, out};
  std::memcpy(CMSG_DATA(head), both, sizeof both);
  return sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

bool take_descriptors(int socket, std::string& greeting, UniqueFd& in, UniqueFd& out) {
  iovec part{greeting.data(), greeting.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  cmsghdr* head = got < 0 ? nullptr : CMSG_FIRSTHDR(&message);
  if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) return false;
  size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  int both[2] = {-1, -1};
  std::memcpy(both, CMSG_DATA(head), std::min<size_t>(count, 2) * sizeof(int));
  in.reset(both[0]);
  out.reset(both[1]);
  return got == static_cast<ssize_t>(greeting.size()) && count == 2;
}

}  // namespace choline
