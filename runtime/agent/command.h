// The durable commands of an instance: folders below .choline/commands/, one for each key. The
// folder is the truth; an agent only looks at it, and any number of agents may.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/process.h"
#include "agent/reactor.h"
#include "base/json.h"
#include "base/result.h"

namespace choline {

// What is in a command's folder:
//   key     the key as it was given       info   for people, as it was given
//   lock    held by the keeper            pid    {keeper, command, boot, started}
//   log     stdout and stderr             rc     {code, signal, oom, ended, seconds}
struct CommandFiles {
  std::string folder;
  std::string path(std::string_view file) const { return folder + "/" + std::string(file); }
};

struct PidFile {
  ProcessName keeper;
  ProcessName command;  // pid 0 when it was not started yet
  std::string boot;
  double started = 0;
};
Json to_json(const PidFile& pid);
std::optional<PidFile> read_pid_file(const CommandFiles& files);

class Commands {
 public:
  explicit Commands(Place place);

  CommandFiles files(const std::string& key) const;
  // {state, code, signal, oom, started, seconds, log_size}. What a lost command left running is
  // ended here, so that another attempt does not meet it.
  Json status(const std::string& key) const;
  Json status(const CommandFiles& files) const;
  Result<Json> signal(const std::string& key, int number) const;
  Result<Json> list() const;
  Result<Json> remove(const std::string& key) const;
  // Makes the folder if need be and sets a keeper to it; `finish` gets {already, pid} or the error.
  void start(Reactor& reactor, const Json& request, std::function<void(Result<Json>)> finish) const;

 private:
  Place place_;
  std::string folder_;
};

}  // namespace choline
