// Commands on instances that the local provider rents, over real links and the real agent.
#include <doctest/doctest.h>
#include <signal.h>
#include <stdlib.h>

#include <fstream>

#include "../build_folder.h"
#include "base/random.h"
#include "durable/commands.h"
#include "durable/instances.h"
#include "loop/epoll_loop.h"
#include "rent_world.h"
#include "store/metrics.h"

namespace choline {
namespace {

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

struct Office {
  explicit Office(const std::string& state) : folder(state), providers(loop, state) {
    Result<std::unique_ptr<Store>> opened = Store::open(loop, folder);
    REQUIRE(opened.ok());
    store = std::move(*opened);
    InstancesOptions options;
    options.state = folder;
    options.config = folder + "/config";
    options.agents = {{"x86_64", agent_program()}};
    instances = std::make_unique<Instances>(loop, *store, providers, options);
  }
  ~Office() {
    instances.reset();
    RentWorld world{loop, *store, providers};
    bool ended = await_rent(loop, release_all(world, "r1")).ok();
    CHECK(ended);
  }

  void make_run() {
    RunRow row;
    row.id = "r1";
    row.name = "test";
    row.created = loop.wall();
    REQUIRE(store->write([&](Txn& txn) { return insert_run(txn, row, {}); }).ok());
  }
  StepContext step() {
    StepContext context;
    context.run = "r1";
    context.key = "main/" + random_id(8);
    context.outcome = std::make_shared<StepContext::Outcome>();
    return context;
  }
  void keep(const StepContext& context) {
    if (!context.outcome->change) return;
    Status kept = store->write(context.outcome->change);
    REQUIRE(kept.ok());
  }
  std::string rent_one(Json settings = Json::object()) {
    StepContext context = step();
    Result<ResourceRow> row =
        await_rent(loop, rent(instances->world(), RentProcess::request(settings), context));
    REQUIRE(row.ok());
    keep(context);
    return row->tag;
  }
  void start(const std::string& tag, const std::string& key, const std::string& shell,
             Json more = Json::object()) {
    Json fields = std::move(more);
    fields["key"] = key;
    fields["task"] = "train";
    fields["attempt"] = 1;
    fields["command"] = {{"shell", shell}};
    StepContext context = step();
    Result<Json> started = await_rent(loop, start_command(*instances, tag, fields, context));
    INFO((started ? std::string() : started.error().message));
    REQUIRE(started.ok());
    keep(context);
  }
  Result<Json> wait(const std::string& tag, const std::string& key) {
    StepContext context = step();
    Result<Json> ended = await_rent(loop, wait_command(*instances, tag, key, context));
    keep(context);
    return ended;
  }
  ProcRow proc(const std::string& key) {
    Result<std::optional<ProcRow>> row = find_proc(store->db(), "r1", key);
    REQUIRE(row.ok());
    REQUIRE(row->has_value());
    return **row;
  }
  void drill(Json fault) {
    Result<Provider*> local = providers.find("local");
    REQUIRE(local.ok());
    REQUIRE(await_rent(loop, (*local)->drill(std::move(fault))).ok());
  }

  std::string folder;
  EpollLoop loop;
  Providers providers;
  std::unique_ptr<Store> store;
  std::unique_ptr<Instances> instances;
};

TEST_CASE("a command's log comes here byte for byte, with its metrics and its end") {
  RentFolder folder;
  Office office(folder.path);
  office.make_run();
  std::string tag = office.rent_one();
  Result<AgentFacts> facts = await_rent(office.loop, office.instances->ready(tag, 60));
  INFO((facts ? std::string() : facts.error().message));
  REQUIRE(facts.ok());
  office.start(tag, "r1.train.1",
               "for i in 1 2 3; do echo epoch $i loss=0.$i; done; echo oops >&2; exit 3",
               {{"metrics", {{"loss", {{"pattern", "loss=(%S+)"}}}}}});
  Result<Json> ended = office.wait(tag, "r1.train.1");
  INFO((ended ? std::string() : ended.error().message));
  REQUIRE(ended.ok());
  CHECK((*ended)["code"] == 3);
  CHECK((*ended)["metrics"]["loss"]["count"] == 3);
  CHECK((*ended)["metrics"]["loss"]["best"] == 0.1);
  ProcRow row = office.proc("r1.train.1");
  CHECK(row.state == "done");
  CHECK(row.log.ends_with("/runs/r1/logs/train.1.log"));
  std::string log = read_all(row.log);
  CHECK(log.find("epoch 3 loss=0.3\n") != std::string::npos);
  CHECK(log.find("oops\n") != std::string::npos);
  CHECK(row.log_offset == static_cast<int64_t>(log.size()));
  Result<std::vector<MetricCurve>> curves = list_metrics(office.store->db(), "r1", MetricFilter());
  REQUIRE(curves.ok());
  REQUIRE(curves->size() == 1);
  CHECK((*curves)[0].points.size() == 3);
  // Asked again, the answer is the same and the log is not written twice.
  Result<Json> again = office.wait(tag, "r1.train.1");
  REQUIRE(again.ok());
  CHECK(*again == *ended);
  CHECK(read_all(row.log) == log);
}

TEST_CASE("a new process follows where the old one stopped, and cuts off what was not safe") {
  RentFolder folder;
  std::string tag;
  {
    Office office(folder.path);
    office.make_run();
    tag = office.rent_one();
    office.start(tag, "r1.train.1", "echo first; until [ -e go ]; do sleep 0.02; done; echo second",
                 {{"metrics", {{"word", "fi(r)st"}}}});
    StepContext context = office.step();
    Started waiting(wait_command(*office.instances, tag, "r1.train.1", context),
                    std::function<void(Result<Json>)>([](Result<Json>) {}));
    while (office.proc("r1.train.1").log_offset == 0) {
      office.loop.timer(0.05, [&] { office.loop.stop(); });
      office.loop.run();
    }
    waiting = Started();
    std::ofstream(office.proc("r1.train.1").log, std::ios::app) << "half a li";
    // As if killed: nothing is released.
    Result<Json> out = await_rent(
        office.loop,
        exec_command(*office.instances, tag, {{"shell", "touch go"}}, nullptr, office.step()));
    REQUIRE(out.ok());
    office.instances.reset();
    Office next(folder.path);
    Result<Json> ended = next.wait(tag, "r1.train.1");
    INFO((ended ? std::string() : ended.error().message));
    REQUIRE(ended.ok());
    CHECK((*ended)["code"] == 0);
    CHECK(read_all(next.proc("r1.train.1").log) == "first\nsecond\n");
  }
}

TEST_CASE("a preempted instance ends the wait with that word, whatever the command did") {
  RentFolder folder;
  Office office(folder.path);
  office.make_run();
  std::string tag = office.rent_one({{"spot", true}});
  office.start(tag, "r1.train.1", "while :; do sleep 1000; done");
  office.loop.timer(0.3, [&] {
    LocalCloud cloud(folder.path + "/local");
    Result<Json> told = cloud.drill({{"action", "preempt"}, {"instance", tag}}, office.loop.wall());
    CHECK(told.ok());
  });
  Result<Json> ended = office.wait(tag, "r1.train.1");
  REQUIRE_FALSE(ended.ok());
  CHECK(ended.error().kind == ErrorKind::preempted);
  CHECK(office.proc("r1.train.1").state == "lost");
}

TEST_CASE("a lost instance ends the wait as lost") {
  RentFolder folder;
  Office office(folder.path);
  office.make_run();
  std::string tag = office.rent_one();
  office.start(tag, "r1.train.1", "while :; do sleep 1000; done");
  office.loop.timer(0.3, [&] {
    LocalCloud cloud(folder.path + "/local");
    Result<Json> told = cloud.drill({{"action", "lose"}, {"instance", tag}}, office.loop.wall());
    CHECK(told.ok());
  });
  Result<Json> ended = office.wait(tag, "r1.train.1");
  REQUIRE_FALSE(ended.ok());
  CHECK(ended.error().kind == ErrorKind::lost);
}

TEST_CASE("a link that breaks under a command is opened again and nothing of the log is missing") {
  RentFolder folder;
  Office office(folder.path);
  office.make_run();
  std::string tag = office.rent_one();
  office.start(tag, "r1.train.1",
               "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.02; done");
  Result<Instances::Client> client = await_rent(office.loop, office.instances->client(tag));
  REQUIRE(client.ok());
  Json pid = (*client)->hello().value("pid", Json(nullptr));
  REQUIRE(pid.is_number_integer());
  office.loop.timer(0.3, [&] { kill(pid.get<pid_t>(), SIGKILL); });
  Result<Json> ended = office.wait(tag, "r1.train.1");
  INFO((ended ? std::string() : ended.error().message));
  REQUIRE(ended.ok());
  std::string expected;
  for (int i = 1; i <= 40; ++i) expected += "line " + std::to_string(i) + "\n";
  CHECK(read_all(office.proc("r1.train.1").log) == expected);
}

TEST_CASE("a secret reaches the command and not the log, the row or the folder here") {
  RentFolder folder;
  setenv("CHOLINE_TEST_TOKEN", "s3cr3t-value-42", 1);
  Office office(folder.path);
  office.make_run();
  std::string tag = office.rent_one();
  office.start(tag, "r1.train.1", "echo token $TOKEN; printf s3cr3t-; sleep 0.3; echo value-42",
               {{"env", {{"TOKEN", {{"secret", "CHOLINE_TEST_TOKEN"}}}}}});
  Result<Json> ended = office.wait(tag, "r1.train.1");
  REQUIRE(ended.ok());
  CHECK(read_all(office.proc("r1.train.1").log) == "token ***************\n***************\n");
  CHECK(to_text(office.proc("r1.train.1").cmd).find("s3cr3t-value") == std::string::npos);
  Result<Json> out =
      await_rent(office.loop, exec_command(*office.instances, tag, {{"shell", "echo $T; exit 4"}},
                                           {{"env", {{"T", {{"secret", "CHOLINE_TEST_TOKEN"}}}}}},
                                           office.step()));
  REQUIRE(out.ok());
  CHECK((*out)["code"] == 4);
  CHECK((*out)["out"] == "***************\n");
  unsetenv("CHOLINE_TEST_TOKEN");
}

TEST_CASE("the same key is started once, and a signal ends it") {
  RentFolder folder;
  Office office(folder.path);
  office.make_run();
  std::string tag = office.rent_one();
  office.start(tag, "r1.train.1", "echo started >> count; while :; do sleep 1000; done");
  StepContext context = office.step();
  Json fields = {{"key", "r1.train.1"},
                 {"task", "train"},
                 {"attempt", 1},
                 {"command", {{"shell", "echo started >> count"}}}};
  Result<Json> again =
      await_rent(office.loop, start_command(*office.instances, tag, fields, context));
  REQUIRE(again.ok());
  CHECK((*again)["already"] == true);
  Json until_up = {{"shell", "until [ -s count ]; do sleep 0.01; done"}};
  REQUIRE(await_rent(office.loop,
                     exec_command(*office.instances, tag, until_up, nullptr, office.step()))
              .ok());
  REQUIRE(
      await_rent(office.loop, signal_command(*office.instances, tag, "r1.train.1", "TERM")).ok());
  Result<Json> ended = office.wait(tag, "r1.train.1");
  REQUIRE(ended.ok());
  CHECK((*ended)["code"] == 143);
  REQUIRE(
      await_rent(office.loop, signal_command(*office.instances, tag, "r1.train.1", "TERM")).ok());
  Result<Json> out = await_rent(
      office.loop,
      exec_command(*office.instances, tag, {{"shell", "cat count"}}, nullptr, office.step()));
  REQUIRE(out.ok());
  CHECK((*out)["out"] == "started\n");
}

}  // namespace
}  // namespace choline
