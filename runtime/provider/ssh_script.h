// What the ssh provider has the shell of a host do, and how the answers are read. POSIX sh; tried
// with dash, bash and busybox.
//
// A host keeps its places in ~/.choline/places: a link named by a number, made in one step, whose
// target is the tag that holds the place. What a tag has on the host lies in
// ~/.choline/instances/<tag>.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "provider/contract.h"

namespace choline {

struct SshHostFacts {
  std::string name;
  int cpus = 0;
  int64_t memory = 0;  // bytes
  int64_t disk = 0;    // bytes free in the home folder
  std::vector<Gpu> gpus;
  int taken = 0;  // places
};
std::string facts_script();
Result<SshHostFacts> read_facts(const std::string& answer);

// Takes one of `places` for the tag; the same place again when it has one.
std::string take_script(const std::string& tag, int places);
struct SshPlace {
  std::string tag;
  std::string root;  // its folder
  double since = 0;  // wall seconds of the host
};
// nullopt: all places are taken.
Result<std::optional<SshPlace>> read_taken(const std::string& answer);

// Places whose tag begins with `prefix`.
std::string list_script(const std::string& prefix);
Result<std::vector<SshPlace>> read_list(const std::string& answer);

// Kills all that carries the tag, removes its folder, and gives the place back at last.
std::string end_script(const std::string& tag);
// The same after all of it was killed; for an instance that ends itself.
std::string leave_script(const std::string& tag);
// False: something of it is still alive.
Result<bool> read_ended(const std::string& answer);

}  // namespace choline
