#include "io/ssh2_session.h"

#include <libssh2.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/text.h"
#include "io/ssh_agent.h"
#include "loop/await.h"

namespace choline {
namespace {

// Without SHA-1, CBC and what is older still. Version 1.10 knows no GCM and no chacha20.
constexpr const char* kKex =
    "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"
    "ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,"
    "diffie-hellman-group18-sha512,diffie-hellman-group14-sha256";
constexpr const char* kCiphers = "aes128-ctr,aes256-ctr,aes192-ctr";
constexpr const char* kMacs = "hmac-sha2-256,hmac-sha2-512";
constexpr double kOneAddress = 5;  // seconds, where a name has several

struct Address {
  sockaddr_storage bytes{};
  socklen_t length = 0;
  int family = 0;
};

std::vector<Address> resolve(const std::string& host, int port, int flags, int& fault) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  fault = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  std::vector<Address> found;
  for (addrinfo* one = fault == 0 ? list : nullptr; one; one = one->ai_next) {
    Address address;
    std::memcpy(&address.bytes, one->ai_addr, one->ai_addrlen);
    address.length = one->ai_addrlen;
    address.family = one->ai_family;
    found.push_back(address);
  }
  if (fault == 0) freeaddrinfo(list);
  return found;
}

struct Resolved {
  std::vector<Address> addresses;
  int fault = 0;
};

Co<Resolved> find_addresses(Loop& loop, std::string host, int port) {
  Resolved resolved;
  resolved.addresses = resolve(host, port, AI_NUMERICHOST, resolved.fault);
  if (resolved.fault == 0) co_return resolved;
  std::function<Resolved()> job = [host, port] {
    Resolved looked;
    looked.addresses = resolve(host, port, 0, looked.fault);
    return looked;
  };
  OnWorker<Resolved> looking(loop, std::move(job));
  resolved = co_await looking;
  co_return resolved;
}

Co<Result<int>> finish_connect(Loop& loop, int fd) {
  FdReady ready(loop, fd, kWritable);
  co_await ready;
  int why = 0;
  socklen_t length = sizeof why;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &length) != 0) why = errno;
  co_return why;
}

Error not_reached(const Ssh2Login& login, const std::string& why) {
  return Error(ErrorKind::transient, "ssh to " + to_text(login.target) + " failed: " + why,
               {{"host", to_text(login.target)}});
}

Co<Result<UniqueFd>> connect_to(Loop& loop, const Ssh2Login& login) {
  Resolved resolved = co_await find_addresses(loop, login.host, login.port);
  if (resolved.fault != 0) {
    co_return not_reached(
        login, std::string("its name cannot be resolved: ") + gai_strerror(resolved.fault));
  }
  std::string why = "no address";
  for (const Address& address : resolved.addresses) {
    UniqueFd fd(::socket(address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) co_return errno_error("make a socket", errno);
    int failed = 0;
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.bytes), address.length) !=
        0) {
      failed = errno;
    }
    if (failed == EINPROGRESS) {
      double patience = resolved.addresses.size() > 1 ? kOneAddress : login.patience;
      WithTimeout<Result<int>> waiting(loop, patience, finish_connect(loop, fd.get()));
      std::optional<Result<int>> waited = co_await waiting;
      failed = waited && waited->ok() ? **waited : ETIMEDOUT;
    }
    if (failed == 0) {
      int on = 1;
      // Small frames shall not wait for each other; a failure costs time only.
      (void)setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      co_return fd;
    }
    why = std::strerror(failed);
  }
  co_return not_reached(login, "connect to port " + std::to_string(login.port) + ": " + why);
}

// The types that may prove the host, as a list for libssh2: those that are known of it first.
std::string host_key_list(const HostPins& pins) {
  std::vector<std::string> order;
  for (const std::string& type : pins.types()) {
    const std::vector<std::string>& can = ssh2_host_key_types();
    if (std::find(can.begin(), can.end(), type) != can.end()) order.push_back(type);
  }
  for (const std::string& type : ssh2_host_key_types()) {
    if (std::find(order.begin(), order.end(), type) == order.end()) order.push_back(type);
  }
  return join(order, ",");
}

bool is_mismatch(int code) {
  return code == LIBSSH2_ERROR_KEX_FAILURE || code == LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE ||
         code == LIBSSH2_ERROR_METHOD_NONE || code == LIBSSH2_ERROR_METHOD_NOT_SUPPORTED ||
         code == LIBSSH2_ERROR_HOSTKEY_INIT || code == LIBSSH2_ERROR_HOSTKEY_SIGN;
}

Co<Status> greet(Loop& loop, Ssh2Session& session, const Ssh2Login& login) {
  std::string types = host_key_list(login.pins);
  const std::pair<int, const char*> methods[] = {
      {LIBSSH2_METHOD_KEX, kKex},          {LIBSSH2_METHOD_HOSTKEY, types.c_str()},
      {LIBSSH2_METHOD_CRYPT_CS, kCiphers}, {LIBSSH2_METHOD_CRYPT_SC, kCiphers},
      {LIBSSH2_METHOD_MAC_CS, kMacs},      {LIBSSH2_METHOD_MAC_SC, kMacs}};
  for (const auto& [method, list] : methods) {
    if (libssh2_session_method_pref(session.raw, method, list) != 0) {
      co_return Error(ErrorKind::unsupported, "libssh2 has none of " + std::string(list));
    }
  }
  std::function<int()> step = [raw = session.raw, fd = session.fd.get()] {
    return libssh2_session_handshake(raw, fd);
  };
  int code = co_await drive_ssh2(loop, session, std::move(step));
  if (code == 0) co_return done();
  if (is_mismatch(code)) {
    co_return Error(ErrorKind::unsupported,
                    "libssh2 and " + session.host + " agree on no host key, cipher or exchange (" +
                        session.last_words() + ")",
                    {{"host", session.host}});
  }
  co_return not_reached(login, "it broke off at the greeting (" + session.last_words() + ")");
}

Status check_host(Ssh2Session& session, const Ssh2Login& login) {
  size_t length = 0;
  int type = 0;
  const char* bytes = libssh2_session_hostkey(session.raw, &length, &type);
  std::optional<SshKey> shown = bytes ? ssh_key_of(std::string(bytes, length)) : std::nullopt;
  if (!shown) {
    return Error(ErrorKind::refused, session.host + " shows no host key that can be read");
  }
  Result<HostVerdict> verdict = judge_host(login.target, login.pins, *shown);
  if (!verdict) return verdict.error();
  if (*verdict == HostVerdict::fresh) return login.remember(*shown);
  return done();
}

// Logging in --------------------------------------------------------------------------------------

// A signature that an agent of keys makes, between two calls of libssh2, which wants it at once.
struct Signing {
  std::string data;       // what is to be signed, once libssh2 has said it
  std::string signature;  // then this
};

int sign_later(LIBSSH2_SESSION*, unsigned char** out, size_t* length, const unsigned char* data,
               size_t data_length, void** abstract) {
  Signing& signing = *static_cast<Signing*>(*abstract);
  if (signing.signature.empty()) {
    signing.data.assign(reinterpret_cast<const char*>(data), data_length);
    return LIBSSH2_ERROR_EAGAIN;
  }
  // libssh2 frees it with free(), as its sessions are made without an allocator of ours.
  *out = static_cast<unsigned char*>(malloc(signing.signature.size()));
  if (!*out) return LIBSSH2_ERROR_ALLOC;
  std::memcpy(*out, signing.signature.data(), signing.signature.size());
  *length = signing.signature.size();
  return 0;
}

Co<int> try_agent_key(Loop& loop, Ssh2Session& session, const Ssh2Login& login, const SshKey& key) {
  Signing signing;
  void* abstract = &signing;
  for (;;) {
    int code = libssh2_userauth_publickey(session.raw, login.user.c_str(),
                                          reinterpret_cast<const unsigned char*>(key.blob.data()),
                                          key.blob.size(), sign_later, &abstract);
    if (code != LIBSSH2_ERROR_EAGAIN) co_return code;
    if (!signing.data.empty() && signing.signature.empty()) {
      Result<std::string> made = co_await sign_by_agent(loop, login.agent, key, signing.data);
      if (!made) co_return LIBSSH2_ERROR_AGENT_PROTOCOL;
      signing.signature = std::move(*made);
      continue;
    }
    FdReady ready(loop, session.fd.get(), session.awaited());
    co_await ready;
  }
}

// What a host asks for by keyboard-interactive, and the one thing that we know.
struct Answering {
  const Secret& password;
  bool has_answered = false;
  std::string unanswered;  // the first prompt that got nothing
};

void answer_prompts(const char*, int, const char*, int, int count,
                    const LIBSSH2_USERAUTH_KBDINT_PROMPT* prompts,
                    LIBSSH2_USERAUTH_KBDINT_RESPONSE* responses, void** abstract) {
  Answering& answering = *static_cast<Answering*>(*abstract);
  for (int i = 0; i < count; ++i) {
    const char* asked = reinterpret_cast<const char*>(prompts[i].text);
    std::string_view prompt = asked ? std::string_view(asked, prompts[i].length) : "";
    // The password goes to no prompt that is echoed, nor to a second one that asks for more, such
    // as a code; the first one may be in any language.
    bool asks_for_it = prompt.find("assword") != std::string_view::npos || !answering.has_answered;
    bool answers = !prompts[i].echo && asks_for_it;
    if (answers) answering.has_answered = true;
    if (!answers && answering.unanswered.empty()) answering.unanswered = trim(prompt);
    std::string_view text = answers ? answering.password.expose() : std::string_view();
    responses[i].text = static_cast<char*>(malloc(text.size() + 1));
    if (!responses[i].text) continue;
    std::memcpy(responses[i].text, text.data(), text.size());
    responses[i].length = static_cast<unsigned>(text.size());
  }
}

Co<int> try_password(Loop& loop, Ssh2Session& session, const Ssh2Login& login,
                     const std::string& methods, std::string& unanswered) {
  int code = LIBSSH2_ERROR_AUTHENTICATION_FAILED;
  if (methods.find("password") != std::string::npos) {
    std::function<int()> step = [&session, &login] {
      std::string_view word = login.password.expose();
      return libssh2_userauth_password_ex(session.raw, login.user.c_str(),
                                          static_cast<unsigned>(login.user.size()), word.data(),
                                          static_cast<unsigned>(word.size()), nullptr);
    };
    code = co_await drive_ssh2(loop, session, std::move(step));
  }
  if (code != 0 && methods.find("keyboard-interactive") != std::string::npos) {
    Answering answering{login.password, false, ""};
    *libssh2_session_abstract(session.raw) = &answering;
    std::function<int()> step = [&session, &login] {
      return libssh2_userauth_keyboard_interactive_ex(session.raw, login.user.c_str(),
                                                      static_cast<unsigned>(login.user.size()),
                                                      answer_prompts);
    };
    code = co_await drive_ssh2(loop, session, std::move(step));
    *libssh2_session_abstract(session.raw) = nullptr;
    unanswered = std::move(answering.unanswered);
  }
  co_return code;
}

Error no_login(const Ssh2Session& session, const std::vector<std::string>& tried,
               const std::string& methods, const std::string& unanswered) {
  std::string also;
  if (!unanswered.empty()) also = "; it also asks " + choline::quoted(unanswered);
  return Error(ErrorKind::auth,
               session.host + " does not accept the login (it takes " + methods + "; tried " +
                   (tried.empty() ? "nothing, as there is no key" : join(tried, ", ")) + also + ")",
               {{"host", session.host}});
}

bool is_gone(int code) {
  return code == LIBSSH2_ERROR_SOCKET_DISCONNECT || code == LIBSSH2_ERROR_SOCKET_RECV ||
         code == LIBSSH2_ERROR_SOCKET_SEND || code == LIBSSH2_ERROR_SOCKET_TIMEOUT;
}

// What the host takes; empty when it lets us in without anything.
Co<Result<std::string>> ask_methods(Loop& loop, Ssh2Session& session, const Ssh2Login& login) {
  std::string methods;
  std::function<int()> step = [&session, &login, &methods] {
    const char* list = libssh2_userauth_list(session.raw, login.user.c_str(),
                                             static_cast<unsigned>(login.user.size()));
    if (list) methods = list;
    return list || libssh2_userauth_authenticated(session.raw)
               ? 0
               : libssh2_session_last_errno(session.raw);
  };
  int code = co_await drive_ssh2(loop, session, std::move(step));
  if (code != 0) {
    co_return not_reached(login, "it broke off at the login (" + session.last_words() + ")");
  }
  co_return methods;
}

Co<Status> log_in(Loop& loop, Ssh2Session& session, const Ssh2Login& login) {
  Result<std::string> methods = co_await ask_methods(loop, session, login);
  if (!methods) co_return methods.error();
  std::vector<std::string> tried;
  if (libssh2_userauth_authenticated(session.raw)) co_return done();
  bool takes_keys = methods->find("publickey") != std::string::npos;
  int code = LIBSSH2_ERROR_AUTHENTICATION_FAILED;
  for (const SshKey& key : login.agent_keys) {
    if (!takes_keys || is_gone(code)) break;
    code = co_await try_agent_key(loop, session, login, key);
    session.key = fingerprint(key) + " of the agent of keys";
    tried.push_back(session.key);
    if (code == 0) co_return done();
  }
  for (const LoginKey& key : login.keys) {
    if (!takes_keys || is_gone(code)) break;
    std::function<int()> step = [&session, &login, &key] {
      std::string_view text = key.text.expose();
      return libssh2_userauth_publickey_frommemory(session.raw, login.user.c_str(),
                                                   login.user.size(), nullptr, 0, text.data(),
                                                   text.size(), nullptr);
    };
    code = co_await drive_ssh2(loop, session, std::move(step));
    session.key = key.path;
    tried.push_back(key.path);
    if (code == 0) co_return done();
  }
  std::string unanswered;
  if (!login.password.empty() && !is_gone(code)) {
    code = co_await try_password(loop, session, login, *methods, unanswered);
    session.key = "the password";
    tried.push_back(session.key);
    if (code == 0) co_return done();
  }
  co_return no_login(session, tried, *methods, unanswered);
}

Co<Result<std::unique_ptr<Ssh2Session>>> open_in_time(Loop& loop, const Ssh2Login& login) {
  Result<UniqueFd> fd = co_await connect_to(loop, login);
  if (!fd) co_return fd.error();
  auto session = std::make_unique<Ssh2Session>(std::move(*fd), to_text(login.target));
  if (!session->raw) co_return Error(ErrorKind::io, "libssh2 has no memory");
  Status greeted = co_await greet(loop, *session, login);
  if (!greeted) co_return greeted.error();
  Status checked = check_host(*session, login);
  if (!checked) co_return checked.error();
  Status in = co_await log_in(loop, *session, login);
  if (!in) co_return in.error();
  co_return session;
}

}  // namespace

const std::vector<std::string>& ssh2_host_key_types() {
  static const std::vector<std::string> types = {"ssh-ed25519", "ecdsa-sha2-nistp256",
                                                 "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"};
  return types;
}

bool ssh2_can_sign(const std::string& type) {
  return type == "ssh-ed25519" || type.starts_with("ecdsa-sha2-");
}

Ssh2Session::Ssh2Session(UniqueFd socket, std::string host_name)
    : fd(std::move(socket)), host(std::move(host_name)) {
  static const int ready = libssh2_init(0);
  if (ready == 0) raw = libssh2_session_init();
  if (raw) libssh2_session_set_blocking(raw, 0);
}

Ssh2Session::~Ssh2Session() {
  if (!raw) return;
  // With the socket shut, each step of the end fails at once instead of waiting for the host.
  ::shutdown(fd.get(), SHUT_RDWR);
  constexpr int kMostSteps = 100;
  for (int i = 0; i < kMostSteps && libssh2_session_free(raw) == LIBSSH2_ERROR_EAGAIN; ++i) {
  }
}

std::string Ssh2Session::last_words() const {
  char* text = nullptr;
  int code = libssh2_session_last_error(raw, &text, nullptr, 0);
  return (text && *text ? std::string(text) : std::string("no reason")) + ", " +
         std::to_string(code);
}

unsigned Ssh2Session::awaited() const {
  int directions = libssh2_session_block_directions(raw);
  unsigned events = 0;
  if (directions & LIBSSH2_SESSION_BLOCK_INBOUND) events |= kReadable;
  if (directions & LIBSSH2_SESSION_BLOCK_OUTBOUND) events |= kWritable;
  return events ? events : unsigned{kReadable};
}

Co<int> drive_ssh2(Loop& loop, Ssh2Session& session, std::function<int()> step) {
  for (;;) {
    int code = step();
    if (code != LIBSSH2_ERROR_EAGAIN) co_return code;
    FdReady ready(loop, session.fd.get(), session.awaited());
    co_await ready;
  }
}

Co<Result<std::unique_ptr<Ssh2Session>>> open_ssh2(Loop& loop, Ssh2Login login) {
  using Opened = Result<std::unique_ptr<Ssh2Session>>;
  WithTimeout<Opened> opening(loop, login.patience, open_in_time(loop, login));
  std::optional<Opened> opened = co_await opening;
  if (opened) co_return std::move(*opened);
  co_return not_reached(login,
                        "no answer for " + std::to_string(static_cast<int>(login.patience)) + " s");
}

}  // namespace choline
