// Terminals and commands that belong to a link, with real processes; and the keys that are
// choline's.
#include <signal.h>

#include "link/escape.h"
#include "world.h"

using namespace choline;

namespace {

struct Typed {
  std::string sent;
  std::string acts;
};

// What becomes of keys that come in pieces.
Typed type(const std::vector<std::string>& pieces) {
  EscapeFilter filter;
  Typed typed;
  for (const std::string& piece : pieces) {
    std::string_view rest = piece;
    while (!rest.empty()) {
      EscapeFilter::Act act = filter.feed(rest, typed.sent, rest);
      if (act == EscapeFilter::Act::leave) typed.acts += '.';
      if (act == EscapeFilter::Act::suspend) typed.acts += 'z';
      if (act == EscapeFilter::Act::help) typed.acts += '?';
    }
  }
  return typed;
}

// A terminal that runs `script`, and what it has said so far.
struct Screen {
  Screen(World& the_world, AgentClient& client, const std::string& script,
         Json more = Json::object())
      : world(the_world) {
    Json args{{"command", {{"shell", script}}}, {"rows", 24}, {"columns", 80}};
    args.update(more);
    Result<std::unique_ptr<AgentChannel>> opened = client.open_channel("terminal", args);
    REQUIRE(opened.ok());
    channel = std::move(*opened);
  }
  void wait_for(const std::string& words) {
    while (text.find(words) == std::string::npos) {
      Result<std::optional<AgentChannel::Chunk>> chunk = world.run(channel->read());
      INFO(text);
      REQUIRE(chunk.ok());
      REQUIRE(chunk->has_value());
      text += (*chunk)->bytes;
    }
  }
  World& world;
  std::unique_ptr<AgentChannel> channel;
  std::string text;
};

bool is_there(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t bracket = text.rfind(')');
  return bracket != std::string::npos && text[bracket + 2] != 'Z';
}

}  // namespace

TEST_CASE("a tilde is choline's only at the start of a line, and only before some keys") {
  CHECK(type({"~."}).acts == ".");
  CHECK(type({"ls ~.\r"}).sent == "ls ~.\r");
  CHECK(type({"ls\r~."}).acts == ".");
  CHECK(type({"ls\r", "~", "."}).acts == ".");
  CHECK(type({"ls\r", "~", "."}).sent == "ls\r");
  CHECK(type({"~~."}).sent == "~.");
  CHECK(type({"~x~."}).sent == "~x~.");
  CHECK(type({"~?~\x1a~."}).acts == "?z.");
  CHECK(type({"abc\x03~."}).acts == ".");
}

TEST_CASE("a terminal has the size that it is given, and survives sizes that cannot be") {
  World world;
  std::unique_ptr<AgentClient> client = world.connect();
  Screen screen(world, *client, "read a; stty size; read b; stty size", {{"rows", 10}});
  screen.channel->note({{"rows", -4}, {"columns", "wide"}});
  screen.channel->note({{"rows", Json::array()}, {"columns", nullptr}});
  CHECK(world.run(screen.channel->write("\r")).ok());
  screen.wait_for("10 80");
  screen.channel->note({{"rows", uint64_t{1} << 40}, {"columns", 0}});
  CHECK(world.run(screen.channel->write("\r")).ok());
  screen.wait_for("65535 1");
  Result<Json> answer = world.run(screen.channel->answer());
  REQUIRE(answer.ok());
  CHECK(answer->at("code") == 0);
}

TEST_CASE("a terminal whose channel is closed ends all of its session, whatever that ignores") {
  World world;
  std::unique_ptr<AgentClient> client = world.connect();
  auto screen = std::make_unique<Screen>(world, *client,
                                         "trap '' HUP; (sleep 600 & echo =$!.; wait) & sleep 600");
  screen->wait_for(".");
  pid_t inner = std::stoi(screen->text.substr(screen->text.find('=') + 1));
  CHECK(is_there(inner));
  screen.reset();
  world.run_until([&] { return !is_there(inner); });
  CHECK(client->alive());
}

TEST_CASE("an agent that is killed leaves nothing of exec and terminals") {
  World world;
  std::unique_ptr<AgentClient> client = world.connect();
  Screen screen(world, *client, "(sleep 600 & echo =$!.; wait); true");
  screen.wait_for(".");
  pid_t inner = std::stoi(screen.text.substr(screen.text.find('=') + 1));
  Result<std::unique_ptr<AgentChannel>> exec = client->open_channel(
      "exec", Json{{"command", {{"shell", "(sleep 600 & echo =$!.; wait); true"}}}});
  REQUIRE(exec.ok());
  Result<std::optional<AgentChannel::Chunk>> said = world.run((*exec)->read());
  REQUIRE(said.ok());
  REQUIRE(said->has_value());
  pid_t other = std::stoi((*said)->bytes.substr(1));
  CHECK(is_there(inner));
  CHECK(is_there(other));
  ::kill(client->hello()["pid"].get<pid_t>(), SIGKILL);
  world.run_until([&] { return !is_there(inner) && !is_there(other); });
}

TEST_CASE("what an exec leaves in the background on purpose goes on") {
  World world;
  std::unique_ptr<AgentClient> client = world.connect();
  Result<ExecResult> done = world.exec(*client, "sleep 600 > /dev/null 2>&1 & echo $!");
  REQUIRE(done.ok());
  pid_t left = std::stoi(done->out);
  // The guard is gone before another command ends.
  CHECK(world.exec(*client, "true").ok());
  CHECK(is_there(left));
  ::kill(left, SIGKILL);
}

TEST_CASE("notes that ask for no signal that there is are nothing") {
  World world;
  std::unique_ptr<AgentClient> client = world.connect();
  Result<std::unique_ptr<AgentChannel>> exec =
      client->open_channel("exec", Json{{"command", {{"shell", "read x; exit 6"}}}});
  REQUIRE(exec.ok());
  for (const Json& number : {Json(-1), Json(0), Json(4000), Json("KILL"), Json(1.5), Json()}) {
    (*exec)->note({{"signal", number}});
  }
  CHECK(world.run((*exec)->write("x\n")).ok());
  Result<Json> answer = world.run((*exec)->answer());
  REQUIRE(answer.ok());
  CHECK(answer->at("code") == 6);
}

TEST_CASE("a login shell reads its commands from its input") {
  World world;
  std::unique_ptr<AgentClient> client = world.connect();
  Result<std::unique_ptr<AgentChannel>> shell =
      client->open_channel("exec", Json{{"command", {{"login", true}}}});
  REQUIRE(shell.ok());
  std::string said;
  std::function<void(const AgentChannel::Chunk&)> take = [&](const AgentChannel::Chunk& chunk) {
    if (chunk.stream == 1) said += chunk.bytes;
  };
  Result<Json> answer = world.run((*shell)->exchange("echo $0; pwd; exit 3\n", take));
  REQUIRE(answer.ok());
  CHECK(answer->at("code") == 3);
  CHECK(said.starts_with("-"));
  CHECK(said.find(world.home + "\n") != std::string::npos);
}
