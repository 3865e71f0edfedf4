#include "durable/leases.h"

#include <algorithm>

#include "base/log.h"
#include "base/random.h"
#include "durable/instances.h"

namespace choline {
namespace {

constexpr double kWordsInALease = 6;
constexpr double kMostBetweenWords = 300;   // seconds
constexpr double kMostBetweenNotes = 3600;  // seconds
constexpr double kMostAfterFailure = 15;    // seconds

double setting(const ResourceRow& row, const char* key) {
  if (!row.spec.is_object()) return 0;
  auto found = row.spec.find(key);
  return found != row.spec.end() && found->is_number() ? found->get<double>() : 0;
}

// So that many instances are not spoken to at the same moment.
double jittered(double seconds) {
  double part = static_cast<double>(random_u64() % 1000) / 1000;
  return seconds * (0.8 + 0.2 * part);
}

}  // namespace

LeaseRequest lease_terms(const ResourceRow& row, const Instance& seen, double now) {
  LeaseRequest terms;
  terms.lease = setting(row, "lease");
  terms.lifetime = setting(row, "lifetime");
  double since = seen.created > 0 ? seen.created : row.live_at.value_or(row.intended_at);
  if (seen.expires > 0) {
    double rest = std::max(1.0, seen.expires - since);
    terms.lifetime = terms.lifetime > 0 ? std::min(terms.lifetime, rest) : rest;
  }
  terms.lived = std::max(0.0, now - since);
  terms.keep = row.spec.is_object() && row.spec.value("keep", false);
  terms.end = seen.endpoint.end;
  return terms;
}

bool is_ending(const Error& error) {
  return error.kind == ErrorKind::lost && error.fields.is_object() &&
         error.fields.contains("ending");
}

double Leases::period(double lease) {
  return std::clamp(lease / kWordsInALease, 0.05, kMostBetweenWords);
}

// The row says until when it lives at least. It is not written for each word: it may end up to a
// quarter of its lease later than the row says.
void Leases::note(const ResourceRow& row, double until, double lease) {
  double step = std::min(lease / 4, kMostBetweenNotes);
  bool known = row.lease_until && *row.lease_until <= until + 1 && until < *row.lease_until + step;
  if (known) return;
  instances_.store().enqueue(
      [tag = row.tag, until](Txn& txn) { return set_lease(txn, tag, until); });
}

Co<Status> Leases::say(ResourceRow row, LeaseRequest terms, std::shared_ptr<AgentClient> agent) {
  Result<std::optional<double>> left = co_await agent->renew(terms);
  if (!left) co_return left.error();
  if (*left) note(row, instances_.loop().wall() + **left, terms.lease);
  co_return done();
}

Co<Status> Leases::tell(ResourceRow row, LeaseRequest terms, std::shared_ptr<AgentClient> agent) {
  if (terms.lease <= 0 && terms.lifetime <= 0) co_return done();
  Status said = co_await say(row, terms, agent);
  if (!said && (is_ending(said.error()) || !agent->alive())) co_return said;
  // Such as a disk without room for the first word. It can be used, and is told again.
  if (!said) log_warning("instance " + row.tag + " holds no lease: " + said.error().message);
  std::shared_ptr<Held>& held = held_[row.tag];
  if (!held) held = std::make_shared<Held>();
  held->terms = terms;
  held->told_at = held->lived_at = instances_.loop().ticks();
  if (terms.lease > 0) hold(row.tag);
  co_return done();
}

void Leases::hold(const std::string& tag) {
  std::shared_ptr<Held>& held = held_[tag];
  if (!held) held = std::make_shared<Held>();
  if (held->renewing.active()) return;
  std::shared_ptr<Held> kept = held;  // what it starts may change the map at once
  std::function<void(int)> over = [](int) {};
  kept->renewing = Started(renew_on(tag), std::move(over));
}

Status Leases::hold_run(const std::string& run) {
  ResourceFilter filter;
  filter.run = run;
  filter.states = {ResourceState::live};
  Result<std::vector<ResourceRow>> rows = list_resources(instances_.store().db(), filter);
  if (!rows) return rows.error();
  for (const ResourceRow& row : *rows) {
    if (setting(row, "lease") > 0) hold(row.tag);
  }
  return done();
}

void Leases::drop(const std::string& tag) {
  auto found = held_.find(tag);
  if (found == held_.end()) return;
  std::shared_ptr<Held> held = std::move(found->second);
  held_.erase(found);
  held->renewing = Started();
}

Co<int> Leases::renew_on(std::string tag) {
  Loop& loop = instances_.loop();
  for (;;) {
    Sleep turn(loop, 0);  // never within the call that holds it
    co_await turn;
    Result<std::optional<ResourceRow>> found = find_resource(instances_.store().db(), tag);
    if (!found || !*found || (*found)->state != ResourceState::live) co_return 0;
    ResourceRow row = **found;
    double every = period(setting(row, "lease"));
    double pause = jittered(every);
    Result<std::shared_ptr<AgentClient>> agent = co_await instances_.client(tag);
    Status said = agent ? done() : Status(agent.error());
    auto known = held_.find(tag);
    std::shared_ptr<Held> held = known == held_.end() ? nullptr : known->second;
    if (!held) co_return 0;
    // A link that was just opened has begun with a word.
    if (agent && loop.ticks() - held->told_at > every / 2) {
      LeaseRequest terms = held->terms;
      terms.lived += loop.ticks() - held->lived_at;
      held.reset();
      said = co_await say(row, terms, *agent);
      known = held_.find(tag);
      if (known == held_.end()) co_return 0;
      if (said) known->second->told_at = loop.ticks();
    }
    if (!said) {
      const Error& error = said.error();
      bool gone = error.kind == ErrorKind::lost && error.fields.contains("provider");
      bool over = gone || is_ending(error) || error.kind == ErrorKind::preempted ||
                  error.kind == ErrorKind::unsupported;
      if (over) co_return 0;
      log_info("the lease of " + tag + " was not renewed: " + error.message);
      pause = std::min(pause, kMostAfterFailure);
    }
    held.reset();
    Sleep sleep(loop, pause);
    co_await sleep;
  }
}

}  // namespace choline
