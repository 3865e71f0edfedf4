// The agent's verbs, with real processes.
#include <signal.h>
#include <sys/stat.h>

#include "world.h"

using namespace choline;

TEST_CASE("a first contact sends the agent, a second one finds it there") {
  World world;
  std::unique_ptr<AgentClient> first = world.connect();
  CHECK(world.was_sent);
  CHECK(world.agent_path.starts_with(world.home + "/.choline/agent-"));
  CHECK(first->hello()["tag"] == world.tag);
  std::unique_ptr<AgentClient> second = world.connect();
  CHECK(!world.was_sent);
  CHECK(first->alive());
  CHECK(second->alive());
}

TEST_CASE("the agent is static and within its bound") {
  CHECK(std::filesystem::file_size(agent_program()) < (size_t{5} << 19));  // a quarter is zstd
  std::ifstream file(agent_program(), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  CHECK(bytes.find("/lib64/ld-linux") == std::string::npos);
}

TEST_CASE("a login that prints a lot before the shell answers does no harm") {
  World world;
  auto link =
      world.shell({"/bin/sh", "-c", "seq 1 5000; printf 'no newline @choline'; exec /bin/sh"});
  Result<Bootstrapped> there =
      world.run(bootstrap(world.loop, std::move(link), world.bootstrap_options()));
  REQUIRE(there.ok());
  auto client = world.run(AgentClient::open(world.loop, std::move(there->link)));
  CHECK(client.ok());
}

TEST_CASE("any shell will do, with few tools around it") {
  struct Shell {
    std::vector<std::string> argv;
    std::vector<std::string> tools;
  };
  std::vector<std::string> least = {"uname", "id", "mkdir", "rm", "chmod", "mv", "wc", "tr"};
  std::vector<std::string> with_head = least, with_dd = least;
  with_head.push_back("head");
  with_dd.push_back("dd");
  for (const Shell& one : {Shell{{"/bin/dash"}, {}}, Shell{{"/bin/bash"}, {}},
                           Shell{{"/bin/bash", "--posix"}, {}}, Shell{{"/bin/busybox", "sh"}, {}},
                           Shell{{"/bin/dash"}, with_head}, Shell{{"/bin/bash"}, with_dd}}) {
    if (!std::filesystem::exists(one.argv[0])) continue;
    World world;
    PipeLinkOptions options;
    options.argv = one.argv;
    options.env = {{"HOME", world.home}};
    if (!one.tools.empty()) {
      std::filesystem::create_directories(world.home + "/bin");
      for (const std::string& tool : one.tools) {
        std::filesystem::create_symlink("/usr/bin/" + tool, world.home + "/bin/" + tool);
      }
      options.env["PATH"] = world.home + "/bin";
    }
    auto link = open_pipe_link(world.loop, options);
    REQUIRE(link.ok());
    Result<Bootstrapped> there =
        world.run(bootstrap(world.loop, std::move(*link), world.bootstrap_options()));
    INFO(one.argv[0] << ": " << (there ? "" : there.error().message));
    REQUIRE(there.ok());
    CHECK(there->sent);
    auto client = world.run(AgentClient::open(world.loop, std::move(there->link)));
    REQUIRE(client.ok());
    // The agent finds the usual programs even where the login's PATH is poor.
    CHECK(world.exec(**client, "ls / >/dev/null && echo found")->out == "found\n");
    // Nor does the strict umask of the bootstrap stay.
    mode_t mask = ::umask(0);
    ::umask(mask);
    CHECK(std::stoi(world.exec(**client, "umask")->out, nullptr, 8) == static_cast<int>(mask));
  }
}

TEST_CASE("an instance whose home cannot be written gets its agent elsewhere") {
  World world;
  std::string file = world.home + "/file";
  world.write("file", "");
  PipeLinkOptions options;
  options.argv = {"/bin/sh"};
  options.env = {{"HOME", file}};  // a file: nothing can be made below it, not even by root
  auto link = open_pipe_link(world.loop, options);
  REQUIRE(link.ok());
  BootstrapOptions how = world.bootstrap_options();
  how.root = world.home;
  Result<Bootstrapped> there = world.run(bootstrap(world.loop, std::move(*link), how));
  INFO((there ? "" : there.error().message));
  REQUIRE(there.ok());
  CHECK(!there->path.starts_with(world.home));
  std::filesystem::remove(there->path);
}

TEST_CASE("a bootstrap that fails says why") {
  World world;
  BootstrapOptions strange = world.bootstrap_options();
  strange.agents = World::agents({{"pdp11", agent_program()}});
  Result<Bootstrapped> there = world.run(bootstrap(world.loop, world.shell(), strange));
  REQUIRE(!there.ok());
  CHECK(there.error().message.find("no agent for the instance's processor") != std::string::npos);

  auto dying = world.shell({"/bin/sh", "-c", "echo 'Permission denied (publickey)' >&2; exit 255"});
  there = world.run(bootstrap(world.loop, std::move(dying), world.bootstrap_options()));
  REQUIRE(!there.ok());
  CHECK(there.error().kind == ErrorKind::lost);
  CHECK(there.error().message.find("exit code 255: Permission denied (publickey)") !=
        std::string::npos);

  auto chatty = world.shell({"/bin/sh", "-c", "yes"});
  there = world.run(bootstrap(world.loop, std::move(chatty), world.bootstrap_options()));
  REQUIRE(!there.ok());
  CHECK(there.error().message.find("prints without end") != std::string::npos);
}

TEST_CASE("exec gives exit code, both streams, and takes input") {
  World world;
  auto client = world.connect();
  Result<ExecResult> result = world.exec(*client, "echo out; echo err >&2; exit 7");
  REQUIRE(result.ok());
  CHECK(result->code == 7);
  CHECK(result->out == "out\n");
  CHECK(result->err == "err\n");

  ExecRequest request;
  request.command.list = {"cat"};
  request.input.assign(3'000'000, 'x');
  request.limit = size_t{4} << 20;
  result = world.run(client->exec(request));
  REQUIRE(result.ok());
  CHECK(result->out == request.input);

  result = world.exec(*client, "kill -9 $$");
  CHECK(result->code == 137);
  CHECK(result->signal == 9);
  result = world.exec(*client, "false; echo not reached");
  CHECK(result->code == 1);
  CHECK(result->out == "");
  ExecRequest missing;
  missing.command.list = {"no-such-program-here"};
  result = world.run(client->exec(missing));
  CHECK(result->code == 127);
  CHECK(result->err.find("cannot run no-such-program-here") != std::string::npos);
}

TEST_CASE("exec keeps no more than its limit and ends at its time") {
  World world;
  auto client = world.connect();
  ExecRequest request;
  request.command.shell = "head -c 1000000 /dev/zero; head -c 10 /dev/zero >&2";
  request.limit = 1000;
  Result<ExecResult> result = world.run(client->exec(request));
  REQUIRE(result.ok());
  CHECK(result->out.size() == 1000);
  CHECK(result->out_cut);
  CHECK(result->err.size() == 10);
  CHECK(!result->err_cut);

  request.command.shell = "(sleep 1000; echo late) & sleep 1000";
  request.timeout = 0.05;
  result = world.run(client->exec(request));
  REQUIRE(result.ok());
  CHECK(result->timed_out);
  CHECK(result->signal == SIGKILL);
}

TEST_CASE("commands run in the instance's home with its environment; paths may be any text") {
  World world;
  auto client = world.connect();
  Result<ExecResult> result = world.exec(
      *client, "echo $HOME; pwd; echo $CHOLINE_INSTANCE; command -v ls >/dev/null && echo found");
  REQUIRE(result.ok());
  CHECK(result->out == world.home + "\n" + world.home + "\n" + world.tag + "\nfound\n");

  std::string odd = "dir ünï\n$(x) \xff";
  std::filesystem::create_directories(world.home + "/" + odd);
  ExecRequest request;
  request.command.shell = "pwd; printf %s \"$VALUE\"";
  request.dir = odd;
  request.env = {{"VALUE", "a'b\"$c\n\xfe"}};
  result = world.run(client->exec(request));
  INFO((result ? "" : result.error().message));
  REQUIRE(result.ok());
  CHECK(result->out == world.home + "/" + odd + "\na'b\"$c\n\xfe");

  request.dir = "absent";
  result = world.run(client->exec(request));
  REQUIRE(!result.ok());
  CHECK(result.error().kind == ErrorKind::not_found);
  CHECK(result.error().message.find("'absent'") != std::string::npos);
}

TEST_CASE("in a jail absolute paths are below the instance's home, and .. does not leave it") {
  World world;
  std::filesystem::create_directories(world.home + "/workspace/a");
  BootstrapOptions options = world.bootstrap_options();
  options.jail = true;
  auto client = world.connect(options);
  ExecRequest request;
  request.command.shell = "pwd";
  for (std::string dir : {"/workspace/a", "workspace/a", "/../../workspace/./a", "~/workspace/a"}) {
    request.dir = dir;
    Result<ExecResult> result = world.run(client->exec(request));
    REQUIRE(result.ok());
    CHECK(result->out == world.home + "/workspace/a\n");
    CHECK(client->true_path(dir) == world.home + "/workspace/a");
  }
  CHECK(client->true_path("/../..") == world.home);
}

TEST_CASE("facts tell what the instance is made of") {
  World world;
  auto client = world.connect();
  Result<AgentFacts> facts = world.run(client->facts());
  INFO((facts ? "" : facts.error().message));
  REQUIRE(facts.ok());
  CHECK(facts->home == world.home);
  CHECK(facts->cpus >= 1);
  CHECK(facts->memory > (1 << 20));
  CHECK(facts->disk > 0);
  CHECK(!facts->arch.empty());
  CHECK(!facts->os.empty());
}

TEST_CASE("gpus come from nvidia-smi where it is") {
  World world;
  std::filesystem::create_directories(world.home + "/bin");
  world.write("bin/nvidia-smi", "#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559, 535.1'\n");
  ::chmod((world.home + "/bin/nvidia-smi").c_str(), 0755);
  PipeLinkOptions options;
  options.argv = {"/bin/sh"};
  options.env = {{"HOME", world.home}, {"PATH", world.home + "/bin:/usr/bin:/bin"}};
  auto link = open_pipe_link(world.loop, options);
  auto there = world.run(bootstrap(world.loop, std::move(*link), world.bootstrap_options()));
  REQUIRE(there.ok());
  auto client = world.run(AgentClient::open(world.loop, std::move(there->link)));
  Result<AgentFacts> facts = world.run((*client)->facts());
  REQUIRE(facts.ok());
  REQUIRE(facts->gpus.size() == 1);
  CHECK(facts->gpus[0].name == "NVIDIA H100 80GB HBM3");
  CHECK(facts->gpus[0].memory == int64_t{81559} << 20);
}

TEST_CASE("an unknown verb and a malformed request are answered, and the link goes on") {
  World world;
  auto client = world.connect();
  Result<Json> answer = world.run(client->call("dance", Json::object()));
  REQUIRE(!answer.ok());
  CHECK(answer.error().kind == ErrorKind::unsupported);
  answer = world.run(client->call("status", Json{{"key", 7}}));
  REQUIRE(!answer.ok());
  CHECK(answer.error().kind == ErrorKind::invalid);
  answer = world.run(client->call("exec", Json{{"command", {{"list", {1, 2}}}}}));
  CHECK(!answer.ok());
  CHECK(world.exec(*client, "true").ok());
}

TEST_CASE("a link that dies ends every call with lost, and says so once") {
  World world;
  auto client = world.connect();
  int deaths = 0;
  client->on_death([&](Error error) {
    deaths++;
    CHECK(error.kind == ErrorKind::lost);
  });
  int agent = client->hello()["pid"];
  std::optional<Result<ExecResult>> ended;
  ExecRequest request;
  request.command.shell = "sleep 1000";
  Started pending(client->exec(request),
                  std::function<void(Result<ExecResult>)>(
                      [&](Result<ExecResult> r) { ended.emplace(std::move(r)); }));
  ::kill(agent, SIGKILL);
  world.run_until([&] { return ended && deaths; });
  CHECK(ended->error().kind == ErrorKind::lost);
  CHECK(!client->alive());
  CHECK(client->death().message.find("signal 9") != std::string::npos);
  CHECK(world.run(client->facts()).error().kind == ErrorKind::lost);
  CHECK(deaths == 1);
}

TEST_CASE("an agent that is stopped is noticed by its silence") {
  World world;
  ClientOptions options;
  options.ping_every = 0.02;
  options.missed_pings = 3;
  auto client = world.connect(world.bootstrap_options(), options);
  int agent = client->hello()["pid"];
  ::kill(agent, SIGSTOP);
  world.run_until([&] { return !client->alive(); });
  CHECK(client->death().kind == ErrorKind::lost);
  CHECK(client->death().message.find("silent") != std::string::npos);
  ::kill(agent, SIGKILL);
}

TEST_CASE("a cancelled exec is ended on the instance too") {
  World world;
  auto client = world.connect();
  {
    ExecRequest request;
    request.command.shell = "echo $$ > pid; sleep 1000";
    Started pending(client->exec(request),
                    std::function<void(Result<ExecResult>)>([](Result<ExecResult>) {}));
    world.run_until([&] { return world.read("pid").ends_with("\n"); });
  }
  int pid = std::stoi(world.read("pid"));
  world.run_until([&] { return ::kill(pid, 0) != 0; });
  CHECK(world.exec(*client, "true").ok());
}
