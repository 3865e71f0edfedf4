// Every call of AgentClient against an agent that says anything: each one ends, with an answer or
// an error, and nothing is kept without a bound.
#include <optional>
#include <vector>

#include "link.h"
#include "link/agent_client.h"
#include "loop/await.h"
#include "loop/sim_loop.h"
#include "tape.h"

using namespace choline;
using namespace choline::fuzz;

namespace {

Co<Status> use_files(AgentClient& client, size_t bulk) {
  Result<std::unique_ptr<AgentChannel>> channel =
      client.open_channel("files", Json::object(), uint32_t{1} << 20);
  if (!channel) co_return channel.error();
  Status wrote = co_await (*channel)->write(std::string(bulk, 'f'));
  if (!wrote) co_return wrote;
  (*channel)->note(Json{{"n", 1}});
  (*channel)->end();
  while (true) {
    Result<std::optional<AgentChannel::Chunk>> chunk = co_await (*channel)->read();
    if (!chunk) co_return chunk.error();
    if (!*chunk) break;
  }
  Result<Json> answer = co_await (*channel)->answer();
  co_return answer ? done() : Status(answer.error());
}

class Calls {
 public:
  Calls(SimLoop& loop, std::unique_ptr<Link> link, size_t bulk) : bulk_(bulk) {
    Co<Result<std::unique_ptr<AgentClient>>> opening =
        AgentClient::open(loop, std::move(link), ClientOptions{});
    opening_.emplace(std::move(opening),
                     std::function<void(Result<std::unique_ptr<AgentClient>>)>(
                         [this, &loop](Result<std::unique_ptr<AgentClient>> got) {
                           settled_ = true;
                           if (!got) return;
                           client_ = std::move(*got);
                           loop.post([this] { call_all(); });
                         }));
  }
  void check() {
    require(settled_);
    require(ended_ == calls_.size());
  }

 private:
  template <class T>
  void add(Co<T> call) {
    calls_.emplace_back(std::move(call), std::function<void(T)>([this](T) { ended_++; }));
  }
  void call_all() {
    calls_.reserve(10);
    add(client_->facts());
    ExecRequest exec;
    exec.input.assign(bulk_, 'i');
    add(client_->exec(std::move(exec)));
    add(client_->start({}));
    add(client_->status("k"));
    add(client_->follow("k", 0, [](std::string_view, uint64_t) {}));
    add(client_->list());
    add(client_->renew({}));
    add(client_->signal("k", 15));
    add(client_->remove("k"));
    add(use_files(*client_, bulk_));
  }

  std::unique_ptr<AgentClient> client_;
  std::vector<Started> calls_;
  std::optional<Started> opening_;
  size_t bulk_;  // bytes that a call sends
  size_t ended_ = 0;
  bool settled_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Tape tape(bytes, size);
  SimLoop loop;
  std::string left = tape.byte() % 8 != 0 ? hello_frame() : "";
  bool ends = tape.byte() % 2 == 0;
  size_t most = 1024 + tape.number(2);
  size_t bulk = tape.byte() % 16 == 0 ? 400000 : 3000;  // beyond the credit, or within
  auto says = [&](const std::string&) -> std::optional<std::string> {
    if (left.empty() && !tape.done()) left = make_frame(tape);
    if (left.empty() && ends) return std::nullopt;
    size_t cut = std::min<size_t>(1 + tape.byte() * 16, left.size());
    std::string piece = left.substr(0, cut);
    left.erase(0, cut);
    return piece;
  };
  auto link = std::make_unique<MemoryLink>(loop, says, most);
  Calls calls(loop, std::move(link), bulk);
  // A far side that neither speaks nor ends is given up by its silence, which is virtual.
  loop.run_for(600);
  calls.check();
  return 0;
}
