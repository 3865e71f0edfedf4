#include "io/ssh_agent.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/text.h"
#include "base/unique_fd.h"
#include "io/fd.h"
#include "io/ssh_wire.h"
#include "loop/await.h"

namespace choline {
namespace {

// Numbers of draft-miller-ssh-agent.
constexpr char kListKeys = 11, kKeys = 12, kSign = 13, kSigned = 14;
constexpr size_t kMostAnswer = size_t{256} << 10;
constexpr size_t kMostKeys = 1000;
constexpr double kListPatience = 5, kSignPatience = 60;  // seconds

Co<Result<std::string>> ask_agent(Loop& loop, std::string socket, std::string request) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof address.sun_path) {
    co_return Error(ErrorKind::invalid, "SSH_AUTH_SOCK is too long");
  }
  std::memcpy(address.sun_path, socket.data(), socket.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) co_return errno_error("make a socket", errno);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    co_return errno_error("reach the agent of keys at " + choline::quoted(socket), errno);
  }
  Status sent = co_await write_all(loop, fd.get(), wire_text(request));
  if (!sent) co_return sent.error();
  std::string answer;
  for (;;) {
    Result<std::string> some = co_await read_some(loop, fd.get(), 16384);
    if (!some) co_return some.error();
    answer += *some;
    size_t length = SshReader(answer).number();
    bool is_whole = answer.size() >= 4 && answer.size() >= 4 + length;
    if (is_whole) co_return answer.substr(4, length);
    if (some->empty() || length > kMostAnswer) {
      co_return Error(ErrorKind::io, "the agent of keys at " + choline::quoted(socket) +
                                         " gave no answer that can be read");
    }
  }
}

Co<Result<std::string>> ask_in_time(Loop& loop, std::string socket, std::string request,
                                    double seconds) {
  WithTimeout<Result<std::string>> asking(loop, seconds,
                                          ask_agent(loop, socket, std::move(request)));
  std::optional<Result<std::string>> answer = co_await asking;
  if (answer) co_return std::move(*answer);
  co_return Error(ErrorKind::timeout,
                  "the agent of keys at " + choline::quoted(socket) + " does not answer");
}

}  // namespace

std::string key_agent_socket() {
  const char* path = std::getenv("SSH_AUTH_SOCK");
  return path ? path : "";
}

Co<Result<std::vector<SshKey>>> list_agent_keys(Loop& loop, std::string socket) {
  std::string request(1, kListKeys);
  Result<std::string> answer =
      co_await ask_in_time(loop, std::move(socket), std::move(request), kListPatience);
  if (!answer) co_return answer.error();
  SshReader reader(*answer);
  std::vector<SshKey> keys;
  if (reader.byte() != kKeys) co_return keys;
  size_t count = reader.number();
  for (size_t i = 0; i < count && i < kMostKeys && reader.good(); ++i) {
    std::optional<SshKey> key = ssh_key_of(reader.text());
    reader.text();  // a comment
    if (key && reader.good()) keys.push_back(std::move(*key));
  }
  co_return keys;
}

Co<Result<std::string>> sign_by_agent(Loop& loop, std::string socket, SshKey key,
                                      std::string data) {
  std::string request =
      std::string(1, kSign) + wire_text(key.blob) + wire_text(data) + wire_number(0);
  Result<std::string> answer =
      co_await ask_in_time(loop, std::move(socket), std::move(request), kSignPatience);
  if (!answer) co_return answer.error();
  SshReader reader(*answer);
  bool is_signed = reader.byte() == kSigned;
  std::string packed = reader.text();
  SshReader inner(packed);
  inner.text();  // the algorithm
  std::string signature = inner.text();
  if (!is_signed || !inner.good()) {
    co_return Error(ErrorKind::auth, "the agent of keys does not sign with " + fingerprint(key));
  }
  co_return signature;
}

}  // namespace choline
