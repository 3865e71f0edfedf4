// native.provider: offers, lists, faults and bills of those who rent instances.
#include <map>
#include <vector>

#include "base/text.h"
#include "durable/rent.h"
#include "io/ssh_keys.h"
#include "loop/await.h"
#include "native/module.h"
#include "native/services.h"
#include "provider/providers.h"
#include "store/events.h"
#include "store/store.h"

namespace choline {
namespace {

Result<Provider*> provider_of(Services& services, const Json& args, std::string_view what) {
  Result<std::string> name = string_arg(args, 0, what);
  if (!name) return name.error();
  Result<Providers*> providers = services.providers();
  if (!providers) return providers.error();
  return (*providers)->find(*name);
}

Result<Json> provider_names(Services& services, const Json&) {
  Result<Providers*> providers = services.providers();
  if (!providers) return providers.error();
  return Json((*providers)->names());
}

Result<Json> provider_caps(Services& services, const Json& args) {
  Result<Provider*> provider = provider_of(services, args, "native.provider.caps");
  if (!provider) return provider.error();
  Json caps = to_json((*provider)->caps());
  caps["account"] = (*provider)->has_account();
  return caps;
}

// How often instances in a zone of a provider, which may be a single machine, could not be used.
struct ZoneFailures {
  int count = 0;
  double last = 0;  // wall seconds
};
using Failures = std::map<std::string, ZoneFailures>;

// What runs of the last two weeks have met there.
Result<Failures> failures_at(Services& services, const std::string& provider) {
  constexpr double kRemembered = 14 * 86400;  // seconds
  Result<Store*> store = services.store();
  if (!store) return store.error();
  Result<std::vector<EventRow>> events =
      list_events_of_kind((*store)->db(), "offer_failed", services.loop.wall() - kRemembered);
  if (!events) return events.error();
  Failures failures;
  for (const EventRow& event : *events) {
    std::string reason = text_field(event.data, "reason"), zone = text_field(event.data, "zone");
    // Of the rest, the machine is not the cause.
    bool is_its_fault = reason == "timeout" || reason == "lost" || reason == "refused";
    if (!is_its_fault || zone.empty() || text_field(event.data, "provider") != provider) continue;
    ZoneFailures& known = failures[zone];
    known.count += 1;
    known.last = std::max(known.last, event.at);
  }
  return failures;
}

// Asking changes nothing, so what passes by itself is asked for again.
Co<Result<Offers>> offers_patiently(Services& services, Provider& provider, OfferQuery query) {
  constexpr int kMostTries = 4;
  double wait = 0.5;  // seconds
  for (int tries = 1;; ++tries) {
    Result<Offers> found = co_await provider.offers(query);
    if (found || found.error().kind != ErrorKind::transient || tries == kMostTries) {
      co_return found;
    }
    Sleep pause(services.loop, wait);
    co_await pause;
    wait *= 2;
  }
}

// Nothing at all is an error with the reasons, so that they reach the user; too dear is none, since
// the caller knows the price it asked for.
Result<Json> offers_or_reasons(const Offers& found, const Failures& failures, double now) {
  Json list = Json::array();
  for (const Offer& offer : found.offers) {
    Json told = to_json(offer);
    if (auto known = failures.find(offer.zone); !offer.zone.empty() && known != failures.end()) {
      told["failed"] = {{"count", known->second.count}, {"ago", now - known->second.last}};
    }
    list.push_back(std::move(told));
  }
  if (!list.empty()) return list;
  ErrorKind kind = ErrorKind::price;
  std::vector<std::string> texts;
  for (const Offers::Reason& reason : found.reasons) {
    if (reason.kind != ErrorKind::price) kind = reason.kind;
    texts.push_back(reason.text);
  }
  if (kind == ErrorKind::price) return list;
  return Error(kind, join(texts, "; "));
}

Co<Result<Json>> provider_check(Services& services, Json args) {
  Result<Provider*> provider = provider_of(services, args, "native.provider.check");
  if (!provider) co_return provider.error();
  if (!(*provider)->has_account()) co_return Json();
  Result<std::string> account = co_await (*provider)->check(arg(args, 1));
  if (!account) co_return account.error();
  co_return Json(*account);
}

Co<Result<Json>> provider_offers(Services& services, Json args, StepContext) {
  Result<Provider*> provider = provider_of(services, args, "native.provider.offers");
  if (!provider) co_return provider.error();
  Result<OfferQuery> query = query_from_json(arg(args, 1));
  if (!query) co_return query.error();
  Result<Offers> found = co_await offers_patiently(services, **provider, *query);
  if (!found) co_return found.error();
  Result<Failures> failures = failures_at(services, (*provider)->caps().name);
  if (!failures) co_return failures.error();
  co_return offers_or_reasons(*found, *failures, services.loop.wall());
}

Co<Result<Json>> provider_list(Services& services, Json args) {
  Result<Provider*> provider = provider_of(services, args, "native.provider.list");
  if (!provider) co_return provider.error();
  Result<Store*> store = services.store();
  if (!store) co_return store.error();
  if (!(*provider)->has_account()) co_return Json();
  std::string ours = install_prefix((*store)->install());
  Result<Found> found = co_await (*provider)->list_all("");
  if (!found) co_return found.error();
  Json list = Json::array();
  for (const Instance& one : found->instances) {
    if (one.ended > 0) continue;
    list.push_back({{"tag", one.handle.tag},
                    {"ours", one.handle.tag.starts_with(ours)},
                    {"spot", one.spot},
                    {"created", one.created},
                    {"reason", one.reason},
                    {"provider_id", one.handle.id},
                    {"state", one.state ? std::string(to_text(*one.state)) : one.state_raw},
                    {"price", one.price},
                    {"host", one.host}});
  }
  co_return Json{{"complete", found->complete}, {"instances", std::move(list)}};
}

Co<Result<Json>> provider_drill(Services& services, Json args) {
  Result<Provider*> provider = provider_of(services, args, "native.provider.drill");
  if (!provider) co_return provider.error();
  Result<Json> told = co_await (*provider)->drill(arg(args, 1));
  co_return told;
}

Result<Json> provider_bill(Services& services, const Json& args) {
  Result<Provider*> provider = provider_of(services, args, "native.provider.bill");
  if (!provider) return provider.error();
  return (*provider)->bill();
}

// choline's own key for logins.
Result<Json> provider_key(Services& services, const Json&) {
  Result<OwnSshKey> key = own_ssh_key(services.folders.config);
  if (!key) return key.error();
  return Json{{"path", key->path}, {"line", key->line}};
}

// Logs in to a host, and says which way and how long that took.
Co<Result<Json>> provider_visit(Services& services, Json args) {
  Result<std::string> host = string_arg(args, 0, "native.provider.visit");
  if (!host) co_return host.error();
  Result<SshTarget> target = parse_ssh_target(*host);
  if (!target) co_return target.error();
  Result<Providers*> providers = services.providers();
  if (!providers) co_return providers.error();
  Ssh& ssh = (*providers)->ssh();
  constexpr double kPatience = 30;  // seconds
  double began = services.loop.ticks();
  constexpr std::string_view kMark = "choline: ";
  std::string script = "echo \"choline: `uname -sm`\"\n";
  Result<std::string> said = co_await ssh.run(*target, std::move(script), kPatience);
  if (!said) co_return said.error();
  std::string system = last_line(*said);  // a login may greet before
  if (!system.starts_with(kMark)) {
    constexpr size_t kMostShown = 200;
    co_return Error(ErrorKind::refused, "the login at " + *host + " gives no shell; it printed " +
                                            choline::quoted(said->substr(0, kMostShown)));
  }
  co_return Json{{"way", ssh.way_to(*target)},
                 {"system", system.substr(kMark.size())},
                 {"seconds", services.loop.ticks() - began}};
}

}  // namespace

NativeModule provider_module() {
  NativeModule module;
  module.name = "provider";
  module.functions = {
      {"names", provider_names}, {"caps", provider_caps},
      {"check", provider_check}, {"offers", StepClass::query, provider_offers},
      {"list", provider_list},   {"drill", provider_drill},
      {"bill", provider_bill},   {"key", provider_key},
      {"visit", provider_visit},
  };
  return module;
}

}  // namespace choline
