// The agent for aarch64, run by qemu on an instance whose `uname` says aarch64: sent, and every
// kind of verb once.
#include <sys/stat.h>

#include "../link/world.h"
#include "transfer/agent_channel.h"
#include "transfer/sync.h"

using namespace choline;

namespace {

std::string aarch64_program() {
  return agent_program() + "-aarch64";
}

// A shell in which `uname -m` says aarch64 and what it becomes is run by qemu.
struct ArmWorld : World {
  std::unique_ptr<AgentClient> connect() {
    write("bin/uname", "#!/bin/sh\necho aarch64\n");
    ::chmod((home + "/bin/uname").c_str(), 0755);
    PipeLinkOptions link_options;
    link_options.argv = {"/bin/bash"};
    link_options.env = {{"HOME", home},
                        {"CHOLINE_INSTANCE", tag},
                        {"PATH", home + "/bin:/usr/bin:/bin"},
                        {"BASH_FUNC_exec%%", "() { builtin exec qemu-aarch64-static \"$@\"; }"}};
    Result<std::unique_ptr<Link>> link = open_pipe_link(loop, std::move(link_options));
    REQUIRE(link.ok());
    BootstrapOptions options = bootstrap_options();
    options.agents = agents({{"x86_64", agent_program()}, {"aarch64", aarch64_program()}});
    Result<Bootstrapped> there = run(bootstrap(loop, std::move(*link), std::move(options)));
    INFO((there ? "" : there.error().message));
    REQUIRE(there.ok());
    was_sent = there->sent;
    agent_path = there->path;
    Result<std::unique_ptr<AgentClient>> client =
        run(AgentClient::open(loop, std::move(there->link), {}));
    INFO((client ? "" : client.error().message));
    REQUIRE(client.ok());
    return std::move(*client);
  }
  ArmWorld() { std::filesystem::create_directories(home + "/bin"); }
};

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("an aarch64 host gets the agent for it, which starts, follows, signals and counts") {
  ArmWorld world;
  auto client = world.connect();
  CHECK(world.was_sent);
  CHECK(client->hello()["arch"] == "aarch64");
  std::string program = bytes_of(aarch64_program());
  REQUIRE(!program.empty());
  CHECK(program.substr(18, 2) == std::string("\xb7\0", 2));  // e_machine: EM_AARCH64
  CHECK(bytes_of(world.agent_path) == program);

  Result<ExecResult> said = world.exec(*client, "echo out; echo err >&2; exit 3");
  REQUIRE(said.ok());
  CHECK(said->out == "out\n");
  CHECK(said->err == "err\n");
  CHECK(said->code == 3);

  world.start(*client, "short", "echo one; echo two; exit 4");
  World::Followed followed = world.follow(*client, "short");
  CHECK(followed.log == "one\ntwo\n");
  CHECK(followed.end.code == 4);

  world.start(*client, "long", "echo started; exec sleep 600");
  REQUIRE(world.run(client->signal("long", SIGTERM)).ok());
  followed = world.follow(*client, "long");
  CHECK(followed.end.signal == SIGTERM);

  // A second agent finds the first one there, and its commands.
  auto second = world.connect();
  CHECK(!world.was_sent);
  Result<std::vector<CommandInfo>> commands = world.run(second->list());
  REQUIRE(commands.ok());
  CHECK(commands->size() == 2);
}

TEST_CASE("the agent for aarch64 moves files and ends an instance that hears nothing") {
  ArmWorld world;
  auto client = world.connect();
  std::string big(3'000'000, '\0');
  for (size_t i = 0; i < big.size(); i++) big[i] = static_cast<char>(i * 2654435761u >> 13);
  std::filesystem::create_directories(world.home + "/here");
  world.write("here/big", big);
  world.write("here/small", "text");
  for (bool there : {true, false}) {
    auto channel = open_transfer_channel(*client);
    REQUIRE(channel.ok());
    SyncEnd near, far;
    near.path = world.home + (there ? "/here" : "/back");
    far.path = client->true_path("work");
    far.channel = std::move(*channel);
    SyncOptions options;
    Result<SyncReport> report =
        world.run(sync_files(world.loop, std::move(there ? near : far),
                             std::move(there ? far : near), options, nullptr));
    INFO((report ? "" : report.error().message));
    REQUIRE(report.ok());
    CHECK(report->files_moved == 2);
  }
  CHECK(world.read("back/big") == big);

  LeaseRequest lease;
  lease.lease = 0.5;
  lease.grace = 0.3;
  lease.end = {"/bin/sh", "-c", "echo \"$CHOLINE_END\" >\"$0/ended\"", world.home};
  world.start(*client, "forgotten", "exec sleep 600");
  Result<std::optional<double>> left = world.run(client->renew(lease));
  INFO((left ? "" : left.error().message));
  REQUIRE(left.ok());
  REQUIRE(left->has_value());
  client.reset();
  world.run_until([&] { return world.read("ended") == "lease\n"; });
}
