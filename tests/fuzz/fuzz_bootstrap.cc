// What a login and its shell may answer to the bootstrap. In the input, byte 1 stands for the mark
// that begins our lines, byte 2 ends a piece, byte 3 is half a kilobyte of noise.
#include <optional>

#include "link.h"
#include "link/bootstrap.h"
#include "loop/await.h"
#include "loop/sim_loop.h"
#include "tape.h"

using namespace choline;
using namespace choline::fuzz;

namespace {

std::shared_ptr<const AgentPrograms> small_programs() {
  std::string bytes(20000, 'a'), digest(64, 'd');
  return std::make_shared<AgentPrograms>(
      AgentPrograms{{"x86_64", digest, bytes}, {"aarch64", digest, bytes}});
}

// The mark is random and told in the script alone, as on a true instance.
std::string find_mark(const std::string& heard) {
  size_t at = heard.find("mark=");
  size_t end = heard.find(';', at);
  return end == std::string::npos ? "" : heard.substr(at + 5, end - at - 5);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Tape tape(bytes, size);
  SimLoop loop;
  bool ends = tape.byte() % 2 == 0;
  size_t most = 16 + tape.number(2);
  auto says = [&](const std::string& heard) -> std::optional<std::string> {
    if (tape.done() && ends) return std::nullopt;
    std::string piece;
    while (!tape.done()) {
      auto letter = static_cast<char>(tape.byte());
      if (letter == 2) break;
      if (letter == 1)
        piece += "\n@" + find_mark(heard) + " ";
      else if (letter == 3)
        piece += std::string(512, 'z');
      else
        piece += letter;
    }
    return piece;
  };
  BootstrapOptions options;
  static const auto agents = small_programs();
  options.agents = agents;
  options.tag = "cho-fuzz";
  std::unique_ptr<Link> link = std::make_unique<MemoryLink>(loop, says, most);
  std::optional<Result<Bootstrapped>> got;
  Co<Result<Bootstrapped>> work = bootstrap(loop, std::move(link), std::move(options));
  Started started(std::move(work),
                  std::function<void(Result<Bootstrapped>)>([&](Result<Bootstrapped> result) {
                    got.emplace(std::move(result));
                    loop.stop();
                  }));
  if (!got) loop.run_for(120);
  started.check();
  require(got.has_value());
  require(!got->ok() || (*got)->link != nullptr);
  return 0;
}
