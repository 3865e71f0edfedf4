// A state folder with a store and the local provider, on virtual time, and the engine's part of a
// step: the result's change is committed after the effect.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "durable/rent.h"
#include "loop/sim_loop.h"
#include "provider/local.h"
#include "store/crash.h"
#include "store/runs.h"

namespace choline {

struct RentFolder {
  RentFolder() {
    char name[] = "/tmp/choline-rent-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
  }
  RentFolder(const RentFolder&) = delete;
  ~RentFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

template <class T>
T await_rent(Loop& loop, Co<T> work) {
  std::optional<T> result;
  std::function<void(T)> keep = [&](T value) {
    result.emplace(std::move(value));
    loop.stop();
  };
  Started started(std::move(work), std::move(keep));
  if (!result) loop.run();
  started.check();
  REQUIRE(result.has_value());
  return std::move(*result);
}

// One process's view of a state folder; several may follow one another.
struct RentProcess {
  explicit RentProcess(const std::string& folder, double wall = 1'800'000'000)
      : loop(wall), providers(loop, folder) {
    Result<std::unique_ptr<Store>> opened = Store::open(loop, folder);
    REQUIRE(opened.ok());
    store = std::move(*opened);
  }

  RentWorld world() { return RentWorld{loop, *store, providers}; }
  Provider& local() {
    Result<Provider*> found = providers.find("local");
    REQUIRE(found.ok());
    return **found;
  }

  void make_run(const std::string& run, const std::string& state = "running") {
    RunRow row;
    row.id = run;
    row.name = "test";
    row.state = state;
    row.created = loop.wall();
    REQUIRE(store->write([&](Txn& txn) { return insert_run(txn, row, {}); }).ok());
  }
  void end_run(const std::string& run) {
    REQUIRE(
        store
            ->write([&](Txn& txn) { return set_run_state(txn, run, "done", nullptr, loop.wall()); })
            .ok());
  }

  StepContext step(const std::string& run, const std::string& key) {
    StepContext context;
    context.run = run;
    context.key = key;
    context.outcome = std::make_shared<StepContext::Outcome>();
    context.intended_at = loop.wall();
    Result<std::optional<RunRow>> row = get_run(store->db(), run, loop.wall());
    REQUIRE(row.ok());
    REQUIRE(row->has_value());
    context.epoch = (*row)->epoch;
    return context;
  }
  void keep(const StepContext& context) {
    if (!context.outcome->change) return;
    Status kept = store->write(fenced(context, context.outcome->change));
    INFO((kept ? std::string() : kept.error().message));
    REQUIRE(kept.ok());
    crash_point("test.kept");
  }

  static RentRequest request(Json settings = Json::object()) {
    RentRequest request;
    request.name = "gpu";
    request.provider = "local";
    request.offer.id = "local";
    request.offer.provider = "local";
    request.offer.price = settings.value("price", 0.0);
    request.spec.name = "gpu";
    request.spec.settings = std::move(settings);
    return request;
  }
  Result<ResourceRow> rent_for(const std::string& run, const std::string& key,
                               Json settings = Json::object()) {
    StepContext context = step(run, key);
    Result<ResourceRow> row =
        await_rent(loop, rent(world(), request(std::move(settings)), context));
    keep(context);
    return row;
  }
  Result<Released> release_for(const std::string& run, const std::string& tag) {
    StepContext context = step(run, "main/destroy#0");
    Result<Released> released = await_rent(loop, release(world(), tag, context));
    keep(context);
    return released;
  }

  void drill(Json fault) { REQUIRE(await_rent(loop, local().drill(std::move(fault))).ok()); }
  std::vector<Instance> alive() {
    Result<Found> found = await_rent(loop, local().list_all(""));
    REQUIRE(found.ok());
    return found->instances;
  }
  Json bill() {
    Result<Json> owed = local().bill();
    REQUIRE(owed.ok());
    return *owed;
  }
  std::vector<ResourceRow> rows() {
    Result<std::vector<ResourceRow>> rows = list_resources(store->db(), ResourceFilter());
    REQUIRE(rows.ok());
    return *rows;
  }
  size_t count(ResourceState state) {
    size_t found = 0;
    for (const ResourceRow& row : rows()) found += row.state == state ? 1 : 0;
    return found;
  }

  SimLoop loop;
  Providers providers;
  std::unique_ptr<Store> store;
};

}  // namespace choline
