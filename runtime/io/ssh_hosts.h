// Keys of ssh hosts: what the known_hosts files say, and whether a host is the one it was.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/ssh.h"

namespace choline {

// A public key as ssh sends it: `blob` begins with its own type.
struct SshKey {
  std::string type;  // "ssh-ed25519"
  std::string blob;

  bool operator==(const SshKey& other) const { return blob == other.blob; }
};
std::optional<SshKey> ssh_key_of(std::string blob);
// "ssh-ed25519 AAAA…", a comment may follow.
std::optional<SshKey> parse_ssh_key(std::string_view text);
std::string to_text(const SshKey& key);
std::string fingerprint(const SshKey& key);  // "SHA256:…", as ssh-keygen prints it

struct KnownHostLine {
  enum class Mark { plain, revoked, authority };
  SshKey key;
  Mark mark = Mark::plain;
  std::string file;
  int number = 0;  // from 1
};

// As known_hosts spells it: "host", or "[host]:port" for another port than 22.
std::string known_host_name(const SshTarget& target);
// The lines that are about `name`, hashed names and patterns included. A file that cannot be read
// says nothing.
std::vector<KnownHostLine> find_known_host(const std::vector<std::string>& files,
                                           const std::string& name);
// The line that the ssh program blames in its complaint about a changed key.
std::optional<KnownHostLine> offending_line(std::string_view complaint);
// Does a field of a line, such as "*.lab,!bad.lab" or "|1|salt|hash", name this host?
bool names_known_host(std::string_view field, const std::string& name);

// What is known of one host before it has shown a key.
struct HostPins {
  std::string name;
  std::vector<KnownHostLine> lines;  // of this name
  std::vector<KnownHostLine> loose;  // of the host on its usual port: equal keys are believed
  std::vector<SshKey> given;         // by the provider that made the host; nothing else is believed

  bool has_any() const;
  // The keys of which it must show one, but for those that another key vouches for.
  std::vector<SshKey> believed() const;
  // Types of keys by which it can prove itself, best known first; empty: any.
  std::vector<std::string> types() const;
};
HostPins host_pins(const SshTarget& target, const std::vector<std::string>& files);

enum class HostVerdict { known, fresh };
// An error of kind refused for a host that is not the one it was.
Result<HostVerdict> judge_host(const SshTarget& target, const HostPins& pins, const SshKey& shown);
// The sentence for it. `shown` is a fingerprint, or empty when only another program has seen it.
Error changed_host(const SshTarget& target, const HostPins& pins, const std::string& shown);

// Adds a line with the hashed name; once, whoever does it at the same time.
Status remember_host(const std::string& file, const std::string& name, const SshKey& key);

}  // namespace choline
