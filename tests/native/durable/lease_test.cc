// What became of an instance that ended itself: the ledger ends when it did, whatever crashes.
#include <fstream>

#include "durable/leases.h"
#include "rent_world.h"

namespace choline {
namespace {

// As its agent does: by what the provider says that ends it.
void end_itself(const Instance& one, const std::string& why, double at) {
  REQUIRE(one.endpoint.end.size() == 5);
  std::string line = "CHOLINE_END=" + why + " CHOLINE_ENDED=" + std::to_string(at);
  for (const std::string& word : one.endpoint.end) {
    std::string quoted = "'";
    for (char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
    line += " " + quoted + "'";
  }
  CHECK(system(line.c_str()) == 0);
}

Status with_lease(RentProcess& process, const std::string& tag, double until) {
  return process.store->write([&](Txn& txn) { return set_lease(txn, tag, until); });
}

}  // namespace

TEST_CASE("an instance that ended itself is terminated at its provider, and its bill has stopped") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  Result<ResourceRow> row = process.rent_for("r1", "main/create#0", {{"price", 3.6}});
  REQUIRE(row.ok());
  Instance one = process.alive().front();
  end_itself(one, "lease", process.loop.wall() + 10);
  process.loop.jump_wall(1000);
  CHECK(process.bill()["usd"].get<double>() == doctest::Approx(0.01));  // before anybody looked
  Result<std::optional<Instance>> seen = await_rent(process.loop, process.local().get(one.handle));
  REQUIRE(seen.ok());
  REQUIRE(seen->has_value());
  CHECK((*seen)->state == InstanceState::terminated);
  CHECK((*seen)->ended == doctest::Approx(1'800'000'010));
  CHECK((*seen)->reason.find("lease") != std::string::npos);
  CHECK(process.bill()["usd"].get<double>() == doctest::Approx(0.01));
  CHECK(!std::filesystem::exists(one.endpoint.folder));
}

TEST_CASE("the ledger of an instance that ended itself is its bill, whatever crashes") {
  for (bool crashes : {false, true}) {
    CAPTURE(crashes);
    RentFolder folder;
    std::string tag;
    {
      RentProcess process(folder.path);
      process.make_run("r1");
      Result<ResourceRow> row = process.rent_for("r1", "main/create#0", {{"price", 3.6}});
      REQUIRE(row.ok());
      tag = row->tag;
      REQUIRE(with_lease(process, tag, process.loop.wall() + 5).ok());
      end_itself(process.alive().front(), "lease", process.loop.wall() + 10);
    }
    if (crashes) {  // after the provider has forgotten it, before the store knows
      RentProcess process(folder.path, 1'800'001'000);
      StepContext context = process.step("r1", "main/destroy#0");
      REQUIRE(await_rent(process.loop, release(process.world(), tag, context)).ok());
      CHECK(process.rows().front().state == ResourceState::releasing);
      CHECK(process.alive().empty());
    }
    RentProcess process(folder.path, 1'800'002'000);
    Result<Released> released = process.release_for("r1", tag);
    REQUIRE(released.ok());
    CHECK(released->gone);
    CHECK(released->cost == doctest::Approx(0.01));
    REQUIRE(released->ended.has_value());
    CHECK(*released->ended == doctest::Approx(1'800'000'010));
    CHECK(process.rows().front().cost(process.loop.wall()) == doctest::Approx(0.01));
    CHECK(process.bill()["usd"].get<double>() == doctest::Approx(0.01));
  }
}

TEST_CASE("what ended itself takes no place of the capacity") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  REQUIRE(process.rent_for("r1", "main/create#0", {{"capacity", 1}}).ok());
  CHECK(!process.rent_for("r1", "main/create#1", {{"capacity", 1}}).ok());
  end_itself(process.alive().front(), "lifetime", process.loop.wall());
  CHECK(process.rent_for("r1", "main/create#2", {{"capacity", 1}}).ok());
}

TEST_CASE("an instance that was rented and never spoken to ends by its lease too") {
  RentFolder folder;
  RentProcess process(folder.path);
  process.make_run("r1");
  StepContext context = process.step("r1", "main/create#0");
  RentRequest request = RentProcess::request({{"price", 3.6}});
  request.spec.lease = 60;
  Result<ResourceRow> row =
      await_rent(process.loop, rent(process.world(), std::move(request), context));
  REQUIRE(row.ok());
  process.loop.jump_wall(59);
  CHECK(process.alive().front().state == InstanceState::running);
  process.loop.jump_wall(1000);
  CHECK(process.bill()["usd"].get<double>() == doctest::Approx(0.06));
  CHECK(process.alive().front().state == InstanceState::terminated);
}

TEST_CASE("the terms of a lease follow from the row and from what the provider says") {
  ResourceRow row;
  row.live_at = 1000;
  row.spec = {{"lease", 60.0}, {"lifetime", 500.0}, {"keep", true}};
  Instance seen;
  seen.created = 990;
  seen.endpoint.end = {"true"};
  LeaseRequest terms = lease_terms(row, seen, 1090);
  CHECK(terms.lease == 60);
  CHECK(terms.lifetime == 500);
  CHECK(terms.lived == 100);
  CHECK(terms.keep);
  CHECK(terms.end == std::vector<std::string>{"true"});
  seen.expires = 1290;
  CHECK(lease_terms(row, seen, 1090).lifetime == 300);
  row.spec = nullptr;
  CHECK(lease_terms(row, Instance(), 500).lived == 0);  // a clock that was set back
}

TEST_CASE("words are said often within a lease, and not more often than is of use") {
  CHECK(Leases::period(3) == doctest::Approx(0.5));
  CHECK(Leases::period(86400) == 300);
  for (double lease : {1.0, 60.0, 1800.0, 86400.0}) CHECK(Leases::period(lease) <= lease / 5);
}

}  // namespace choline
