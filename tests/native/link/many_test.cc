// More requests than there are channels, and bulk beside what is urgent.
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "link/agent_session.h"
#include "world.h"

using namespace choline;

namespace {

// An agent in this process that keeps every request until it is told to answer it.
class QuietAgent : public Link, private MuxHandler {
 public:
  explicit QuietAgent(Loop& loop) : mux(Side::agent, *this), loop_(loop) {}
  ~QuietAgent() override { close(); }
  void listen(Handlers handlers) override { handlers_ = std::move(handlers); }
  size_t write(std::string_view bytes) override {
    REQUIRE(mux.feed(bytes).ok());
    speak();
    return bytes.size();
  }
  void close() override { *open_ = false; }
  std::string name() const override { return "quiet agent"; }

  void answer(uint32_t channel) {
    mux.answer(channel, Json{{"state", "unknown"}});
    speak();
  }

  Mux mux;
  std::vector<std::pair<uint32_t, std::string>> opened;  // channel and key, in order
  std::map<uint32_t, std::string> heard;
  std::vector<uint32_t> ends, cancels;

 private:
  void on_hello(Json) override { mux.hello(Json{{"protocol", 1}, {"oldest", 1}}); }
  void on_open(uint32_t channel, Json request) override {
    opened.emplace_back(channel, request.value("key", ""));
  }
  void on_data(uint32_t channel, int, std::string_view bytes) override {
    heard[channel] += bytes;
    mux.consumed(channel, bytes.size());
  }
  void on_note(uint32_t channel, Json note) override { heard[channel] += to_text(note); }
  void on_end(uint32_t channel) override { ends.push_back(channel); }
  void on_cancel(uint32_t channel) override {
    cancels.push_back(channel);
    mux.answer(channel, Json::object());
  }
  void on_room(uint32_t) override {}
  void speak() {
    loop_.post([this, open = open_] {
      std::string out;
      if (*open) mux.fill(out, size_t{1} << 20);
      if (!out.empty()) handlers_.bytes(out);
    });
  }

  Loop& loop_;
  Handlers handlers_;
  std::shared_ptr<bool> open_ = std::make_shared<bool>(true);  // for what is posted
};

struct QuietWorld : World {
  QuietWorld() {
    auto link = std::make_unique<QuietAgent>(loop);
    agent = link.get();
    Result<std::unique_ptr<AgentClient>> opened = run(AgentClient::open(loop, std::move(link)));
    REQUIRE(opened.ok());
    client = std::move(*opened);
  }
  std::unique_ptr<AgentChannel> open(const std::string& key) {
    auto channel = client->open_channel("follow", Json{{"key", key}});
    REQUIRE(channel.ok());
    return std::move(*channel);
  }
  void turn() {
    loop.post([this] { loop.post([this] { loop.stop(); }); });
    loop.run();
  }
  QuietAgent* agent;
  std::unique_ptr<AgentClient> client;
};

}  // namespace

TEST_CASE("requests beyond the channels of an agent wait their turn, and short ones do not") {
  QuietWorld world;
  std::vector<std::unique_ptr<AgentChannel>> channels;
  for (int i = 0; i < 600; i++) channels.push_back(world.open("k" + std::to_string(i)));
  world.turn();
  size_t served = world.agent->opened.size();
  CHECK(served == kUnsaidChannels - 64);
  // Signals and the like get through nevertheless.
  Started asked(world.client->status("urgent"),
                std::function<void(Result<CommandStatus>)>([&](Result<CommandStatus> status) {
                  CHECK(status.ok());
                  world.loop.stop();
                }));
  CHECK(world.agent->opened.back().second == "urgent");
  world.agent->answer(world.agent->opened.back().first);
  world.loop.run();
  asked.check();
  // What is done to a waiting channel is done when its turn comes; the first one goes first.
  channels[served]->note(Json{{"n", 1}});
  channels[served]->end();
  channels[served + 1].reset();
  channels[3].reset();
  channels[5].reset();
  world.turn();
  world.turn();
  REQUIRE(world.agent->opened.size() == served + 3);
  CHECK(world.agent->opened[served + 1].second == "k" + std::to_string(served));
  CHECK(world.agent->opened[served + 2].second == "k" + std::to_string(served + 2));
  uint32_t first = world.agent->opened[served + 1].first;
  CHECK(world.agent->heard[first] == "{\"n\":1}");
  CHECK(world.agent->ends == std::vector<uint32_t>{first});
  CHECK(world.agent->cancels.size() == 2);  // of those that were open
  // The death of the link reaches those that wait, too.
  world.client->close();
  Result<Json> told = world.run(channels.back()->answer());
  REQUIRE(!told.ok());
  CHECK(told.error().kind == ErrorKind::lost);
}

TEST_CASE("hundreds of commands live on one instance, each followed, and all hear a signal") {
  World world;
  auto client = world.connect();
  const int many = 560;  // more than 512 channels
  int started = 0, ended = 0;
  std::vector<Started> calls;
  calls.reserve(size_t{3} * many);
  for (int i = 0; i < many; i++) {
    StartRequest request = world.command("k" + std::to_string(i), "");
    request.command.shell.clear();
    request.command.list = {"sleep", "600"};
    calls.emplace_back(client->start(std::move(request)),
                       std::function<void(Result<StartResult>)>([&](Result<StartResult> result) {
                         INFO((result ? "" : result.error().message));
                         CHECK(result.ok());
                         started++;
                       }));
  }
  world.run_until([&] { return started == many; });
  for (int i = 0; i < many; i++) {
    calls.emplace_back(
        client->follow("k" + std::to_string(i), 0, [](auto, auto) {}),
        std::function<void(Result<CommandStatus>)>([&](Result<CommandStatus> result) {
          INFO((result ? "" : result.error().message));
          REQUIRE(result.ok());
          CHECK(result->signal == SIGTERM);
          ended++;
        }));
  }
  int told = 0;
  for (int i = 0; i < many; i++) {
    calls.emplace_back(client->signal("k" + std::to_string(i), SIGTERM),
                       std::function<void(Status)>([&](Status status) {
                         CHECK(status.ok());
                         told++;
                       }));
  }
  world.run_until([&] { return told == many && ended == many; });
  for (Started& call : calls) call.check();
}

namespace {

// A true agent at the other end of a socket that holds little, read by nobody but the test.
class RawAgent {
 public:
  explicit RawAgent(const World& world) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    int little = 4096;
    ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
    std::string program = agent_program();
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::dup2(ends[1], 0);
      ::dup2(ends[1], 1);
      ::execl(program.c_str(), "choline-agent", "serve", "--root", world.home.c_str(), "--instance",
              world.tag.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    socket_ = ends[0];
    send(0, WireType::hello, "{\"protocol\":1,\"oldest\":1}");
  }
  ~RawAgent() {
    ::close(socket_);
    ::waitpid(pid_, nullptr, 0);
  }
  void send(uint32_t channel, WireType type, std::string_view payload) {
    std::string bytes;
    append_frame(bytes, channel, type, payload);
    REQUIRE(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
  // Until the agent has taken all that was sent to it.
  void wait_until_heard() const {
    int unread = 1;
    while (unread > 0) REQUIRE(::ioctl(socket_, SIOCOUTQ, &unread) == 0);
  }
  size_t in_kernel() const {
    int bytes = 0;
    REQUIRE(::ioctl(socket_, FIONREAD, &bytes) == 0);
    return static_cast<size_t>(bytes);
  }
  WireFrame next() {
    WireFrame frame;
    while (true) {
      Result<bool> got = reader_.next(frame);
      REQUIRE(got.ok());
      if (*got) return frame;
      char buffer[4096];
      ssize_t size = ::read(socket_, buffer, sizeof buffer);
      REQUIRE(size > 0);
      reader_.feed({buffer, static_cast<size_t>(size)});
      taken_ += static_cast<size_t>(size);
    }
  }
  size_t taken() const { return taken_; }
  size_t resident() const {  // bytes
    std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
    size_t all = 0, resident = 0;
    file >> all >> resident;
    return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  }

 private:
  pid_t pid_ = -1;
  int socket_ = -1;
  WireReader reader_;
  size_t taken_ = 0;
};

}  // namespace

TEST_CASE(
    "bulk on a slow link delays an answer by 128 KiB at most, is shared, and costs no memory") {
  World world;
  RawAgent agent(world);
  std::string credit;
  append_u32(credit, 60 << 20);
  for (uint32_t channel : {1u, 2u, 3u}) {
    agent.send(channel, WireType::open,
               R"({"verb":"exec","command":{"list":["cat","/dev/zero"]}})");
    agent.send(channel, WireType::credit, credit);
  }
  // How often each program gets a core is not ours; that one hears nothing of another would be.
  constexpr size_t kEnough = size_t{512} << 10, kTooMuch = size_t{40} << 20;
  std::map<uint32_t, size_t> shares;
  auto least = [&] { return std::min({shares[1], shares[2], shares[3]}); };
  while (least() < kEnough) {
    WireFrame frame = agent.next();
    if (frame.type == WireType::data) shares[frame.channel] += frame.payload.size();
    INFO(shares[1] << ", " << shares[2] << " and " << shares[3]);
    REQUIRE(shares[frame.channel] < kTooMuch);
  }
  // The client does not read, and asks. What is under way then is all that comes before the answer.
  agent.send(4, WireType::open, R"({"verb":"status","key":"k"})");
  agent.wait_until_heard();
  CHECK(agent.resident() < (size_t{16} << 20));
  size_t before = agent.taken();
  size_t kernel = agent.in_kernel();
  while (agent.next().type != WireType::answer) {
  }
  size_t ahead = agent.taken() - before;
  INFO(ahead << " bytes came before the answer, " << kernel << " of them from the socket");
  // The answer itself, and what came in one read with it, are counted too.
  CHECK(ahead <= kernel + kWriteAhead + 4096 + 1024);
}
