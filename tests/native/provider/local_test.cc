// The local provider with real folders and real processes; its own bill is the witness.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "loop/await.h"
#include "loop/sim_loop.h"
#include "provider/local.h"
#include "provider/local_processes.h"

namespace choline {
namespace {

namespace fs = std::filesystem;

struct Place {
  Place() {
    char name[] = "/tmp/choline-local-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
  }
  ~Place() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  std::string path;
};

template <class T>
T finish(Loop& loop, Co<T> work) {
  std::optional<T> result;
  Started started(std::move(work), std::function<void(T)>([&](T value) {
                    result.emplace(std::move(value));
                    loop.stop();
                  }));
  if (!result) loop.run();
  started.check();
  REQUIRE(result.has_value());
  return std::move(*result);
}

struct World {
  Place place;
  SimLoop loop;
  LocalProvider local{loop, place.path};

  Launched launch(const std::string& tag, Json settings = Json::object(), double lifetime = 0) {
    Spec spec;
    spec.name = "gpu";
    spec.settings = std::move(settings);
    spec.lifetime = lifetime;
    return finish(loop, local.launch(spec, Offer(), tag));
  }
  Handle handle(const std::string& tag, Json settings = Json::object(), double lifetime = 0) {
    Launched launched = launch(tag, std::move(settings), lifetime);
    REQUIRE(std::holds_alternative<Handle>(launched));
    return std::get<Handle>(launched);
  }
  std::optional<Instance> get(const Handle& handle) {
    Result<std::optional<Instance>> got = finish(loop, local.get(handle));
    REQUIRE(got.ok());
    return *got;
  }
  std::vector<std::string> tags(const std::string& prefix = "") {
    Result<Found> found = finish(loop, local.list_all(prefix));
    REQUIRE(found.ok());
    std::vector<std::string> list;
    for (const Instance& one : found->instances) list.push_back(one.handle.tag);
    return list;
  }
  Json drill(Json fault) {
    Result<Json> told = finish(loop, local.drill(std::move(fault)));
    REQUIRE(told.ok());
    return *told;
  }
  Json bill() {
    Result<Json> owed = local.bill();
    REQUIRE(owed.ok());
    return *owed;
  }
};

// A shell of the instance, with a child in a session of its own that has cleared its environment.
pid_t start_marked(const std::string& tag, const std::string& script) {
  std::string mark = std::string(kInstanceVariable) + "=" + tag;
  char* environment[] = {mark.data(), const_cast<char*>("PATH=/usr/bin:/bin"), nullptr};
  std::string text = script;
  char* argv[] = {const_cast<char*>("sh"), const_cast<char*>("-c"), text.data(), nullptr};
  pid_t pid = 0;
  REQUIRE(posix_spawn(&pid, "/bin/sh", nullptr, nullptr, argv, environment) == 0);
  return pid;
}

TEST_CASE("an instance is rented, seen, ended and billed to the second") {
  World world;
  Handle handle = world.handle("cho-a-1", {{"price", 3.6}});
  std::optional<Instance> seen = world.get(handle);
  REQUIRE(seen.has_value());
  CHECK(seen->state == InstanceState::running);
  CHECK(seen->price == 3.6);
  CHECK(fs::is_directory(seen->endpoint.folder));
  CHECK(world.tags() == std::vector<std::string>{"cho-a-1"});
  world.loop.run_for(100);
  CHECK(world.bill()["usd"].get<double>() == doctest::Approx(0.1));
  Result<Terminated> ended = finish(world.loop, world.local.terminate(handle));
  REQUIRE(ended.ok());
  CHECK(*ended == Terminated::gone);
  CHECK_FALSE(world.get(handle).has_value());
  CHECK_FALSE(fs::exists(seen->endpoint.folder));
  world.loop.run_for(100);
  Json bill = world.bill();
  CHECK(bill["usd"].get<double>() == doctest::Approx(0.1));
  CHECK(bill["seconds"].get<double>() == doctest::Approx(100));
  CHECK(bill["entries"].size() == 1);
  ended = finish(world.loop, world.local.terminate(handle));
  REQUIRE(ended.ok());
  CHECK(*ended == Terminated::gone);
  CHECK(world.bill()["entries"].size() == 1);
}

TEST_CASE(
    "ending an instance kills all its processes, also one that left its session and cleared its "
    "environment") {
  World world;
  Handle handle = world.handle("cho-a-2");
  std::string pids = world.place.path + "/pids";
  pid_t shell =
      start_marked("cho-a-2", "setsid env -i /bin/sh -c 'echo $$ > " + pids + ".new; mv " + pids +
                                  ".new " + pids + "; while :; do sleep 1000; done' & wait");
  while (!fs::exists(pids)) {
    int status = 0;
    REQUIRE(waitpid(shell, &status, WNOHANG) == 0);
    usleep(1000);
  }
  pid_t far = 0;
  std::ifstream(pids) >> far;
  REQUIRE(far > 0);
  CHECK(local_processes("cho-a-2").size() >= 2);
  CHECK(local_processes("cho-a-").empty());
  Result<Terminated> ended = finish(world.loop, world.local.terminate(handle));
  REQUIRE(ended.ok());
  CHECK(*ended == Terminated::gone);
  int status = 0;
  REQUIRE(waitpid(shell, &status, 0) == shell);
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK(local_processes("cho-a-2").empty());
  std::string state;
  std::ifstream stat("/proc/" + std::to_string(far) + "/stat");
  std::string whole((std::istreambuf_iterator<char>(stat)), {});
  bool dead = whole.empty() || whole.find(") Z") != std::string::npos;
  CHECK(dead);
}

TEST_CASE("a full provider refuses, and has room again when one has ended") {
  World world;
  Json one = {{"capacity", 1}};
  Handle first = world.handle("cho-a-1", one);
  Launched second = world.launch("cho-a-2", one);
  REQUIRE(std::holds_alternative<ProviderError>(second));
  const ProviderError& error = std::get<ProviderError>(second);
  CHECK(error.kind == ErrorKind::no_capacity);
  CHECK(error.sent == Sent::rejected);
  CHECK(world.tags().size() == 1);
  REQUIRE(finish(world.loop, world.local.terminate(first)).ok());
  world.handle("cho-a-2", one);
}

TEST_CASE("a delayed instance is starting until its time has come") {
  World world;
  Handle handle = world.handle("cho-a-1", {{"delay", 20}});
  CHECK(world.get(handle)->state == InstanceState::starting);
  world.loop.run_for(21);
  CHECK(world.get(handle)->state == InstanceState::running);
  world.drill({{"action", "delay"}, {"seconds", 5}});
  Handle second = world.handle("cho-a-2");
  CHECK(world.get(second)->state == InstanceState::starting);
  CHECK(world.get(world.handle("cho-a-3"))->state == InstanceState::running);
}

TEST_CASE("a reply that is lost after the effect leaves an instance to be found") {
  World world;
  world.drill({{"action", "lose_reply"}});
  Launched launched = world.launch("cho-a-1");
  REQUIRE(std::holds_alternative<ProviderError>(launched));
  CHECK(std::get<ProviderError>(launched).sent == Sent::unknown);
  Result<Found> found = finish(world.loop, world.local.find("cho-a-1"));
  REQUIRE(found.ok());
  CHECK(found->instances.size() == 1);
}

TEST_CASE("a reply that is lost before the effect leaves nothing") {
  World world;
  world.drill({{"action", "lose_reply"}, {"when", "before"}});
  Launched launched = world.launch("cho-a-1");
  REQUIRE(std::holds_alternative<ProviderError>(launched));
  CHECK(std::get<ProviderError>(launched).sent == Sent::unknown);
  CHECK(world.tags().empty());
  CHECK(world.bill()["entries"].empty());
  world.handle("cho-a-2");
}

TEST_CASE("a drill refuses as often as it was asked to") {
  World world;
  world.drill({{"action", "refuse"}, {"count", 2}, {"kind", "quota"}});
  for (int i = 0; i < 2; ++i) {
    Launched launched = world.launch("cho-a-1");
    REQUIRE(std::holds_alternative<ProviderError>(launched));
    CHECK(std::get<ProviderError>(launched).kind == ErrorKind::quota);
  }
  world.handle("cho-a-1");
}

TEST_CASE("a preempted instance is dead at once, costs no more, and says why until it is ended") {
  World world;
  Handle handle = world.handle("cho-a-1", {{"price", 3600.0}, {"spot", true}});
  pid_t shell = start_marked("cho-a-1", "while :; do sleep 1000; done");
  world.loop.run_for(10);
  world.drill({{"action", "preempt"}, {"instance", "cho-a-1"}});
  int status = 0;
  REQUIRE(waitpid(shell, &status, 0) == shell);
  CHECK(WIFSIGNALED(status));
  std::optional<Instance> seen = world.get(handle);
  REQUIRE(seen.has_value());
  CHECK(seen->state == InstanceState::preempted);
  CHECK(seen->reason == "preempted by a drill");
  world.loop.run_for(10);
  CHECK(world.bill()["usd"].get<double>() == doctest::Approx(10));
  REQUIRE(finish(world.loop, world.local.terminate(handle)).ok());
  CHECK_FALSE(world.get(handle).has_value());
  CHECK(world.bill()["usd"].get<double>() == doctest::Approx(10));
}

TEST_CASE("a lost instance is unknown to its provider") {
  World world;
  Handle handle = world.handle("cho-a-1");
  world.drill({{"action", "lose"}, {"instance", "gpu"}});
  CHECK_FALSE(world.get(handle).has_value());
  CHECK(world.tags().empty());
}

TEST_CASE("the provider ends an instance whose lifetime is over, and bills to that moment") {
  World world;
  Handle handle = world.handle("cho-a-1", {{"price", 3600.0}, {"lifetime", 100}}, 30);
  world.loop.run_for(31);
  std::optional<Instance> seen = world.get(handle);
  REQUIRE(seen.has_value());
  CHECK(seen->state == InstanceState::terminated);
  CHECK(world.bill()["usd"].get<double>() == doctest::Approx(30));
}

TEST_CASE("a list lags and may be partial when a drill says so") {
  World world;
  world.drill({{"action", "list_lag"}, {"seconds", 2}});
  world.handle("cho-a-1");
  CHECK(world.tags().empty());
  world.loop.run_for(3);
  CHECK(world.tags() == std::vector<std::string>{"cho-a-1"});
  world.drill({{"action", "partial_list"}});
  Result<Found> found = finish(world.loop, world.local.list_all(""));
  REQUIRE(found.ok());
  CHECK_FALSE(found->complete);
  Result<Json> refused =
      finish(world.loop, world.local.drill({{"action", "list_lag"}, {"seconds", 60}}));
  CHECK_FALSE(refused.ok());
}

TEST_CASE("a folder that a dead process left half made goes at the next look") {
  World world;
  Handle handle = world.handle("cho-a-1");
  fs::path half = fs::path(world.place.path) / "instances" / "half";
  fs::create_directories(half / "home");
  std::ofstream(half / "meta.json.new") << "{}";
  CHECK(world.tags() == std::vector<std::string>{"cho-a-1"});
  CHECK(!fs::exists(half));
  CHECK(world.get(handle).has_value());
}

TEST_CASE("an unknown drill names the nearest one") {
  World world;
  Result<Json> told = finish(world.loop, world.local.drill({{"action", "premept"}}));
  REQUIRE_FALSE(told.ok());
  CHECK(told.error().message == "drill: unknown action 'premept'; did you mean 'preempt'?");
}

TEST_CASE("what cannot be met gives no offer, and the reason") {
  World world;
  OfferQuery query;
  query.cpus = 100'000;
  query.settings = {{"price", 0.5}};
  query.max_price = 0.25;
  Result<Offers> offers = finish(world.loop, world.local.offers(query));
  REQUIRE(offers.ok());
  CHECK(offers->offers.empty());
  REQUIRE(offers->reasons.size() == 2);
  CHECK(offers->reasons[0].kind == ErrorKind::no_capacity);
  CHECK(offers->reasons[1].kind == ErrorKind::price);
  CHECK(offers->reasons[1].text == "$0.50/h is over $0.25/h");
  query = OfferQuery();
  query.settings = {{"price", 0.5}};
  offers = finish(world.loop, world.local.offers(query));
  REQUIRE(offers.ok());
  REQUIRE(offers->offers.size() == 1);
  CHECK(offers->offers[0].price == 0.5);
  CHECK(offers->offers[0].cpus > 0);
}

TEST_CASE("a GPU is met by its words, its memory and its count") {
  Gpu ada{"NVIDIA GeForce RTX 4090", 2, int64_t{24564} << 20};
  CHECK(gpu_matches("RTX 4090", ada));
  CHECK(gpu_matches("rtx-4090:2", ada));
  CHECK_FALSE(gpu_matches("RTX 4090:3", ada));
  CHECK_FALSE(gpu_matches("RTX 409", ada));
  Gpu ampere{"NVIDIA A100-SXM4-80GB", 1, int64_t{81920} << 20};
  CHECK(gpu_matches("A100-80GB", ampere));
  CHECK_FALSE(gpu_matches("A100-40GB", ampere));
}

TEST_CASE("a bad setting is named") {
  Result<LocalSettings> settings = local_settings({{"price", "cheap"}});
  REQUIRE_FALSE(settings.ok());
  CHECK(settings.error().message == "local: price: expected a number of 0 or more, got \"cheap\"");
}

}  // namespace
}  // namespace choline
