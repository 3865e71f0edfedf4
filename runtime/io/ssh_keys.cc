#include "io/ssh_keys.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/random.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "io/files.h"
#include "io/ssh_wire.h"

namespace choline {
namespace {

constexpr std::string_view kMagic{"openssh-key-v1\0", 15};
constexpr std::string_view kBegin = "-----BEGIN OPENSSH PRIVATE KEY-----";
constexpr std::string_view kEnd = "-----END OPENSSH PRIVATE KEY-----";
constexpr uint64_t kMostKey = uint64_t{64} << 10;
constexpr size_t kHalf = 32;  // bytes of either half of an ed25519 key
constexpr size_t kBlock = 8;  // what the private part is padded to

std::string host_name() {
  char name[256] = "";
  return gethostname(name, sizeof name - 1) == 0 ? name : "here";
}

struct Halves {
  std::string open, hidden;
};

Result<Halves> make_halves() {
  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"),
                                                     EVP_PKEY_free);
  Halves halves;
  halves.open.resize(kHalf);
  halves.hidden.resize(kHalf);
  size_t open = kHalf, hidden = kHalf;
  bool made = key &&
              EVP_PKEY_get_raw_public_key(
                  key.get(), reinterpret_cast<unsigned char*>(halves.open.data()), &open) == 1 &&
              EVP_PKEY_get_raw_private_key(
                  key.get(), reinterpret_cast<unsigned char*>(halves.hidden.data()), &hidden) == 1;
  if (!made || open != kHalf || hidden != kHalf) {
    return Error(ErrorKind::io, "OpenSSL could not make an ed25519 key");
  }
  return halves;
}

std::string public_blob(const std::string& open) {
  return wire_text("ssh-ed25519") + wire_text(open);
}

// The form of ssh-keygen, without a passphrase (PROTOCOL.key of OpenSSH).
std::string private_text(const Halves& halves, const std::string& comment) {
  std::string check = random_bytes(4);
  std::string hidden = check + check + wire_text("ssh-ed25519") + wire_text(halves.open) +
                       wire_text(halves.hidden + halves.open) + wire_text(comment);
  for (char pad = 1; hidden.size() % kBlock != 0; ++pad) hidden += pad;
  std::string bytes = std::string(kMagic) + wire_text("none") + wire_text("none") + wire_text("") +
                      wire_number(1) + wire_text(public_blob(halves.open)) + wire_text(hidden);
  std::string text = to_base64(bytes);
  wipe(hidden);
  wipe(bytes);
  constexpr size_t kLine = 70;
  std::string out = std::string(kBegin) + "\n";
  for (size_t at = 0; at < text.size(); at += kLine) out += text.substr(at, kLine) + "\n";
  wipe(text);
  return out + std::string(kEnd) + "\n";
}

// The file is whole or not there, and the first of several is the one that stays.
Status publish_once(const std::string& path, std::string_view bytes) {
  std::string aside = path + ".new-" + random_id(12);
  Status written = write_atomic(aside, bytes, 0600);
  if (!written) return written;
  int linked = ::link(aside.c_str(), path.c_str());
  int why = errno;
  ::unlink(aside.c_str());
  if (linked != 0 && why != EEXIST) return errno_error("make " + choline::quoted(path), why);
  return done();
}

// What lies between the lines of dashes.
std::optional<std::string> openssh_bytes(std::string_view text) {
  size_t begin = text.find(kBegin), end = text.find(kEnd);
  if (begin == std::string_view::npos || end == std::string_view::npos) return std::nullopt;
  std::string packed;
  begin += kBegin.size();
  for (char c : text.substr(begin, end - begin)) {
    if (c != '\n' && c != '\r' && c != ' ') packed += c;
  }
  std::optional<std::string> bytes = from_base64(packed);
  wipe(packed);
  if (!bytes || !bytes->starts_with(kMagic)) return std::nullopt;
  return bytes;
}

Error no_key(const std::string& path, const std::string& why) {
  return Error(ErrorKind::invalid, path + ": " + why);
}

// Older forms tell the type in their first line, and the public half only after decoding.
Status read_pem(LoginKey& key) {
  std::string_view text = key.text.expose();
  if (text.find("BEGIN RSA PRIVATE KEY") != std::string_view::npos) {
    key.key.type = "ssh-rsa";
  } else if (text.find("BEGIN EC PRIVATE KEY") != std::string_view::npos) {
    key.key.type = "ecdsa-sha2";
  } else {
    return no_key(key.path, "this is no private key in a form that is known");
  }
  key.encrypted = text.find("ENCRYPTED") != std::string_view::npos;
  return done();
}

}  // namespace

std::string home_folder() {
  if (const char* home = std::getenv("HOME"); home && home[0] == '/') return home;
  const passwd* entry = getpwuid(geteuid());
  return entry && entry->pw_dir ? entry->pw_dir : "/";
}

std::string expand_home(const std::string& path) {
  return path.starts_with("~/") ? home_folder() + path.substr(1) : path;
}

std::string login_name() {
  const passwd* entry = getpwuid(geteuid());
  return entry && entry->pw_name ? entry->pw_name : std::to_string(geteuid());
}

std::string own_ssh_key_path(const std::string& config) {
  return config + "/ssh/id_ed25519";
}

Result<OwnSshKey> own_ssh_key(const std::string& config) {
  OwnSshKey own;
  own.path = own_ssh_key_path(config);
  if (::access(own.path.c_str(), F_OK) != 0) {
    if (Status made = make_folders(config + "/ssh", 0700); !made) return made.error();
    Result<Halves> halves = make_halves();
    if (!halves) return halves.error();
    std::string text = private_text(*halves, "choline@" + host_name());
    Status published = publish_once(own.path, text);
    wipe(text);
    wipe(halves->hidden);
    if (!published) return published.error();
  }
  Result<LoginKey> key = read_login_key(own.path);
  if (!key) return key.error();
  own.line = to_text(key->key) + " choline@" + host_name();
  return own;
}

Result<OneTimeSshKey> one_time_ssh_key(const std::string& comment) {
  Result<Halves> halves = make_halves();
  if (!halves) return halves.error();
  OneTimeSshKey key;
  key.line = "ssh-ed25519 " + to_base64(public_blob(halves->open));
  key.secret = private_text(*halves, comment);
  wipe(halves->hidden);
  return key;
}

Result<LoginKey> read_login_key(const std::string& path) {
  struct stat about {};
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || ::fstat(fd.get(), &about) != 0) return errno_error("open " + path, errno);
  if (about.st_uid == geteuid() && (about.st_mode & 077) != 0) {
    return no_key(path, "others may read this private key; chmod 600 it");
  }
  Result<std::string> text = read_file(path, kMostKey);
  if (!text) return text.error();
  LoginKey key;
  key.path = path;
  key.text = Secret(std::move(*text));
  std::optional<std::string> bytes = openssh_bytes(key.text.expose());
  if (!bytes) {
    Status read = read_pem(key);
    if (!read) return read.error();
    return key;
  }
  SshReader reader(std::string_view(*bytes).substr(kMagic.size()));
  std::string cipher = reader.text();
  reader.text();  // how its passphrase is stretched
  reader.text();
  size_t count = reader.number();
  std::optional<SshKey> open = ssh_key_of(reader.text());
  bool good = reader.good() && count == 1 && open;
  wipe(*bytes);
  if (!good) return no_key(path, "this private key is damaged");
  key.key = std::move(*open);
  key.encrypted = cipher != "none";
  return key;
}

std::vector<std::string> usual_key_files() {
  std::vector<std::string> files;
  for (const char* name :
       {"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk", "id_dsa"}) {
    files.push_back(home_folder() + "/.ssh/" + name);
  }
  return files;
}

}  // namespace choline
