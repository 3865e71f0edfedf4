#include "durable/reap.h"

#include <map>
#include <optional>
#include <set>

#include "loop/await.h"
#include "store/runs.h"

namespace choline {
namespace {

constexpr double kBetweenSightings = 2;  // seconds
constexpr int kMissesUntilLost = 2;

std::string text_of(ResourceState state) {
  return std::string(to_text(state));
}

// Declared to outlive its run. Once an end was begun, it is no longer kept.
bool is_kept(const ResourceRow& row) {
  return row.state == ResourceState::live && row.spec.is_object() && row.spec.value("keep", false);
}

class Reaping {
 public:
  Reaping(RentWorld world, ReapOptions options)
      : world_(world), dry_run_(options.dry_run), end_kept_(options.kept) {
    prefix_ = install_prefix(world.store.install());
  }

  Co<Result<ReapReport>> go() {
    for (const std::string& name : world_.providers.names()) {
      Result<Provider*> provider = world_.providers.find(name);
      if (!provider) co_return provider.error();
      Result<bool> asked = is_asked(**provider);
      if (!asked) co_return asked.error();
      if (!*asked) continue;
      Status looked = co_await compare(**provider);
      if (!looked) co_return looked.error();
    }
    co_return std::move(report_);
  }

 private:
  // One that nobody here has an account with is left out, unless something of ours may live there.
  Result<bool> is_asked(Provider& provider) {
    if (provider.has_account()) return true;
    ResourceFilter filter;
    filter.provider = provider.caps().name;
    filter.states = {ResourceState::intended, ResourceState::live, ResourceState::releasing};
    Result<std::vector<ResourceRow>> rows = list_resources(world_.store.db(), filter);
    if (!rows) return rows.error();
    return !rows->empty();
  }

  // Why an instance with this row should not live; nullopt when somebody owns it.
  Result<std::optional<std::string>> unowned(const std::optional<ResourceRow>& row) {
    if (!row) return std::optional<std::string>("no row of the store knows it");
    if (row->state == ResourceState::voided || row->state == ResourceState::gone) {
      return std::optional<std::string>("it is " + text_of(row->state) + " in the store");
    }
    Result<bool> over = run_is_over(row->run);
    if (!over) return over.error();
    if (*over) return std::optional<std::string>("its run has ended");
    return std::optional<std::string>();
  }

  Result<bool> run_is_over(const std::string& run) {
    if (run.empty()) return false;  // rented by hand
    Result<std::optional<RunRow>> row = get_run(world_.store.db(), run, world_.loop.wall());
    if (!row) return row.error();
    return !*row || is_ended((*row)->state);
  }

  Co<Status> compare(Provider& provider) {
    Result<Found> found = co_await provider.list_all("cho-");
    if (!found || !found->complete) {
      report_.incomplete.push_back(
          provider.caps().name + ": " +
          (found ? std::string("the list is partial") : found.error().message));
      if (!found) co_return done();
    }
    std::set<std::string> seen;
    std::vector<Instance> strangers;
    for (const Instance& one : found->instances) {
      seen.insert(one.handle.tag);
      if (!one.handle.tag.starts_with(prefix_)) {
        report_.foreign.push_back(entry(one, "", "of another installation"));
        continue;
      }
      Result<std::optional<ResourceRow>> row = find_resource(world_.store.db(), one.handle.tag);
      if (!row) co_return row.error();
      Result<std::optional<std::string>> why = unowned(*row);
      if (!why) co_return why.error();
      if (!*why) continue;
      if (*row && is_kept(**row) && !end_kept_ && one.ended <= 0) {
        report_.kept.push_back(entry(one, (*row)->run, "kept, as its cholfile says"));
        continue;
      }
      if (!*row) {
        strangers.push_back(one);
      } else {
        co_await end(provider, one, (*row)->run, **why);
      }
    }
    if (!strangers.empty()) {
      Status looked = co_await second_look(provider, std::move(strangers));
      if (!looked) co_return looked;
    }
    if (!found->complete) co_return done();
    Status missing = co_await rows_without_instance(provider, std::move(seen));
    co_return missing;
  }

  Co<Status> second_look(Provider& provider, std::vector<Instance> strangers) {
    Sleep pause(world_.loop, kBetweenSightings);
    co_await pause;
    for (const Instance& one : strangers) {
      Result<std::optional<ResourceRow>> row = find_resource(world_.store.db(), one.handle.tag);
      if (!row) co_return row.error();
      if (*row) continue;
      Result<std::optional<Instance>> again = co_await provider.get(one.handle);
      if (!again || !*again) continue;
      co_await end(provider, one, "", "no row of the store knows it");
    }
    co_return done();
  }

  Co<void> end(Provider& provider, Instance one, std::string run, std::string why) {
    ReapReport::Entry told = entry(one, run, why);
    if (!dry_run_) {
      Result<std::optional<ResourceRow>> row = find_resource(world_.store.db(), one.handle.tag);
      bool owned_row = row && *row && (*row)->state != ResourceState::voided &&
                       (*row)->state != ResourceState::gone;
      if (owned_row) {
        StepContext unowned_step;
        Result<Released> released = co_await release(world_, one.handle.tag, unowned_step);
        if (!released) told.error = released.error().message;
      } else {
        Result<Terminated> ended = co_await provider.terminate(one.handle);
        if (!ended) told.error = ended.error().message;
      }
    }
    report_.ended.push_back(std::move(told));
  }

  // A complete list does not show them: the provider is asked for each before anything is
  // concluded.
  Co<Status> rows_without_instance(Provider& provider, std::set<std::string> seen) {
    ResourceFilter filter;
    filter.provider = provider.caps().name;
    filter.states = {ResourceState::intended, ResourceState::live, ResourceState::releasing};
    Result<std::vector<ResourceRow>> rows = list_resources(world_.store.db(), filter);
    if (!rows) co_return rows.error();
    for (const ResourceRow& row : *rows) {
      if (seen.contains(row.tag)) continue;
      Result<bool> over = run_is_over(row.run);
      if (!over) co_return over.error();
      if (row.state == ResourceState::intended) {
        if (*over && !dry_run_) {
          StepContext unowned_step;
          Result<Released> released = co_await release(world_, row.tag, unowned_step);
          if (!released) report_.incomplete.push_back(row.tag + ": " + released.error().message);
        }
        continue;
      }
      Handle handle = handle_from_json(row.handle);
      Result<std::optional<Instance>> again = co_await provider.get(handle);
      if (!again || *again) continue;
      Status missed = co_await miss(row, *over);
      if (!missed) co_return missed;
    }
    co_return done();
  }

  Co<Status> miss(ResourceRow row, bool over) {
    ReapReport::Entry told{
        row.tag, row.provider, row.provider_id, row.run, "unknown to its provider", ""};
    report_.lost.push_back(std::move(told));
    if (dry_run_) co_return done();
    double now = world_.loop.wall();
    int misses = row.misses + 1;
    bool released = over || row.state == ResourceState::releasing;
    Change change = [tag = row.tag, now, misses, released](Txn& txn) {
      Status counted = set_misses(txn, tag, misses);
      if (!counted || misses < kMissesUntilLost) return counted;
      return released ? set_gone(txn, tag, now) : set_lost(txn, tag, now);
    };
    Status written = co_await world_.store.commit(std::move(change));
    co_return written;
  }

  static ReapReport::Entry entry(const Instance& one, const std::string& run,
                                 const std::string& why) {
    return ReapReport::Entry{one.handle.tag, one.handle.provider, one.handle.id, run, why, ""};
  }

  RentWorld world_;
  bool dry_run_, end_kept_;
  std::string prefix_;
  ReapReport report_;
};

Json to_json(const std::vector<ReapReport::Entry>& entries) {
  Json list = Json::array();
  for (const ReapReport::Entry& one : entries) {
    Json told = {{"tag", one.tag},
                 {"provider", one.provider},
                 {"provider_id", one.provider_id},
                 {"run", one.run},
                 {"why", one.why}};
    if (!one.error.empty()) told["error"] = one.error;
    list.push_back(std::move(told));
  }
  return list;
}

}  // namespace

Json to_json(const ReapReport& report) {
  return {{"ended", to_json(report.ended)},
          {"lost", to_json(report.lost)},
          {"kept", to_json(report.kept)},
          {"foreign", to_json(report.foreign)},
          {"incomplete", report.incomplete}};
}

Co<Result<ReapReport>> reap(RentWorld world, ReapOptions options) {
  Reaping reaping(world, options);
  Result<ReapReport> report = co_await reaping.go();
  co_return report;
}

}  // namespace choline
