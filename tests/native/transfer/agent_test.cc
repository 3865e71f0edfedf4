// A transfer through a real agent: the link's flow control and the child that serves the far end.
#include "../link/world.h"
#include "transfer/agent_channel.h"
#include "transfer/sync.h"

using namespace choline;

TEST_CASE("a tree goes to an instance through its agent and comes back the same") {
  World world;
  auto client = world.connect();
  std::filesystem::create_directories(world.home + "/here/sub");
  std::string big(5'000'000, '\0');
  for (size_t i = 0; i < big.size(); i++) big[i] = static_cast<char>(i * 2654435761u >> 13);
  world.write("here/big", big);
  world.write("here/sub/small", "text");
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
    CHECK(report->failed.empty());
  }
  CHECK(world.read("work/big") == big);
  CHECK(world.read("back/big") == big);
  CHECK(world.read("back/sub/small") == "text");
  CHECK(client->alive());
}

TEST_CASE("a transfer ends with an error when its agent dies") {
  World world;
  auto client = world.connect();
  auto channel = open_transfer_channel(*client);
  REQUIRE(channel.ok());
  ::kill(client->hello()["pid"].get<int>(), SIGKILL);
  SyncEnd near, far;
  near.path = world.home;
  far.path = world.home + "/target";
  far.channel = std::move(*channel);
  Result<SyncReport> report =
      world.run(sync_files(world.loop, std::move(near), std::move(far), SyncOptions(), nullptr));
  REQUIRE(!report.ok());
  CHECK(report.error().kind == ErrorKind::lost);
}
