// Leases: an instance that hears nothing ends itself, whoever was killed, and never before.
#include <signal.h>

#include "base/json.h"
#include "world.h"

using namespace choline;

namespace {

// The end of this instance leaves a file with the reason behind, out of its home.
struct Leased : World {
  Leased() { std::filesystem::create_directories(outside); }
  ~Leased() { std::filesystem::remove_all(outside); }

  LeaseRequest terms(double lease, double lifetime = 0) {
    LeaseRequest request;
    request.lease = lease;
    request.lifetime = lifetime;
    request.grace = 0.3;
    request.end = {"/bin/sh", "-c",
                   "echo \"$CHOLINE_END\" >\"$0/ended.new\" && mv \"$0/ended.new\" \"$0/ended\"",
                   outside};
    return request;
  }
  double renew(AgentClient& client, LeaseRequest request) {
    Result<std::optional<double>> left = run(client.renew(std::move(request)));
    INFO((left ? "" : left.error().message));
    REQUIRE(left.ok());
    REQUIRE(left->has_value());
    return **left;
  }
  std::string ended() {
    std::ifstream file(outside + "/ended");
    std::string why;
    std::getline(file, why);
    return why;
  }
  std::string wait_for_end() {
    run_until([&] { return !ended().empty(); });
    return ended();
  }
  // Processes with the mark of `of`, this one's by default.
  std::vector<int> marked(std::string of = "") {
    std::vector<int> pids;
    std::string mark = "CHOLINE_INSTANCE=" + (of.empty() ? tag : of);
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      int pid = std::atoi(entry.path().filename().c_str());
      if (pid <= 1 || pid == ::getpid()) continue;
      std::ifstream file(entry.path() / "environ", std::ios::binary);
      std::string env((std::istreambuf_iterator<char>(file)), {});
      if (('\0' + env).find('\0' + mark + '\0') != std::string::npos) pids.push_back(pid);
    }
    return pids;
  }
  std::string lease_file(const std::string& name) { return ".choline/lease/" + tag + "/" + name; }
  int keeper() { return std::atoi(read(lease_file("keeper")).c_str()); }
  bool keeper_lives() {
    std::vector<int> all = marked();
    return std::find(all.begin(), all.end(), keeper()) != all.end();
  }
  void kill_keeper() {
    run_until([&] { return keeper_lives(); });
    int pid = keeper();
    ::kill(pid, SIGKILL);
    run_until([&] {
      std::vector<int> all = marked();
      return std::find(all.begin(), all.end(), pid) == all.end();
    });
  }
  // Changes the record as nobody but time can; its keeper must be dead.
  void edit_record(std::function<void(Json&)> change) {
    Result<Json> record = parse_json(read(lease_file("heard")));
    REQUIRE(record.ok());
    change(*record);
    write(lease_file("heard"), to_text(*record));
  }

  std::string outside = "/tmp/choline-outside-" + random_id(10);
};

// Notes SIGTERM and goes on, with children in its group, in a session of their own, and unmarked.
const char* const kStubborn =
    "trap 'echo term >> seen' TERM; sleep 1000 & setsid sleep 1001 & "
    "env -i setsid /bin/sleep 1002 & echo up > up; while :; do sleep 0.05; done";

Co<int> sleep_for(Loop& loop, double seconds) {
  Sleep sleep(loop, seconds);
  co_await sleep;
  co_return 0;
}

bool runs(const std::string& words) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    std::string line((std::istreambuf_iterator<char>(file)), {});
    if (line == words) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("an instance that hears nothing ends itself, with all that runs on it") {
  Leased world;
  auto client = world.connect();
  world.renew(*client, world.terms(1.5));
  world.start(*client, "k", kStubborn);
  world.run_until([&] { return world.has("up"); });
  int serving = client->hello().value("pid", 0);
  REQUIRE(serving > 1);
  ::kill(serving, SIGKILL);
  CHECK(world.wait_for_end() == "lease");
  CHECK(world.read("seen") == "term\n");
  CHECK(!runs(std::string("/bin/sleep\0001002\0", 16)));
  world.run_until([&] { return world.marked().empty(); });
}

TEST_CASE("a lease that is renewed is not over, and one that ends cannot be renewed") {
  Leased world;
  auto client = world.connect();
  world.start(*client, "k", "while :; do sleep 0.05; done");
  for (int i = 0; i < 25; i++) {  // longer in all than the lease
    CHECK(world.renew(*client, world.terms(2)) > 1.9);
    world.run(sleep_for(world.loop, 0.1));
  }
  CHECK(world.ended().empty());
  LeaseRequest slow = world.terms(0.2);
  slow.grace = 1000;
  world.start(*client, "stubborn", "trap '' TERM; while :; do sleep 0.05; done");
  world.renew(*client, slow);
  Result<std::optional<double>> late(std::nullopt);
  world.run_until([&] {
    late = world.run(client->renew(slow));
    if (late) world.run(sleep_for(world.loop, 0.5));
    return !late.ok();
  });
  CHECK(late.error().kind == ErrorKind::lost);
  CHECK(late.error().fields.value("ending", "") == "lease");
  Result<StartResult> refused = world.run(client->start(world.command("more", "true")));
  REQUIRE(!refused.ok());
  CHECK(refused.error().kind == ErrorKind::lost);
}

TEST_CASE("a lifetime ends also while choline speaks, and a command's end says so") {
  Leased world;
  auto client = world.connect();
  LeaseRequest terms = world.terms(100, 3);
  terms.lived = 1.5;
  terms.grace = 100;
  CHECK(world.renew(*client, terms) < 1.6);
  terms.lived = 0;  // told again by somebody whose clock was set back: it counts on
  CHECK(world.renew(*client, terms) < 1.6);
  world.start(*client, "k", "trap 'exit 7' TERM; while :; do sleep 0.05; done");
  World::Followed got = world.follow(*client, "k");
  CHECK(got.end.code == 7);
  CHECK(got.end.ending == "lifetime");
  CHECK(world.wait_for_end() == "lifetime");
}

TEST_CASE("a keeper that was killed is followed by another one") {
  Leased world;
  auto client = world.connect();
  world.renew(*client, world.terms(60));
  world.kill_keeper();
  SUBCASE("set by the next agent") {
    client = world.connect();
  }
  SUBCASE("set by the next word") {
    world.renew(*client, world.terms(60));
  }
  SUBCASE("set by the keeper of a command, when there is nobody else") {
    world.start(*client, "k", "sleep 1000");
    client = nullptr;
  }
  world.run_until([&] { return world.keeper_lives(); });
  CHECK(world.ended().empty());
}

TEST_CASE("silence counts on when the keeper was killed") {
  Leased world;
  auto client = world.connect();
  world.renew(*client, world.terms(60));
  world.kill_keeper();
  world.edit_record([](Json& record) {
    record["boot"] = record["boot"].get<double>() - 60;
    record["awake"] = record["awake"].get<double>() - 60;
  });
  client = world.connect();
  CHECK(world.wait_for_end() == "lease");
}

TEST_CASE("no clock ends a lease too early") {
  Leased world;
  auto client = world.connect();
  world.renew(*client, world.terms(20));
  world.kill_keeper();
  SUBCASE("the host slept for longer than the lease") {
    world.edit_record([](Json& record) { record["boot"] = record["boot"].get<double>() - 7200; });
  }
  SUBCASE("the wall clock was set forward by ten hours") {
    world.edit_record([](Json& record) { record["wall"] = record["wall"].get<double>() - 36000; });
  }
  SUBCASE("the host was down for longer than the lease") {
    world.edit_record([](Json& record) {
      record["boot_id"] = "another";
      record["boot"] = 1e6;
      record["awake"] = 1e6;
      record["wall"] = record["wall"].get<double>() - 36000;
    });
  }
  client = world.connect();
  world.run_until([&] { return world.keeper_lives(); });
  world.run(sleep_for(world.loop, 0.5));
  CHECK(world.ended().empty());
  CHECK(world.keeper_lives());
  CHECK(world.renew(*client, world.terms(20)) > 19.9);
}

TEST_CASE("a host that reboots again and again does not live for ever") {
  Leased world;
  auto client = world.connect();
  world.renew(*client, world.terms(20));
  world.kill_keeper();
  world.edit_record([](Json& record) {
    record["boot_id"] = "another";
    record["rebooted"] = true;
    record["wall"] = record["wall"].get<double>() - 36000;
  });
  client = world.connect();
  CHECK(world.wait_for_end() == "lease");
}

TEST_CASE("a full disk does not end a lease that is renewed") {
  Leased world;
  auto client = world.connect();
  world.renew(*client, world.terms(2));
  world.run_until([&] { return world.keeper_lives(); });
  // Nothing can be written where the record is.
  std::filesystem::remove(world.home + "/" + world.lease_file("heard"));
  std::filesystem::create_directories(world.home + "/" + world.lease_file("heard"));
  for (int i = 0; i < 30; i++) {
    world.renew(*client, world.terms(2));
    world.run(sleep_for(world.loop, 0.1));
  }
  CHECK(world.ended().empty());
  CHECK(world.wait_for_end() == "lease");  // and silence still does
}

TEST_CASE("a kept instance is held by what runs there") {
  Leased world;
  auto client = world.connect();
  LeaseRequest terms = world.terms(0.5);
  terms.keep = true;
  world.start(*client, "k", "until test -e enough; do sleep 0.05; done");
  world.renew(*client, terms);
  client = nullptr;
  world.run(sleep_for(world.loop, 1.5));
  CHECK(world.ended().empty());
  world.write("enough", "");
  CHECK(world.wait_for_end() == "lease");
}

TEST_CASE("two instances in one home end apart") {
  Leased world;
  auto stays = world.connect();
  world.start(*stays, "stays", "sleep 1000");
  std::string first = world.tag;
  world.tag = "cho-test-" + random_id(10);
  auto client = world.connect();
  world.start(*client, "ends", "sleep 1000");
  world.renew(*client, world.terms(0.3));
  CHECK(world.wait_for_end() == "lease");
  world.run_until([&] { return world.marked().empty(); });
  Result<CommandStatus> status = world.run(stays->status("stays"));
  REQUIRE(status.ok());
  CHECK(status->state == CommandState::running);
  world.tag = first;  // ended with the world
}

TEST_CASE("what ends the instance is tried again until it works") {
  Leased world;
  auto client = world.connect();
  LeaseRequest terms = world.terms(0.3);
  terms.end = {
      "/bin/sh", "-c",
      "test -e \"$0/tried\" || { echo x >\"$0/tried\"; exit 1; }; echo again >\"$0/ended\"",
      world.outside};
  world.renew(*client, terms);
  CHECK(world.wait_for_end() == "again");
}
