// Durable commands: started once, followed by offset, never touched by the death of agent or link.
#include <signal.h>
#include <sys/wait.h>

#include "world.h"

using namespace choline;

namespace {
int pid_in(World& world, const std::string& file) {
  world.run_until([&] { return world.read(file).ends_with("\n"); });
  return std::stoi(world.read(file));
}
bool is_gone(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t bracket = text.rfind(')');
  return bracket == std::string::npos || text[bracket + 2] == 'Z';
}
}  // namespace

TEST_CASE("a command's log and exit code come through, whatever the code is") {
  World world;
  auto client = world.connect();
  struct Case {
    std::string script;
    int code, signal;
  };
  for (const Case& one :
       {Case{"echo a; echo b >&2", 0, 0}, Case{"echo a; echo b >&2; exit 1", 1, 0},
        Case{"echo a; echo b >&2; exit 137", 137, 0},
        Case{"echo a; echo b >&2; kill -9 $$", 137, 9},
        Case{"echo a; echo b >&2; kill -TERM $$", 143, 15}}) {
    std::string key = "run/" + one.script;
    world.start(*client, key, one.script);
    World::Followed got = world.follow(*client, key);
    CHECK(got.log == "a\nb\n");
    CHECK(got.end.state == CommandState::finished);
    CHECK(got.end.code == one.code);
    CHECK(got.end.signal == one.signal);
    CHECK(!got.end.oom);
    CHECK(got.end.started > 1.6e9);
  }
}

TEST_CASE("a key is started once, also by many at the same time") {
  World world;
  auto one = world.connect();
  auto two = world.connect();
  std::vector<Started> calls;
  int fresh = 0, answers = 0;
  for (int i = 0; i < 20; i++) {
    AgentClient& client = i % 2 ? *one : *two;
    calls.emplace_back(client.start(world.command("k#1", "echo x >> count; sleep 1000")),
                       std::function<void(Result<StartResult>)>([&](Result<StartResult> result) {
                         INFO((result ? "" : result.error().message));
                         CHECK(result.ok());
                         answers++;
                         if (result && !result->already) fresh++;
                       }));
  }
  world.run_until([&] { return answers == 20 && !world.read("count").empty(); });
  CHECK(fresh == 1);
  CHECK(world.read("count") == "x\n");
  CHECK(world.run(one->signal("k#1", SIGKILL)).ok());
  CHECK(world.follow(*one, "k#1").end.signal == 9);
  Result<StartResult> again = world.run(two->start(world.command("k#1", "echo x >> count")));
  CHECK(again->already);
  CHECK(world.read("count") == "x\n");
}

TEST_CASE("keys that differ only in odd letters are different commands") {
  World world;
  auto client = world.connect();
  std::vector<std::string> keys = {
      "a/b", "a_b", "a%2fb", "..", "ä", std::string(300, 'k'), std::string(301, 'k')};
  for (const std::string& key : keys) world.start(*client, key, "printf %s '" + key + "'");
  for (const std::string& key : keys) CHECK(world.follow(*client, key).log == key);
  Result<std::vector<CommandInfo>> list = world.run(client->list());
  REQUIRE(list.ok());
  CHECK(list->size() == keys.size());
  Result<StartResult> bad = world.run(client->start(world.command("", "true")));
  CHECK(bad.error().kind == ErrorKind::invalid);
}

TEST_CASE("a command outlives a killed agent, and its log goes on at the right byte") {
  World world;
  auto client = world.connect();
  world.start(
      *client, "long",
      "for i in 1 2 3; do echo line $i; while [ ! -e go$i ]; do sleep 0.01; done; done; exit 5");
  std::string log;
  Started following(
      client->follow("long", 0, [&](std::string_view bytes, uint64_t) { log += bytes; }),
      std::function<void(Result<CommandStatus>)>(
          [](Result<CommandStatus> end) { CHECK(end.error().kind == ErrorKind::lost); }));
  world.run_until([&] { return log == "line 1\n"; });
  int agent = client->hello()["pid"];
  ::kill(agent, SIGKILL);
  world.run_until([&] { return !client->alive(); });
  world.write("go1", "");
  world.write("go2", "");

  auto again = world.connect();
  CHECK(!world.was_sent);
  Result<CommandStatus> now = world.run(again->status("long"));
  CHECK(now->state == CommandState::running);
  world.write("go3", "");
  World::Followed rest = world.follow(*again, "long", log.size());
  CHECK(log + rest.log == "line 1\nline 2\nline 3\n");
  CHECK(rest.end.code == 5);
  CHECK(rest.end.log_size == 21);
}

TEST_CASE("a command outlives the death of choline itself") {
  World world;
  pid_t controller = ::fork();
  if (controller == 0) {  // a choline of its own, which dies in the midst of its work
    World other;
    std::filesystem::remove(other.home);
    other.home = world.home;
    other.tag = world.tag;
    auto client = other.connect();
    other.start(*client, "k",
                "echo $$ > pid; echo begun; while [ ! -e go ]; do sleep 0.01; done; echo ended");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(controller, &status, 0);
  CHECK(WTERMSIG(status) == SIGKILL);
  pid_in(world, "pid");
  auto client = world.connect();
  CHECK(world.run(client->status("k"))->state == CommandState::running);
  world.write("go", "");
  World::Followed got = world.follow(*client, "k");
  CHECK(got.log == "begun\nended\n");
  CHECK(got.end.code == 0);
}

TEST_CASE("a newer agent takes over the commands of the older one") {
  World world;
  auto old = world.connect();
  world.start(*old, "k", "echo begun; while [ ! -e go ]; do sleep 0.01; done; echo ended; exit 3");
  std::string newer = world.home + "/newer-agent";
  std::filesystem::copy_file(agent_program(), newer);
  std::ofstream(newer, std::ios::app | std::ios::binary) << "another build";
  BootstrapOptions options = world.bootstrap_options();
  options.agents = World::agents({{"x86_64", newer}, {"aarch64", newer}});
  std::string old_path = world.agent_path;
  auto client = world.connect(options);
  CHECK(world.was_sent);
  CHECK(world.agent_path != old_path);
  old.reset();
  std::filesystem::remove(old_path);
  CHECK(world.run(client->start(world.command("k", "echo twice")))->already);
  world.write("go", "");
  World::Followed got = world.follow(*client, "k");
  CHECK(got.log == "begun\nended\n");
  CHECK(got.end.code == 3);
}

TEST_CASE("signals reach the whole group; KILL also what left it") {
  World world;
  auto client = world.connect();
  world.start(
      *client, "k",
      "sh -c 'trap \"echo got; exit 0\" USR1; echo $$ > child; while :; do sleep 0.01; done' & "
      "trap 'wait; exit 9' USR1; echo $$ > parent; wait");
  pid_in(world, "parent");
  int child = pid_in(world, "child");
  CHECK(world.run(client->signal("k", SIGUSR1)).ok());
  World::Followed got = world.follow(*client, "k");
  CHECK(got.log.find("got") != std::string::npos);
  CHECK(got.end.code == 9);
  CHECK(is_gone(child));

  world.start(*client, "away", "setsid sh -c 'echo $$ > away; sleep 1000' & wait");
  int away = pid_in(world, "away");
  CHECK(world.run(client->signal("away", SIGKILL)).ok());
  CHECK(world.follow(*client, "away").end.signal == 9);
  world.run_until([&] { return is_gone(away); });

  Status late = world.run(client->signal("away", SIGTERM));
  CHECK(late.error().kind == ErrorKind::not_found);
  CHECK(world.run(client->signal("never", SIGTERM)).error().kind == ErrorKind::not_found);
  CHECK(world.run(client->signal("away", 1000)).error().kind == ErrorKind::invalid);
}

TEST_CASE("a killed keeper makes its command lost, and nothing of it goes on") {
  World world;
  auto client = world.connect();
  world.start(*client, "k", "sh -c 'echo $$ > grandchild; sleep 1000' & echo $PPID > keeper; wait");
  int keeper = pid_in(world, "keeper");
  int grandchild = pid_in(world, "grandchild");
  ::kill(keeper, SIGKILL);
  World::Followed got = world.follow(*client, "k");
  CHECK(got.end.state == CommandState::lost);
  world.run_until([&] { return is_gone(grandchild); });
  // The key is taken for good: it did run.
  CHECK(world.run(client->start(world.command("k", "true")))->already);
}

TEST_CASE("a follower hears of a small log while another command pours out megabytes") {
  World world;
  auto client = world.connect();
  world.start(*client, "loud", "head -c 30000000 /dev/zero");
  world.start(
      *client, "quiet",
      "echo here; trap 'echo bye; exit 4' TERM; echo $$ > pid; while :; do sleep 0.01; done");
  size_t poured = 0;
  std::optional<CommandStatus> loud, quiet;
  std::string log;
  Started first(
      client->follow("loud", 0, [&](std::string_view bytes, uint64_t) { poured += bytes.size(); }),
      std::function<void(Result<CommandStatus>)>([&](Result<CommandStatus> end) { loud = *end; }));
  Started second(
      client->follow("quiet", 0, [&](std::string_view bytes, uint64_t) { log += bytes; }),
      std::function<void(Result<CommandStatus>)>([&](Result<CommandStatus> end) { quiet = *end; }));
  pid_in(world, "pid");
  CHECK(world.run(client->signal("quiet", SIGTERM)).ok());
  world.run_until([&] { return loud && quiet; });
  CHECK(poured == 30000000);
  CHECK(loud->code == 0);
  CHECK(log.starts_with("here\n"));  // the shell may say that its sleep was ended
  CHECK(log.ends_with("bye\n"));
  CHECK(quiet->code == 4);
}

TEST_CASE("a log that was emptied is followed from its new beginning") {
  World world;
  auto client = world.connect();
  world.start(*client, "k",
              "echo a long first line; while [ ! -e go ]; do sleep 0.01; done; echo new");
  std::string log;
  uint64_t last = 99;
  std::optional<CommandStatus> end;
  Started following(
      client->follow("k", 0,
                     [&](std::string_view bytes, uint64_t at) {
                       log += bytes;
                       last = at;
                     }),
      std::function<void(Result<CommandStatus>)>([&](Result<CommandStatus> r) { end = *r; }));
  world.run_until([&] { return log == "a long first line\n"; });
  std::filesystem::resize_file(world.home + "/.choline/commands/k/log", 0);
  world.write("go", "");
  world.run_until([&] { return end.has_value(); });
  CHECK(log == "a long first line\nnew\n");
  CHECK(last == 0);
}

TEST_CASE("secrets of the environment are on no disk of the instance") {
  World world;
  auto client = world.connect();
  StartRequest request = world.command("k", "test \"$TOKEN\" = hush-hush-1234 && echo same");
  request.env = {{"TOKEN", "hush-hush-1234"}};
  request.info = {{"task", "train"}};
  REQUIRE(world.run(client->start(request)).ok());
  CHECK(world.follow(*client, "k").log == "same\n");
  CHECK(world.run(client->list())->at(0).info["task"] == "train");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(world.home)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), {});
    CHECK(bytes.find("hush-hush-1234") == std::string::npos);
  }
}

TEST_CASE("a finished command can be removed, a running one cannot") {
  World world;
  auto client = world.connect();
  world.start(*client, "k", "while [ ! -e go ]; do sleep 0.01; done");
  CHECK(world.run(client->remove("k")).error().kind == ErrorKind::conflict);
  world.write("go", "");
  world.follow(*client, "k");
  CHECK(world.run(client->remove("k")).ok());
  CHECK(world.run(client->list())->empty());
  CHECK(world.run(client->status("k"))->state == CommandState::unknown);
  CHECK(world.run(client->follow("k", 0, [](std::string_view, uint64_t) {})).error().kind ==
        ErrorKind::not_found);
  CHECK(world.run(client->remove("k")).ok());
  world.start(*client, "k", "true");
  CHECK(world.follow(*client, "k").end.code == 0);
}

TEST_CASE("a command in a missing folder is refused and may be started later") {
  World world;
  auto client = world.connect();
  StartRequest request = world.command("k", "pwd");
  request.dir = "work";
  CHECK(world.run(client->start(request)).error().kind == ErrorKind::not_found);
  std::filesystem::create_directories(world.home + "/work");
  CHECK(!world.run(client->start(request))->already);
  CHECK(world.follow(*client, "k").log == world.home + "/work\n");
}

TEST_CASE("a start whose agent died before the keeper ran is made good by the next") {
  World world;
  auto client = world.connect();
  std::filesystem::create_directories(world.home + "/.choline/commands/k");
  CHECK(world.run(client->status("k"))->state == CommandState::unknown);
  world.start(*client, "k", "echo once");
  CHECK(world.follow(*client, "k").log == "once\n");
}

TEST_CASE("two builds of the agent, side by side, see the same commands and the same lease") {
  World world;
  auto old = world.connect();
  world.start(*old, "k", "trap 'echo told; exit 9' TERM; echo begun; while :; do sleep 0.01; done");
  world.run_until([&] { return world.read(".choline/commands/k/log") == "begun\n"; });
  LeaseRequest lease;
  lease.lease = 600;
  lease.end = {"true"};
  REQUIRE(world.run(old->renew(lease)).ok());
  std::string keeper;  // it writes its number when it runs
  world.run_until([&] {
    keeper = world.read(".choline/lease/" + world.tag + "/keeper");
    return !keeper.empty();
  });

  BootstrapOptions options = world.bootstrap_options();
  std::string newer = world.home + "/newer-agent";
  std::filesystem::copy_file(agent_program(), newer);
  std::ofstream(newer, std::ios::app | std::ios::binary) << "another build";
  options.agents = World::agents({{"x86_64", newer}, {"aarch64", newer}});
  auto client = world.connect(options);
  CHECK(world.was_sent);
  Result<std::vector<CommandInfo>> commands = world.run(client->list());
  REQUIRE(commands.ok());
  REQUIRE(commands->size() == 1);
  CHECK(commands->front().status.state == CommandState::running);
  Result<std::optional<double>> left = world.run(client->renew(lease));
  REQUIRE(left.ok());
  CHECK(left->value_or(0) > 500);
  CHECK(world.read(".choline/lease/" + world.tag + "/keeper") == keeper);  // the same goes on
  CHECK(world.run(client->signal("k", SIGTERM)).ok());
  for (AgentClient* each : {old.get(), client.get()}) {
    World::Followed got = world.follow(*each, "k");
    CHECK(got.log.ends_with("told\n"));
    CHECK(got.end.code == 9);
  }
  lease.lease = 0;  // its keeper has nothing to do any more
  REQUIRE(world.run(client->renew(lease)).ok());
}

TEST_CASE("agents that nothing uses any more are removed, and no others") {
  World world;
  auto client = world.connect();
  std::string folder = world.home + "/.choline/";
  auto put = [&](char letter, int days, const std::string& copy_of = "/bin/true") {
    std::string path = folder + "agent-" + std::string(24, letter);
    std::filesystem::copy_file(copy_of, path);
    std::filesystem::last_write_time(
        path, std::filesystem::file_time_type::clock::now() - std::chrono::hours(24 * days));
    return path;
  };
  std::string old = put('a', 40), recent = put('b', 1), second = put('c', 2), third = put('d', 3);
  std::string beyond = put('e', 4), busy = put('f', 50, "/bin/sleep");
  std::string foreign = folder + "agent-of-mine";
  std::ofstream(foreign) << "x";
  PipeLinkOptions options;
  options.argv = {busy, "600"};
  auto runs = open_pipe_link(world.loop, options);
  REQUIRE(runs.ok());
  auto again = world.connect();  // each agent looks when it starts
  auto gone = [](const std::string& path) { return !std::filesystem::exists(path); };
  world.run_until([&] { return gone(old) && gone(beyond); });
  for (const std::string& kept : {recent, second, third, busy, foreign, world.agent_path}) {
    INFO(kept);
    CHECK(!gone(kept));
  }
}
