// Exactly one instance for a step, whatever is lost or dies; the provider's bill is the witness.
#include "durable/rent.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "durable/reap.h"
#include "rent_world.h"

namespace choline {
namespace {

TEST_CASE("renting writes the row, and ending it leaves nothing that costs money") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  Result<ResourceRow> row = process.rent_for("r1", "main/create", {{"price", 3600.0}});
  REQUIRE(row.ok());
  CHECK(row->tag.starts_with("cho-"));
  CHECK(process.count(ResourceState::live) == 1);
  CHECK(process.alive().size() == 1);
  process.loop.run_for(10);
  Result<Released> released = process.release_for("r1", row->tag);
  REQUIRE(released.ok());
  CHECK(released->gone);
  CHECK(released->cost == doctest::Approx(10));
  CHECK(process.alive().empty());
  CHECK(process.count(ResourceState::gone) == 1);
  CHECK(process.bill()["usd"].get<double>() == doctest::Approx(10));
  released = process.release_for("r1", row->tag);
  REQUIRE(released.ok());
  CHECK(released->gone);
}

TEST_CASE("a definite refusal voids the row and is told") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  process.drill({{"action", "refuse"}});
  Result<ResourceRow> row = process.rent_for("r1", "main/create");
  REQUIRE_FALSE(row.ok());
  CHECK(row.error().kind == ErrorKind::no_capacity);
  CHECK(process.count(ResourceState::voided) == 1);
  CHECK(process.rows().size() == 1);
}

TEST_CASE("a reply lost after the effect is adopted, not rented again") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  process.drill({{"action", "lose_reply"}});
  process.drill({{"action", "list_lag"}, {"seconds", 2}});
  Result<ResourceRow> row = process.rent_for("r1", "main/create");
  REQUIRE(row.ok());
  CHECK(process.rows().size() == 1);
  CHECK(process.bill()["entries"].size() == 1);
  process.loop.run_for(3);
  REQUIRE(process.alive().size() == 1);
  CHECK(process.alive()[0].handle.id == row->provider_id);
}

TEST_CASE("a reply lost before the effect is rented again under a new tag, after settling") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  process.drill({{"action", "lose_reply"}, {"when", "before"}});
  double began = process.loop.ticks();
  Result<ResourceRow> row = process.rent_for("r1", "main/create");
  REQUIRE(row.ok());
  CHECK(process.loop.ticks() - began >= process.local().caps().settle);
  CHECK(process.count(ResourceState::voided) == 1);
  CHECK(process.count(ResourceState::live) == 1);
  CHECK(row->tag.ends_with("-2"));
  CHECK(process.alive().size() == 1);
}

TEST_CASE("a partial list proves nothing: the tag is not voided by it") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  process.drill({{"action", "lose_reply"}});
  process.drill({{"action", "partial_list"}, {"count", 30}});
  Result<ResourceRow> row = process.rent_for("r1", "main/create");
  REQUIRE(row.ok());
  CHECK(process.rows().size() == 1);
  CHECK(process.bill()["entries"].size() == 1);
}

TEST_CASE("of two instances with one tag the first is kept and the second ended") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  process.drill({{"action", "lose_reply"}, {"when", "before"}});
  // Someone's late request: two appear under the tag while it is looked for.
  std::string tag = instance_tag(process.store->install(), "r1", "main/create", 1);
  for (double after : {0.5, 0.6}) {
    process.loop.timer(after, [&process, tag, folder = folder.path] {
      LocalLaunch launch;
      launch.tag = tag;
      REQUIRE(std::holds_alternative<Handle>(
          LocalCloud(folder + "/local").launch(launch, process.loop.wall())));
    });
  }
  Result<ResourceRow> row = process.rent_for("r1", "main/create");
  REQUIRE(row.ok());
  CHECK(row->tag == tag);
  REQUIRE(process.alive().size() == 1);
  CHECK(process.alive()[0].handle.id == row->provider_id);
  Json entries = process.bill()["entries"];
  REQUIRE(entries.size() == 2);
  for (const Json& entry : entries) {
    bool first = entry["id"] == row->provider_id;
    CHECK(entry.contains("ended") != first);
  }
}

TEST_CASE("ending all of a run asks nothing of its cholfile and takes tags in doubt too") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  REQUIRE(process.rent_for("r1", "main.a/create").ok());
  REQUIRE(process.rent_for("r1", "main.b/create").ok());
  ResourceRow doubtful;
  doubtful.tag = instance_tag(process.store->install(), "r1", "main.c/create", 1);
  doubtful.run = "r1";
  doubtful.step = "main.c/create";
  doubtful.provider = "local";
  REQUIRE(process.store->write([&](Txn& txn) { return insert_intended(txn, doubtful); }).ok());
  LocalLaunch launch;
  launch.tag = doubtful.tag;
  LocalCloud cloud(folder.path + "/local");
  REQUIRE(std::holds_alternative<Handle>(cloud.launch(launch, process.loop.wall())));
  CHECK(process.alive().size() == 3);
  Result<std::vector<ReleaseOutcome>> outcomes =
      await_rent(process.loop, release_all(process.world(), "r1"));
  REQUIRE(outcomes.ok());
  CHECK(outcomes->size() == 3);
  for (const ReleaseOutcome& one : *outcomes) CHECK(one.gone);
  CHECK(process.alive().empty());
  CHECK(process.count(ResourceState::gone) == 3);
}

TEST_CASE(
    "the reaper ends what a finished run left, and nothing of a living run or another "
    "installation") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  process.make_run("r2");
  Result<ResourceRow> old = process.rent_for("r1", "main/create");
  Result<ResourceRow> young = process.rent_for("r2", "main/create");
  REQUIRE(old.ok());
  REQUIRE(young.ok());
  LocalCloud cloud(folder.path + "/local");
  LocalLaunch launch;
  launch.tag = "cho-elsewhere-x-y-1";
  REQUIRE(std::holds_alternative<Handle>(cloud.launch(launch, process.loop.wall())));
  launch.tag = install_prefix(process.store->install()) + "forgotten-y-1";
  REQUIRE(std::holds_alternative<Handle>(cloud.launch(launch, process.loop.wall())));
  process.end_run("r1");

  Result<ReapReport> dry = await_rent(process.loop, reap(process.world(), {.dry_run = true}));
  REQUIRE(dry.ok());
  CHECK(dry->ended.size() == 2);
  CHECK(process.alive().size() == 4);

  process.drill({{"action", "partial_list"}});
  Result<ReapReport> partial = await_rent(process.loop, reap(process.world(), {.dry_run = false}));
  REQUIRE(partial.ok());
  CHECK(partial->incomplete.size() == 1);
  CHECK(process.alive().size() == 4);

  Result<ReapReport> report = await_rent(process.loop, reap(process.world(), {.dry_run = false}));
  REQUIRE(report.ok());
  CHECK(report->ended.size() == 2);
  CHECK(report->foreign.size() == 1);
  REQUIRE(process.alive().size() == 2);
  CHECK(process.count(ResourceState::gone) == 1);
  CHECK(process.count(ResourceState::live) == 1);
}

TEST_CASE("an instance that its provider has forgotten is lost after two looks") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  Result<ResourceRow> row = process.rent_for("r1", "main/create");
  REQUIRE(row.ok());
  process.drill({{"action", "lose"}});
  for (int i = 0; i < 2; ++i) {
    CHECK(process.count(ResourceState::live) == 1);
    Result<ReapReport> report = await_rent(process.loop, reap(process.world(), {.dry_run = false}));
    REQUIRE(report.ok());
    CHECK(report->lost.size() == 1);
  }
  CHECK(process.count(ResourceState::lost) == 1);
}

TEST_CASE("a process that lost its run may neither intend nor end") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  StepContext stale = process.step("r1", "main/create");
  REQUIRE(process.store
              ->write([&](Txn& txn) {
                Result<int64_t> epoch = take_run(txn, "r1", nullptr);
                return epoch ? done() : Status(epoch.error());
              })
              .ok());
  Result<ResourceRow> row =
      await_rent(process.loop, rent(process.world(), RentProcess::request(), stale));
  REQUIRE_FALSE(row.ok());
  CHECK(row.error().kind == ErrorKind::conflict);
  CHECK(process.alive().empty());
}

// The child of the sweep below: rents and ends, and dies at the point it was told.
void rent_and_end(const std::string& folder) {
  RentProcess process(folder);
  Result<ResourceRow> row = process.rent_for("r1", "main/create", {{"price", 3600.0}});
  if (!row) _exit(3);
  Result<Released> released = process.release_for("r1", row->tag);
  _exit(released && released->gone ? 0 : 4);
}

TEST_CASE(
    "killed at any point and begun again, there is never a second instance and none at the end") {
  const char* drills[] = {"", "after", "before"};
  size_t kills = 0;
  for (const char* drill : drills) {
    for (int point = 1;; ++point) {
      CAPTURE(drill);
      CAPTURE(point);
      RentFolder folder;
      {
        RentProcess process(folder.path);
        process.make_run("r1");
        if (*drill) process.drill({{"action", "lose_reply"}, {"when", drill}});
      }
      pid_t child = fork();
      REQUIRE(child >= 0);
      if (child == 0) {
        setenv("CHOLINE_CRASH_AT", std::to_string(point).c_str(), 1);
        crash_points_on = true;
        rent_and_end(folder.path);
      }
      int status = 0;
      REQUIRE(waitpid(child, &status, 0) == child);
      bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
      if (!killed) {
        REQUIRE(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
        break;
      }
      ++kills;
      RentProcess again(folder.path, 1'800'000'100);
      CHECK(again.alive().size() <= 1);
      size_t gone = again.count(ResourceState::gone);
      if (gone == 0) {
        std::vector<ResourceRow> live;
        for (const ResourceRow& row : again.rows()) {
          if (row.state == ResourceState::live || row.state == ResourceState::releasing)
            live.push_back(row);
        }
        std::string tag = live.empty() ? "" : live[0].tag;
        if (tag.empty()) {
          Result<ResourceRow> row = again.rent_for("r1", "main/create", {{"price", 3600.0}});
          REQUIRE(row.ok());
          tag = row->tag;
        }
        CHECK(again.alive().size() <= 1);
        REQUIRE(again.release_for("r1", tag).ok());
      }
      CHECK(again.alive().empty());
      CHECK(again.bill()["entries"].size() == 1);
      CHECK(again.count(ResourceState::intended) == 0);
    }
  }
  CHECK(kills > 15);
}

}  // namespace
}  // namespace choline
