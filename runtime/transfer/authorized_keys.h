// A line of ours in the authorized_keys of a home, for as long as one login needs it. Nothing else
// of the file changes, and at every instant it is the old one or the new one.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace choline {

struct AdmittedKey {
  std::string id;       // letters and digits; by it the line is found again
  std::string key;      // "ssh-ed25519 AAAA…"
  std::string command;  // all that the key can do, as one text for a shell
  int64_t until = 0;    // wall seconds; afterwards sshd refuses it
};

// As sshd reads it; an error when a part cannot stand in such a line.
Result<std::string> admitted_line(const AdmittedKey& key);

// Puts the line first, and takes out those of ours whose time is over. The file, and the folder
// .ssh, are made when they are not there. `home` is that of the login.
Status admit_key(const std::string& home, const AdmittedKey& key);
// Takes it out again; a file that it leaves empty goes when `made` says so. No error when there is
// no such line.
Status expel_key(const std::string& home, const std::string& id, bool made);
// Whether there is such a file at all.
bool has_authorized_keys(const std::string& home);

}  // namespace choline
