#include "durable/rent.h"

#include <algorithm>
#include <cctype>

#include "base/digest.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/random.h"
#include "base/text.h"
#include "loop/await.h"
#include "loop/gather.h"
#include "store/crash.h"

namespace choline {
namespace {

constexpr int kMostTags = 6;              // voided tags before the provider is called broken
constexpr int kMostHeldOff = 10;          // launches refused as too frequent before that is told
constexpr int kTooFrequent = 429;         // HTTP
constexpr double kHeldOff = 2;            // seconds, where the provider does not say
constexpr double kMostSeconds = 120;      // of what it says
constexpr double kReleasePatience = 600;  // seconds of failing calls before `release` says so

std::string letters(const std::string& text, size_t most) {
  std::string kept;
  for (char c : text) {
    if (kept.size() == most) break;
    if (std::isalnum(static_cast<unsigned char>(c))) kept += c;
  }
  return kept.empty() ? "none" : kept;
}

// Grows from `first` by half up to `most`; what waits asks it for each next wait.
class Backoff {
 public:
  Backoff(double first, double most) : next_(first), most_(most) {}
  double next() {
    double now = next_;
    next_ = std::min(next_ * 1.5, most_);
    return now;
  }

 private:
  double next_, most_;
};

// Ends an instance that is no row's: a surplus, or what an error left behind. The reaper finds it
// later when this does not succeed.
Co<void> end_surplus(RentWorld world, Provider& provider, Handle handle) {
  Backoff wait(0.2, 5);
  for (int tries = 0; tries < 5; ++tries) {
    Result<Terminated> ended = co_await provider.terminate(handle);
    crash_point("provider.terminate");
    if (ended && *ended == Terminated::gone) co_return;
    Result<std::optional<Instance>> seen = co_await provider.get(handle);
    if (seen && !*seen) co_return;
    Sleep pause(world.loop, wait.next());
    co_await pause;
  }
  log_warning("instance " + handle.tag + " of " + handle.provider +
              " could not be ended now; choline gc will");
}

// Looks until the tag is seen, or until a complete list made after `settle` seconds does not show
// it. Counted from this call: the request may have left just before the doubt arose. A list that
// fails or is partial proves nothing and is asked for again.
Co<std::vector<Instance>> resolve(RentWorld world, Provider& provider, std::string tag) {
  double settle = mutant("short-settle") ? provider.caps().settle * 0.3 : provider.caps().settle;
  double until = world.loop.ticks() + (mutant("list-once") ? 0 : settle);
  Backoff wait(0.25, 5);
  for (;;) {
    double asked = world.loop.ticks();
    Result<Found> found = co_await provider.find(tag);
    if (found && !found->instances.empty()) co_return std::move(found->instances);
    bool sure = found && (found->complete || mutant("partial-list"));
    if (sure && asked >= until) co_return std::vector<Instance>();
    if (!found) log_warning("looking for " + tag + ": " + found.error().message);
    double pause = wait.next();
    if (asked < until) pause = std::min(pause, until - asked + 0.01);
    Sleep sleep(world.loop, pause);
    co_await sleep;
  }
}

class Renting {
 public:
  Renting(RentWorld world, RentRequest request, StepContext context, Provider& provider)
      : world_(world),
        request_(std::move(request)),
        context_(std::move(context)),
        provider_(provider) {
    step_ = context_.run.empty() ? random_id(8) : context_.key;
  }

  Co<Result<ResourceRow>> go() {
    Status begun = find_intended();
    if (!begun) co_return begun.error();
    // An earlier process intended it: look before doing it again.
    bool doubt = !tag_.empty() && !mutant("blind-resume");
    if (!doubt) {
      begun = co_await intend(next_tag());
      if (!begun) co_return begun.error();
    }
    for (int tries = 0; tries < kMostTags; ++tries) {
      if (!doubt) {
        double asked = world_.loop.wall();
        Launched launched = co_await provider_.launch(request_.spec, request_.offer, tag_);
        crash_point("provider.launch");
        if (const Handle* handle = std::get_if<Handle>(&launched)) {
          co_return live(*handle, request_.offer.price, handle->provider + "/" + handle->id, asked);
        }
        ProviderError error = std::get<ProviderError>(std::move(launched));
        if (error.created_id) co_await end_created(*error.created_id);
        if (is_held_off(error)) {
          // Nothing was made with this tag, so it serves again.
          Sleep pause(world_.loop, std::min(error.retry_after.value_or(kHeldOff), kMostSeconds));
          co_await pause;
          --tries;
          continue;
        }
        if (error.sent != Sent::unknown) co_return refused(to_error(error));
        log_warning("launch of " + tag_ + " is in doubt: " + error.message);
        if (mutant("retry-doubt")) {
          Status again = co_await intend(next_tag());
          if (!again) co_return again.error();
          continue;
        }
      }
      std::vector<Instance> found = co_await resolve(world_, provider_, tag_);
      if (mutant("no-adoption")) found.clear();
      for (size_t i = 1; i < found.size() && !mutant("keep-surplus"); ++i) {
        co_await end_surplus(world_, provider_, found[i].handle);
      }
      if (!found.empty()) {
        const Instance& one = found.front();
        double since = one.created > 0 ? one.created : world_.loop.wall();
        co_return live(one.handle, one.price, one.host, since);
      }
      Status begun_again = co_await intend(next_tag());
      if (!begun_again) co_return begun_again.error();
      doubt = false;
    }
    co_return refused(Error(ErrorKind::transient,
                            request_.provider + " lost " + std::to_string(kMostTags) +
                                " launches of " + choline::quoted(request_.name) + " in a row"));
  }

 private:
  Status find_intended() {
    ResourceFilter filter;
    filter.run = context_.run;
    filter.step = step_;
    Result<std::vector<ResourceRow>> rows = list_resources(world_.store.db(), filter);
    if (!rows) return rows.error();
    tags_ = static_cast<int>(rows->size());
    for (const ResourceRow& row : *rows) {
      if (row.state == ResourceState::intended) tag_ = row.tag;
    }
    return done();
  }

  // Refused as too frequent, and not for the first ten times.
  bool is_held_off(const ProviderError& error) {
    if (error.http != kTooFrequent || error.sent != Sent::rejected || error.created_id)
      return false;
    return ++held_off_ <= kMostHeldOff;
  }

  std::string next_tag() {
    return instance_tag(world_.store.install(), context_.run, step_, ++tags_);
  }

  // Voids the tag before, if any, in the same transaction.
  Co<Status> intend(std::string tag) {
    ResourceRow row;
    row.tag = tag;
    row.run = context_.run;
    row.step = step_;
    row.name = request_.name;
    row.provider = request_.provider;
    row.spec = to_json(request_.spec);
    row.spec["keep"] = request_.keep;
    row.price = request_.offer.price;
    row.intended_at = world_.loop.wall();
    Change change = fenced(context_, [row, before = tag_](Txn& txn) {
      if (!before.empty()) {
        Status voided = set_void(txn, before, row.intended_at);
        if (!voided) return voided;
      }
      return insert_intended(txn, row);
    });
    Status written = co_await world_.store.commit(std::move(change));
    if (written) tag_ = tag;
    co_return written;
  }

  Co<void> end_created(std::string id) {
    Handle handle;
    handle.provider = request_.provider;
    handle.id = id;
    handle.tag = tag_;
    handle.region = request_.offer.region;
    handle.zone = request_.offer.zone;
    co_await end_surplus(world_, provider_, handle);
  }

  Result<ResourceRow> live(const Handle& handle, double price, const std::string& host,
                           double since) {
    LiveFacts facts;
    facts.provider_id = handle.id;
    facts.price = price;
    facts.host = host;
    facts.handle = to_json(handle);
    facts.at = since;
    context_.with_result([tag = tag_, facts](Txn& txn) { return set_live(txn, tag, facts); });
    ResourceRow row;
    row.tag = tag_;
    row.run = context_.run;
    row.step = step_;
    row.name = request_.name;
    row.provider = request_.provider;
    row.handle = facts.handle;
    row.provider_id = handle.id;
    row.state = ResourceState::live;
    row.price = price;
    row.host = host;
    row.live_at = since;
    return row;
  }

  Error refused(Error error) {
    Change change = [tag = tag_, at = world_.loop.wall()](Txn& txn) {
      return set_void(txn, tag, at);
    };
    if (mutant("void-apart")) {
      world_.loop.timer(0.5, [store = &world_.store, change] { store->enqueue(change); });
    } else {
      context_.with_result(std::move(change));
    }
    return error;
  }

  RentWorld world_;
  RentRequest request_;
  StepContext context_;
  Provider& provider_;
  std::string step_;
  std::string tag_;  // the one that is intended now
  int tags_ = 0;     // used by this step so far
  int held_off_ = 0;
};

// Terminates and looks until the provider proves it gone.
Co<Status> terminate(RentWorld world, Provider& provider, Handle handle) {
  Backoff wait(0.1, 15);
  double waited = 0;  // by its own waits: a machine that slept has not been patient
  for (;;) {
    Result<Terminated> ended = co_await provider.terminate(handle);
    crash_point("provider.terminate");
    if (ended && *ended == Terminated::gone) co_return done();
    if (mutant("unproved-end")) co_return done();
    if (!ended && ended.error().kind == ErrorKind::auth) co_return ended.error();
    Result<std::optional<Instance>> seen = co_await provider.get(handle);
    if (seen && !*seen) co_return done();
    if (waited > kReleasePatience) {
      if (!ended) co_return ended.error();
      co_return Error(ErrorKind::timeout,
                      "instance " + handle.tag + " of " + handle.provider +
                          " does not end; look at it there, and run choline gc");
    }
    double pause = wait.next();
    waited += pause;
    Sleep sleep(world.loop, pause);
    co_await sleep;
  }
}

// A row whose launch is in doubt has no handle yet: all that carry its tag are ended.
Co<Status> release_intended(RentWorld world, Provider& provider, std::string tag) {
  std::vector<Instance> found = co_await resolve(world, provider, tag);
  for (const Instance& one : found) {
    Status ended = co_await terminate(world, provider, one.handle);
    if (!ended) co_return ended;
  }
  co_return done();
}

// When it ended before anybody ended it, where its provider says so: what came after costs nothing.
Co<std::optional<double>> own_end(Provider& provider, Handle handle, ResourceRow row) {
  Result<std::optional<Instance>> seen = co_await provider.get(handle);
  if (!seen || !*seen || (*seen)->ended <= 0) co_return std::nullopt;
  co_return std::max((*seen)->ended, row.live_at.value_or(row.intended_at));
}

Co<ReleaseOutcome> release_one(RentWorld world, ResourceRow row) {
  ReleaseOutcome outcome{row.tag, row.name, false, ""};
  StepContext unowned;
  Result<Released> released = co_await release(world, row.tag, unowned);
  if (released) {
    outcome.gone = released->gone;
  } else {
    outcome.error = released.error().message;
  }
  co_return outcome;
}

}  // namespace

Change fenced(const StepContext& context, Change change) {
  if (context.run.empty() || mutant("no-fence")) return change;
  return [run = context.run, epoch = context.epoch, change = std::move(change)](Txn& txn) {
    Status held = txn.fence(run, epoch);
    if (!held) return held;
    return change(txn);
  };
}

std::string install_prefix(const std::string& install) {
  return "cho-" + letters(install, 8) + "-";
}

std::string instance_tag(const std::string& install, const std::string& run,
                         const std::string& step, int attempt) {
  return install_prefix(install) + letters(run, 8) + "-" +
         sha256_hex(run + "\n" + step).substr(0, 8) + "-" + std::to_string(attempt);
}

Co<Result<ResourceRow>> rent(RentWorld world, RentRequest request, StepContext context) {
  Result<Provider*> provider = world.providers.find(request.provider);
  if (!provider) co_return provider.error();
  Renting renting(world, std::move(request), std::move(context), **provider);
  Result<ResourceRow> row = co_await renting.go();
  co_return row;
}

Co<Result<Released>> release(RentWorld world, std::string tag, StepContext context) {
  Result<std::optional<ResourceRow>> found = find_resource(world.store.db(), tag);
  if (!found) co_return found.error();
  if (!*found)
    co_return Error(ErrorKind::not_found, "there is no instance " + choline::quoted(tag));
  ResourceRow row = std::move(**found);
  if (row.state == ResourceState::gone || row.state == ResourceState::voided) {
    co_return Released{true, row.cost(world.loop.wall()), row.gone_at};
  }
  Result<Provider*> provider = world.providers.find(row.provider);
  if (!provider) co_return provider.error();
  bool intended = row.state == ResourceState::intended;
  std::optional<double> ended_itself;
  if (row.state == ResourceState::releasing) ended_itself = row.gone_at;
  if (row.lease_until && !intended && !ended_itself) {
    Handle handle = handle_from_json(row.handle);
    ended_itself = co_await own_end(**provider, handle, row);
  }
  if (!intended) {
    Change change = fenced(
        context, [tag, ended_itself](Txn& txn) { return set_releasing(txn, tag, ended_itself); });
    Status marked = co_await world.store.commit(std::move(change));
    if (!marked) co_return marked.error();
  }
  Status ended = done();
  if (intended || row.provider_id.empty()) {
    ended = co_await release_intended(world, **provider, tag);
  } else {
    Handle handle = handle_from_json(row.handle);
    ended = co_await terminate(world, **provider, handle);
  }
  if (!ended) co_return ended.error();
  double now = ended_itself.value_or(world.loop.wall());
  Change gone = [tag, now](Txn& txn) { return set_gone(txn, tag, now); };
  if (context.run.empty()) {
    Status written = co_await world.store.commit(std::move(gone));
    if (!written) co_return written.error();
  } else {
    context.with_result(std::move(gone));
  }
  row.gone_at = now;
  co_return Released{true, row.cost(now), now};
}

Co<Result<std::vector<ReleaseOutcome>>> release_all(RentWorld world, std::string run) {
  ResourceFilter filter;
  filter.run = run;
  filter.states = {ResourceState::intended, ResourceState::live, ResourceState::releasing,
                   ResourceState::lost};
  Result<std::vector<ResourceRow>> rows = list_resources(world.store.db(), filter);
  if (!rows) co_return rows.error();
  std::vector<Co<ReleaseOutcome>> works;
  for (ResourceRow& row : *rows) works.push_back(release_one(world, std::move(row)));
  std::vector<ReleaseOutcome> outcomes = co_await gather(world.loop, std::move(works));
  co_return outcomes;
}

}  // namespace choline
