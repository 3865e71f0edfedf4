#include "io/ssh_hosts.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/digest.h"
#include "base/random.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "io/files.h"
#include "io/ssh_wire.h"

namespace choline {
namespace {

constexpr uint64_t kMostKnown = uint64_t{16} << 20;  // bytes of a known_hosts file
constexpr size_t kSalt = 20;                         // bytes, as for SHA-1
constexpr int kUsualPort = 22;
constexpr std::string_view kHashed = "|1|";

std::string hmac_sha1(std::string_view key, std::string_view text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  HMAC(EVP_sha1(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), out, &length);
  return {reinterpret_cast<char*>(out), length};
}

std::string hashed_name(const std::string& name) {
  std::string salt = random_bytes(kSalt);
  return std::string(kHashed) + to_base64(salt) + "|" + to_base64(hmac_sha1(salt, name));
}

bool is_hash_of(std::string_view field, const std::string& name) {
  std::string_view rest = field.substr(kHashed.size());
  size_t bar = rest.find('|');
  if (bar == std::string_view::npos) return false;
  std::optional<std::string> salt = from_base64(rest.substr(0, bar));
  std::optional<std::string> hash = from_base64(rest.substr(bar + 1));
  return salt && hash && hmac_sha1(*salt, name) == *hash;
}

// `*` and `?` as in known_hosts.
bool fits(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string_view next_word(std::string_view& line) {
  size_t start = line.find_first_not_of(" \t");
  if (start == std::string_view::npos) return line = {};
  size_t end = std::min(line.find_first_of(" \t", start), line.size());
  std::string_view word = line.substr(start, end - start);
  line.remove_prefix(end);
  return word;
}

std::optional<KnownHostLine> read_known_line(std::string_view line, const std::string& name) {
  KnownHostLine read;
  line = trim(line);
  if (line.empty() || line.front() == '#') return std::nullopt;
  std::string_view hosts = next_word(line);
  if (hosts.starts_with('@')) {
    if (hosts != "@revoked" && hosts != "@cert-authority") return std::nullopt;
    read.mark = hosts == "@revoked" ? KnownHostLine::Mark::revoked : KnownHostLine::Mark::authority;
    hosts = next_word(line);
  }
  if (!names_known_host(hosts, name)) return std::nullopt;
  std::optional<SshKey> key = parse_ssh_key(line);
  if (!key) return std::nullopt;
  read.key = std::move(*key);
  return read;
}

std::string short_type(const std::string& type) {
  if (type == "ssh-ed25519") return "ed25519";
  if (type.starts_with("ecdsa-")) return "ecdsa";
  return type == "ssh-rsa" ? "rsa" : type;
}

std::string shown_line(const KnownHostLine& line) {
  return fingerprint(line.key) + " (" + short_type(line.key.type) + ", line " +
         std::to_string(line.number) + " of " + line.file + ")";
}

}  // namespace

std::optional<SshKey> ssh_key_of(std::string blob) {
  SshReader reader(blob);
  SshKey key;
  key.type = reader.text();
  if (!reader.good() || key.type.empty()) return std::nullopt;
  key.blob = std::move(blob);
  return key;
}

std::optional<SshKey> parse_ssh_key(std::string_view text) {
  std::string_view type = next_word(text);
  std::optional<std::string> blob = from_base64(next_word(text));
  if (!blob) return std::nullopt;
  std::optional<SshKey> key = ssh_key_of(std::move(*blob));
  if (!key || key->type != type) return std::nullopt;
  return key;
}

std::string to_text(const SshKey& key) {
  return key.type + " " + to_base64(key.blob);
}

std::string fingerprint(const SshKey& key) {
  std::string text = to_base64(*from_hex(sha256_hex(key.blob)));
  while (text.ends_with('=')) text.pop_back();
  return "SHA256:" + text;
}

std::string known_host_name(const SshTarget& target) {
  if (!target.known_as.empty()) return target.known_as;
  std::string host = to_lower(target.host);
  if (target.port == 0 || target.port == kUsualPort) return host;
  return "[" + host + "]:" + std::to_string(target.port);
}

bool names_known_host(std::string_view field, const std::string& name) {
  if (field.starts_with(kHashed)) return is_hash_of(field, name);
  bool named = false;
  for (const std::string& pattern : split(field, ',')) {
    bool is_not = pattern.starts_with('!');
    if (!fits(to_lower(std::string_view(pattern).substr(is_not ? 1 : 0)), name)) continue;
    if (is_not) return false;
    named = true;
  }
  return named;
}

std::vector<KnownHostLine> find_known_host(const std::vector<std::string>& files,
                                           const std::string& name) {
  std::vector<KnownHostLine> found;
  for (const std::string& file : files) {
    Result<std::string> text = read_file(file, kMostKnown);
    if (!text) continue;
    int number = 0;
    for (const std::string& line : split(*text, '\n')) {
      ++number;
      std::optional<KnownHostLine> read = read_known_line(line, name);
      if (!read) continue;
      read->file = file;
      read->number = number;
      found.push_back(std::move(*read));
    }
  }
  return found;
}

std::optional<KnownHostLine> offending_line(std::string_view complaint) {
  size_t at = complaint.find("Offending ");
  if (at == std::string_view::npos) return std::nullopt;
  at = complaint.find(" in ", at);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view place = complaint.substr(at + 4);
  place = trim(place.substr(0, place.find('\n')));
  size_t colon = place.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  KnownHostLine line;
  line.file = place.substr(0, colon);
  line.number = std::atoi(std::string(place.substr(colon + 1)).c_str());
  Result<std::string> text = read_file(line.file, kMostKnown);
  std::vector<std::string> lines = text ? split(*text, '\n') : std::vector<std::string>();
  if (line.number < 1 || static_cast<size_t>(line.number) > lines.size()) return std::nullopt;
  std::string_view rest = lines[static_cast<size_t>(line.number) - 1];
  next_word(rest);
  std::optional<SshKey> key = parse_ssh_key(rest);
  if (!key) return std::nullopt;
  line.key = std::move(*key);
  return line;
}

bool HostPins::has_any() const {
  return !given.empty() || std::any_of(lines.begin(), lines.end(), [](const KnownHostLine& line) {
    return line.mark != KnownHostLine::Mark::revoked;
  });
}

std::vector<SshKey> HostPins::believed() const {
  std::vector<SshKey> keys = given;
  std::vector<SshKey> revoked;
  for (const std::vector<KnownHostLine>* list : {&lines, &loose}) {
    for (const KnownHostLine& line : *list) {
      if (line.mark == KnownHostLine::Mark::revoked) revoked.push_back(line.key);
      // Of the host on its usual port they count where nothing is known of this one.
      bool counts = given.empty() && (list == &lines || !has_any());
      bool is_new = std::find(keys.begin(), keys.end(), line.key) == keys.end();
      if (line.mark == KnownHostLine::Mark::plain && counts && is_new) keys.push_back(line.key);
    }
  }
  std::erase_if(keys, [&](const SshKey& key) {
    return std::find(revoked.begin(), revoked.end(), key) != revoked.end();
  });
  return keys;
}

std::vector<std::string> HostPins::types() const {
  std::vector<std::string> types;
  auto add = [&](const std::string& type) {
    if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
  };
  for (const SshKey& key : given) add(key.type);
  if (!given.empty()) return types;
  for (const KnownHostLine& line : lines) {
    if (line.mark == KnownHostLine::Mark::plain) add(line.key.type);
  }
  return types;
}

HostPins host_pins(const SshTarget& target, const std::vector<std::string>& files) {
  HostPins pins;
  pins.name = known_host_name(target);
  pins.lines = find_known_host(files, pins.name);
  for (const std::string& text : target.host_keys) {
    if (std::optional<SshKey> key = parse_ssh_key(text)) pins.given.push_back(std::move(*key));
  }
  std::string host = to_lower(target.host);
  if (target.known_as.empty() && pins.name != host) pins.loose = find_known_host(files, host);
  return pins;
}

Error changed_host(const SshTarget& target, const HostPins& pins, const std::string& shown) {
  std::string text = "the host key of " + to_text(target) +
                     " is not the one it had before: it is " +
                     (shown.empty() ? "of another kind" : shown) + ", and known is ";
  Json fields = {{"host", to_text(target)}, {"shown", shown}};
  std::string known, remedy;
  for (const SshKey& key : pins.given) {
    if (!known.empty()) known += " or ";
    known += fingerprint(key) + " (" + short_type(key.type) + ", as its provider says)";
  }
  for (const KnownHostLine& line : pins.lines) {
    if (line.mark != KnownHostLine::Mark::plain || !pins.given.empty()) continue;
    if (!known.empty()) known += " or ";
    known += shown_line(line);
    if (!remedy.empty()) continue;
    fields["file"] = line.file;
    fields["line"] = line.number;
    remedy = ". If the host was set up anew, remove its old key: ssh-keygen -R " +
             shell_quote(pins.name) + " -f " + shell_quote(line.file);
  }
  fields["known"] = known;
  return Error(ErrorKind::refused,
               text + (known.empty() ? "not told" : known) +
                   "; this may be another host, or somebody in between; nothing was sent" + remedy,
               std::move(fields));
}

Result<HostVerdict> judge_host(const SshTarget& target, const HostPins& pins, const SshKey& shown) {
  auto is_it = [&](const KnownHostLine& line) {
    return line.mark == KnownHostLine::Mark::plain && line.key == shown;
  };
  for (const std::vector<KnownHostLine>* lines : {&pins.lines, &pins.loose}) {
    for (const KnownHostLine& line : *lines) {
      if (line.mark != KnownHostLine::Mark::revoked || line.key.blob != shown.blob) continue;
      return Error(ErrorKind::refused,
                   "the host key of " + to_text(target) + " is revoked: " + shown_line(line) +
                       "; nothing was sent",
                   {{"host", to_text(target)}, {"shown", fingerprint(shown)}});
    }
  }
  if (!pins.given.empty()) {
    bool given = std::find(pins.given.begin(), pins.given.end(), shown) != pins.given.end();
    if (given) return HostVerdict::known;
    return changed_host(target, pins, fingerprint(shown));
  }
  if (std::any_of(pins.lines.begin(), pins.lines.end(), is_it)) return HostVerdict::known;
  if (pins.has_any()) return changed_host(target, pins, fingerprint(shown));
  if (std::any_of(pins.loose.begin(), pins.loose.end(), is_it)) return HostVerdict::known;
  return HostVerdict::fresh;
}

Status remember_host(const std::string& file, const std::string& name, const SshKey& key) {
  UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!fd) return errno_error("open " + choline::quoted(file), errno);
  // Held for a moment by whoever adds a line; the kernel lets go of it with the descriptor.
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return errno_error("lock " + choline::quoted(file), errno);
  }
  for (const KnownHostLine& line : find_known_host({file}, name)) {
    if (line.key == key && line.mark == KnownHostLine::Mark::plain) return done();
  }
  struct stat about {};
  std::string text = hashed_name(name) + " " + to_text(key) + "\n";
  if (::fstat(fd.get(), &about) == 0 && about.st_size > 0) {
    char last = '\n';
    if (::pread(fd.get(), &last, 1, about.st_size - 1) == 1 && last != '\n') text.insert(0, "\n");
  }
  ssize_t wrote = ::write(fd.get(), text.data(), text.size());
  if (wrote != static_cast<ssize_t>(text.size())) {
    return errno_error("write " + choline::quoted(file), wrote < 0 ? errno : ENOSPC);
  }
  return done();
}

}  // namespace choline
