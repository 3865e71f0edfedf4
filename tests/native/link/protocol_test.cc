// Frames, credit and turns, without processes; and peers that lie.
#include "link/protocol.h"

#include <algorithm>
#include <random>

#include "link/agent_session.h"
#include "world.h"

using namespace choline;

namespace {

struct Peer : MuxHandler {
  explicit Peer(Side side) : mux(side, *this) {}
  void on_hello(Json) override { greeted = true; }
  void on_open(uint32_t channel, Json request) override { opened.emplace_back(channel, request); }
  void on_answer(uint32_t channel, Json answer) override { answers.emplace_back(channel, answer); }
  void on_data(uint32_t channel, int stream, std::string_view bytes) override {
    data[channel] += bytes;
    order.push_back(channel);
    streams[channel] = stream;
    if (consume) mux.consumed(channel, bytes.size());
  }
  void on_end(uint32_t channel) override { ends.push_back(channel); }
  void on_cancel(uint32_t channel) override { cancels.push_back(channel); }
  void on_room(uint32_t) override {}

  Mux mux;
  bool greeted = false, consume = true;
  std::vector<std::pair<uint32_t, Json>> opened, answers;
  std::map<uint32_t, std::string> data;
  std::map<uint32_t, int> streams;
  std::vector<uint32_t> order, ends, cancels;
};

// Moves all that may move, in pieces of odd sizes.
void pump(Peer& from, Peer& to, std::minstd_rand& random) {
  std::string bytes;
  from.mux.fill(bytes, 1 << 20);
  std::string_view rest(bytes);
  while (!rest.empty()) {
    size_t size = std::min<size_t>(rest.size(), 1 + random() % 30000);
    Status fed = to.mux.feed(rest.substr(0, size));
    INFO((fed ? "" : fed.error().message));
    REQUIRE(fed.ok());
    rest.remove_prefix(size);
  }
}
void talk(Peer& a, Peer& b, std::minstd_rand& random) {
  while (a.mux.has_output() || b.mux.has_output()) {
    pump(a, b, random);
    pump(b, a, random);
  }
}
struct Pair {
  Pair() {
    client.mux.hello(Json{{"protocol", 1}, {"oldest", 1}});
    agent.mux.hello(Json{{"protocol", 1}, {"oldest", 1}});
    talk(client, agent, random);
    REQUIRE(client.greeted);
    REQUIRE(agent.greeted);
  }
  Peer client{Side::client}, agent{Side::agent};
  std::minstd_rand random{7};
};

std::string hello_frame(int newest = 1, int oldest = 1) {
  std::string out;
  append_frame(out, 0, WireType::hello, to_text(Json{{"protocol", newest}, {"oldest", oldest}}));
  return out;
}
std::string frame(uint32_t channel, WireType type, std::string_view payload) {
  std::string out;
  append_frame(out, channel, type, payload);
  return out;
}

}  // namespace

TEST_CASE("data crosses in order whatever the pieces are, and the answer comes after it") {
  Pair pair;
  uint32_t id = pair.client.mux.open(Json{{"verb", "x"}});
  talk(pair.client, pair.agent, pair.random);
  REQUIRE(pair.agent.opened.size() == 1);
  std::string sent;
  while (sent.size() < 3'000'000) {
    size_t room = pair.agent.mux.room(id);
    std::string piece(std::min<size_t>(room, 1 + pair.random() % 50000),
                      static_cast<char>(pair.random()));
    pair.agent.mux.send(id, piece);
    sent += piece;
    if (room == 0 || pair.random() % 4 == 0) talk(pair.client, pair.agent, pair.random);
  }
  pair.agent.mux.answer(id, Json{{"code", 0}});
  talk(pair.client, pair.agent, pair.random);
  CHECK(pair.client.data[id] == sent);
  REQUIRE(pair.client.answers.size() == 1);
  CHECK(pair.client.mux.channels() == 0);
  CHECK(pair.agent.mux.channels() == 0);
}

TEST_CASE("a reader that does not read stops its own channel and no other") {
  Pair pair;
  uint32_t slow = pair.client.mux.open(Json::object());
  uint32_t quick = pair.client.mux.open(Json::object());
  talk(pair.client, pair.agent, pair.random);
  pair.client.consume = false;
  for (int i = 0; i < 40; i++) {
    pair.agent.mux.send(slow, std::string(pair.agent.mux.room(slow), 's'));
    talk(pair.client, pair.agent, pair.random);
  }
  CHECK(pair.client.data[slow].size() == kWindow);
  CHECK(pair.agent.mux.room(slow) == 0);
  pair.agent.mux.send(quick, "a line\n");
  talk(pair.client, pair.agent, pair.random);
  CHECK(pair.client.data[quick] == "a line\n");
  pair.client.mux.consumed(slow, kWindow);
  talk(pair.client, pair.agent, pair.random);
  CHECK(pair.client.data[slow].size() == 2 * kWindow);
}

TEST_CASE("channels take turns, and what is no data goes before all of it") {
  Pair pair;
  uint32_t bulk = pair.client.mux.open(Json::object());
  uint32_t log = pair.client.mux.open(Json::object());
  uint32_t call = pair.client.mux.open(Json::object());
  talk(pair.client, pair.agent, pair.random);
  pair.agent.mux.send(bulk, std::string(kWindow, 'b'));
  pair.agent.mux.send(log, "line");
  pair.agent.mux.answer(call, Json{{"quick", true}});
  std::string bytes;
  pair.agent.mux.fill(bytes, 1);
  CHECK(bytes.find("quick") != std::string::npos);
  CHECK(bytes.find('b') == std::string::npos);
  std::string more;
  pair.agent.mux.fill(more, 2 * kMaxData);
  CHECK(more.find("line") != std::string::npos);
  CHECK(pair.agent.mux.has_output());
}

TEST_CASE("a cancel drops what is queued and is answered") {
  Pair pair;
  uint32_t id = pair.client.mux.open(Json::object());
  talk(pair.client, pair.agent, pair.random);
  pair.agent.mux.send(id, std::string(1000, 'x'));
  pair.client.mux.cancel(id);
  pump(pair.client, pair.agent, pair.random);
  CHECK(pair.agent.cancels == std::vector<uint32_t>{id});
  pair.agent.mux.answer(id, Json::object());
  talk(pair.client, pair.agent, pair.random);
  CHECK(pair.client.data[id] == "");
  CHECK(pair.client.answers.empty());
  CHECK(pair.client.mux.channels() == 0);
}

TEST_CASE("versions that do not meet are named") {
  Peer client(Side::client);
  Status fed = client.mux.feed(hello_frame(9, 7));
  REQUIRE(!fed.ok());
  CHECK(fed.error().kind == ErrorKind::unsupported);
  CHECK(fed.error().message.find("versions 7 to 9") != std::string::npos);
  Peer newer(Side::client);
  CHECK(newer.mux.feed(hello_frame(9, 1)).ok());
}

TEST_CASE("each lie about a frame is refused before it is stored") {
  struct Lie {
    Side side;
    std::string bytes, says;
  };
  std::string huge;
  append_u32(huge, 0xFFFFFFFF);
  append_u32(huge, 1);
  std::string hello = hello_frame();
  std::string window(kMaxData, 'x');
  std::string flood = hello;
  for (size_t i = 0; i <= kWindow / kMaxData; i++) flood += frame(1, WireType::data, window);
  std::string credit;
  append_u32(credit, 0xFFFFFFFF);
  std::string pings = hello;
  for (size_t i = 0; i <= kMaxPingQueue; i++) pings += frame(0, WireType::ping, "x");
  std::string many = hello;
  for (uint32_t i = 1; i <= kMaxChannels + 1; i++) many += frame(i, WireType::open, "{}");
  const Lie lies[] = {
      {Side::client, frame(1, WireType::data, "x"), "before its hello"},
      {Side::client, hello + huge + '\x05', "4294967295 bytes"},
      {Side::client, hello + huge + '\x63', "unknown type 99"},
      {Side::client, hello + hello, "a second hello"},
      {Side::client, hello + frame(2, WireType::data, "x"), "not open"},
      {Side::client, hello + frame(1, WireType::open, "{}"), "an open from the agent"},
      {Side::client, hello + frame(1, WireType::cancel, ""), "a cancel from the agent"},
      {Side::client, hello + frame(0, WireType::data, "x"), "on channel 0"},
      {Side::client, hello + frame(1, WireType::answer, "[1"), "should hold JSON"},
      {Side::client, hello + frame(1, WireType::answer, "7"), "no object"},
      {Side::client, flood, "more data than it was allowed"},
      {Side::client, hello + frame(1, WireType::credit, "xx"), "without its number"},
      {Side::client, hello + frame(1, WireType::credit, credit), "more credit"},
      {Side::client, hello + frame(1, WireType::end, "") + frame(1, WireType::data, "x"),
       "after its end"},
      {Side::client, pings, "pings without end"},
      {Side::client, frame(0, WireType::hello, "{}"), "without its protocol versions"},
      {Side::agent, hello + frame(1, WireType::open, "{}") + frame(1, WireType::open, "{}"),
       "opened twice"},
      {Side::agent, hello + frame(1, WireType::open, "{}") + frame(1, WireType::answer, "{}"),
       "from the client"},
      {Side::agent, many, "too many open channels"},
  };
  for (const Lie& lie : lies) {
    Peer peer(lie.side);
    peer.consume = false;
    if (lie.side == Side::client) peer.mux.open(Json::object());
    Status fed = peer.mux.feed(lie.bytes);
    REQUIRE(!fed.ok());
    INFO(fed.error().message);
    CHECK(fed.error().message.find(lie.says) != std::string::npos);
  }
}

TEST_CASE("random bytes and damaged frames never break a mux nor make it hoard") {
  for (unsigned seed = 1; seed <= 3000; seed++) {
    std::minstd_rand random(seed);
    Peer peer(seed % 2 ? Side::client : Side::agent);
    if (seed % 2) {
      for (int i = 0; i < 3; i++) peer.mux.open(Json::object());
    }
    std::string stream = hello_frame();
    for (int i = 0; i < 40; i++) {
      auto type = static_cast<WireType>(1 + random() % 11);
      bool json = type <= WireType::note;
      std::string payload = json ? "{\"verb\":\"x\"}" : std::string(random() % 20, 'p');
      if (type == WireType::credit) payload = std::string(4, '\1');
      stream += frame(static_cast<uint32_t>(random() % 5), type, payload);
    }
    for (unsigned i = 0; i < random() % 4; i++)
      stream[random() % stream.size()] = static_cast<char>(random());
    Status fed = done();
    for (size_t at = 0; at < stream.size() && fed;) {
      size_t size = std::min<size_t>(stream.size() - at, 1 + random() % 200);
      fed = peer.mux.feed(std::string_view(stream).substr(at, size));
      at += size;
    }
    std::string out;
    peer.mux.fill(out, 1 << 20);
    CHECK(out.size() < (1 << 16));
  }
}

namespace {

// A far side that says what a test tells it to.
class ScriptedLink : public Link {
 public:
  ScriptedLink(Loop& loop, std::string says) : loop_(loop), says_(std::move(says)) {}
  void listen(Handlers handlers) override {
    handlers_ = std::move(handlers);
    post();
  }
  size_t write(std::string_view bytes) override { return bytes.size(); }
  void close() override { *open_ = false; }
  std::string name() const override { return "scripted link"; }
  ~ScriptedLink() override { *open_ = false; }

 private:
  void post() {
    loop_.post([this, open = open_] {
      if (!*open) return;
      size_t size = std::min<size_t>(says_.size() - at_, 1000);
      if (size == 0) return handlers_.closed(Error(ErrorKind::lost, "the script is over"));
      std::string piece = says_.substr(at_, size);
      at_ += size;
      handlers_.bytes(piece);
      if (*open) post();
    });
  }
  Loop& loop_;
  std::string says_;
  size_t at_ = 0;
  Handlers handlers_;
  std::shared_ptr<bool> open_ = std::make_shared<bool>(true);
};

}  // namespace

TEST_CASE("a client survives any agent: each call ends with an error or an answer") {
  for (unsigned seed = 1; seed <= 400; seed++) {
    EpollLoop loop;
    std::minstd_rand random(seed);
    std::string stream = hello_frame();
    const char* answers[] = {"{}",
                             "{\"state\":\"running\"}",
                             "{\"state\":7}",
                             "{\"error\":{}}",
                             "{\"error\":5}",
                             "{\"code\":99999999999}",
                             "{\"commands\":[1,{}]}",
                             "{\"code\":-1}",
                             "{\"gpus\":[[]]}",
                             "{\"state\":\"finished\",\"code\":1e9}",
                             "{\"pid\":18446744073709551615}"};
    for (int i = 0; i < 30; i++) {
      auto channel = static_cast<uint32_t>(1 + random() % 6);
      switch (random() % 4) {
        case 0:
          stream += frame(channel, WireType::data, std::string(random() % 50, 'd'));
          break;
        case 1:
          stream += frame(channel, WireType::answer, answers[random() % std::size(answers)]);
          break;
        case 2:
          stream += frame(channel, WireType::note, "{\"offset\":\"x\"}");
          break;
        default:
          stream += frame(channel, WireType::end, "");
          break;
      }
    }
    if (random() % 2) stream[random() % stream.size()] ^= static_cast<char>(1 + random() % 255);
    std::unique_ptr<AgentClient> client;
    int ended = 0;
    std::vector<Started> calls;
    Started opening(
        AgentClient::open(loop, std::make_unique<ScriptedLink>(loop, stream)),
        std::function<void(Result<std::unique_ptr<AgentClient>>)>([&](auto result) {
          if (!result) return loop.stop();
          client = std::move(*result);
          loop.post([&] {
            auto count = [&] {
              if (++ended == 6) loop.stop();
            };
            calls.emplace_back(client->status("k"),
                               std::function<void(Result<CommandStatus>)>([=](auto) { count(); }));
            calls.emplace_back(client->facts(),
                               std::function<void(Result<AgentFacts>)>([=](auto) { count(); }));
            calls.emplace_back(client->exec({}),
                               std::function<void(Result<ExecResult>)>([=](auto) { count(); }));
            calls.emplace_back(
                client->list(),
                std::function<void(Result<std::vector<CommandInfo>>)>([=](auto) { count(); }));
            calls.emplace_back(client->start({}),
                               std::function<void(Result<StartResult>)>([=](auto) { count(); }));
            calls.emplace_back(client->follow("k", 0, [](auto, auto) {}),
                               std::function<void(Result<CommandStatus>)>([=](auto) { count(); }));
          });
        }));
    loop.run();
    for (Started& call : calls) call.check();
    CHECK((ended == 6 || !client));
  }
}

TEST_CASE("an agent survives any client: it answers or leaves, and never crashes") {
  for (unsigned seed = 1; seed <= 60; seed++) {
    World world;
    std::minstd_rand random(seed);
    std::string stream = hello_frame();
    const char* requests[] = {
        "{}",
        "{\"verb\":7}",
        "{\"verb\":\"exec\"}",
        "{\"verb\":\"status\",\"key\":[]}",
        "{\"verb\":\"start\",\"key\":\"k\",\"command\":{\"list\":[]}}",
        "{\"verb\":\"exec\",\"command\":{\"shell\":\"cat\"},\"limit\":-1}",
        "{\"verb\":\"exec\",\"command\":{\"shell\":\"cat\"},\"env\":{\"a=b\":\"\"}}",
        "{\"verb\":\"exec\",\"command\":{\"list\":[\"true\"]},\"dir\":5}",
        "{\"verb\":\"follow\",\"key\":\"\",\"offset\":-5}",
        "{\"verb\":\"facts\"}",
        "{\"verb\":\"signal\",\"key\":\"k\",\"signal\":1e99}",
        "{\"verb\":\"list\"}",
        "{\"verb\":\"files\"}",
        "{\"verb\":\"remove\",\"key\":\"../..\"}"};
    uint32_t id = 0;
    for (int i = 0; i < 30; i++) {
      switch (random() % 5) {
        case 0:
          stream += frame(1 + id / 2, WireType::data, std::string(random() % 5000, 'd'));
          break;
        case 1:
          stream += frame(1 + id / 2, WireType::cancel, "");
          break;
        case 2:
          stream += frame(1 + id / 2, WireType::end, "");
          break;
        default:
          stream += frame(++id, WireType::open, requests[random() % std::size(requests)]);
          break;
      }
    }
    if (seed % 2) stream[random() % stream.size()] ^= static_cast<char>(1 + random() % 255);
    auto link =
        world.shell({agent_program(), "serve", "--root", world.home, "--instance", world.tag});
    std::string said;
    std::optional<Error> closed;
    std::string left = stream;
    auto push = [&] { left.erase(0, link->write(left)); };
    bool finished = false;
    // A last honest request tells that the agent is still sane.
    std::string last = frame(1000, WireType::open, "{\"verb\":\"status\",\"key\":\"the end\"}");
    left += last;
    link->listen({[&](std::string_view bytes) {
                    said += bytes;
                    std::string want = frame(1000, WireType::answer, "").substr(4);
                    if (said.find(want) != std::string::npos) finished = true;
                  },
                  push, [&](Error error) { closed = error; }});
    push();
    world.run_until([&] { return closed || finished; });
    if (closed) {
      INFO("seed " << seed << ": " << closed->message);
      CHECK(closed->message.find("by signal") == std::string::npos);
      CHECK(closed->message.find("exit code 70") == std::string::npos);
      CHECK(closed->message.find("broke the agent protocol") != std::string::npos);
    }
  }
}
