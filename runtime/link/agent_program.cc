#include "link/agent_program.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/digest.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace choline {

namespace {

constexpr size_t kMaxAgent = size_t{64} << 20;

Result<std::string> read_agent(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error("open the agent " + choline::quoted(path), errno);
  std::string bytes;
  char buffer[size_t{64} << 10];
  while (true) {
    ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read the agent " + choline::quoted(path), errno);
    if (got == 0) break;
    bytes.append(buffer, static_cast<size_t>(got));
    if (bytes.size() > kMaxAgent)
      return Error(ErrorKind::invalid, choline::quoted(path) + " is no agent");
  }
  return bytes;
}

}  // namespace

Result<std::shared_ptr<const AgentPrograms>> load_agents(
    const std::map<std::string, std::string>& paths) {
  auto programs = std::make_shared<AgentPrograms>();
  for (const auto& [arch, path] : paths) {
    Result<std::string> bytes = read_agent(path);
    if (!bytes) return bytes.error();
    std::string digest = sha256_hex(*bytes);
    programs->push_back(AgentProgram{arch, std::move(digest), std::move(*bytes)});
  }
  return std::shared_ptr<const AgentPrograms>(std::move(programs));
}

}  // namespace choline
