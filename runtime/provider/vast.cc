#include "provider/vast.h"

#include <algorithm>
#include <utility>

#include "base/digest.h"
#include "base/log.h"
#include "base/text.h"
#include "provider/vast_json.h"

namespace choline {
namespace {

constexpr int kPage = 25;        // the most that one answer lists
constexpr int kMostPages = 200;  // of a list that does not end
constexpr double kTooMuch = 5;   // seconds without calls once it was too much
constexpr double kAnswer = 40;   // seconds

std::string instance_path(const std::string& id) {
  return "/api/v0/instances/" + percent_encode(id) + "/";
}

bool is_refusal(const Json& answer) {
  return answer.is_object() && answer.value("success", Json(true)) == Json(false);
}

}  // namespace

VastProvider::VastProvider(Loop& loop, VastWorld world)
    : loop_(loop), world_(std::move(world)), rest_(loop, "vast"), pacer_(loop, world_.folder) {
  caps_.name = "vast";
  caps_.idempotency = Idempotency::lookup;
  caps_.settle = 60 * world_.pace;
  caps_.poll = 15 * world_.pace;
  caps_.login_lag = 60;
  caps_.spot = true;
  caps_.kind = "container";
  caps_.secrets = {"VAST_API_KEY"};
}

Co<VastProvider::Reply> VastProvider::call(Call one) {
  ProviderError unsent;
  unsent.sent = Sent::no;
  unsent.scope = Scope::account;
  Result<std::string> key = world_.api_key();
  if (!key) {
    unsent.kind = ErrorKind::auth;
    unsent.message = key.error().message;
    co_return unsent;
  }
  const std::string pace = "vast-" + sha256_hex(*key).substr(0, 12) + "-" + one.kind;
  Status turn = co_await pacer_.turn(pace, one.interval * world_.pace);
  if (!turn) {
    unsent.message = "vast: " + turn.error().message;
    co_return unsent;
  }
  HttpRequest request;
  request.method = one.method;
  request.url = world_.url + one.path;
  request.headers = {{"Authorization", "Bearer " + *key}, {"Accept", "application/json"}};
  request.timeout = kAnswer;
  if (!one.body.is_null()) {
    request.headers.emplace_back("Content-Type", "application/json");
    request.body = to_text(one.body);
  }
  Reply reply = co_await rest_.call(std::move(request));
  const RestReply* told = std::get_if<RestReply>(&reply);
  if (!told || (told->fine() && !is_refusal(told->json))) co_return reply;
  ProviderError error = vast_error(told->status, told->json, told->body);
  error.retry_after = told->retry_after;
  error.request_id = told->request_id;
  if (told->status == 429) {
    Status held = pacer_.hold(pace, told->retry_after.value_or(kTooMuch * world_.pace));
    if (!held) log_warning("vast: " + held.error().message);
  }
  // What the caller knows how to read, such as an instance that is not there, stays a reply.
  if (vast_is_absent(told->status, told->json)) co_return reply;
  co_return error;
}

Co<Result<RestReply>> VastProvider::ask(Call one) {
  Reply reply = co_await call(std::move(one));
  if (const ProviderError* error = std::get_if<ProviderError>(&reply)) co_return to_error(*error);
  co_return std::get<RestReply>(std::move(reply));
}

Co<Result<std::string>> VastProvider::check(Json) {
  Call user{"GET", "/api/v0/users/current/", nullptr, "user", 1};
  Result<RestReply> reply = co_await ask(std::move(user));
  if (!reply) co_return reply.error();
  const Json& told = reply->json;
  if (!told.is_object() || !told.contains("id")) {
    co_return Error(ErrorKind::transient, "vast: the account was answered without an id");
  }
  std::string name = told["id"].dump();
  if (told.contains("email") && told["email"].is_string()) {
    name = told["email"].get<std::string>() + " (" + name + ")";
  }
  co_return name;
}

// A search by name needs the names as they are written there. Without them the answer is filtered.
Co<Result<std::vector<std::string>>> VastProvider::gpu_names() {
  if (!gpu_names_.empty()) co_return gpu_names_;
  Call list{"GET", "/api/v0/gpu_names/unique/", nullptr, "names", 1};
  Result<RestReply> reply = co_await ask(std::move(list));
  if (!reply) co_return reply.error();
  Json names = reply->json.is_object() ? reply->json.value("gpu_names", Json()) : Json();
  for (const Json& name : names.is_array() ? names : Json::array()) {
    if (name.is_string()) gpu_names_.push_back(name.get<std::string>());
  }
  co_return gpu_names_;
}

Co<Result<Offers>> VastProvider::offers(OfferQuery query) {
  Result<VastSettings> settings = vast_settings(query.settings);
  if (!settings) co_return settings.error();
  std::vector<std::string> names;
  if (!query.gpu.empty()) {
    Result<std::vector<std::string>> known = co_await gpu_names();
    if (!known && known.error().kind == ErrorKind::auth) co_return known.error();
    if (known) names = std::move(*known);
  }
  Offers all;
  for (Json& body : vast_searches(query, *settings, names)) {
    Call search{"POST", "/api/v0/bundles/", std::move(body), "search", 6};
    Result<RestReply> reply = co_await ask(std::move(search));
    if (!reply) co_return reply.error();
    Result<Offers> part = vast_offers(reply->json, query, *settings);
    if (!part) co_return part.error();
    all.offers.insert(all.offers.end(), part->offers.begin(), part->offers.end());
    all.reasons.insert(all.reasons.end(), part->reasons.begin(), part->reasons.end());
  }
  std::stable_sort(all.offers.begin(), all.offers.end(),
                   [](const Offer& a, const Offer& b) { return a.price < b.price; });
  if (all.offers.empty() && all.reasons.empty()) {
    std::string what = query.gpu.empty() ? "machine" : join(query.gpu, " or ");
    all.reasons.push_back({ErrorKind::no_capacity, "no " + what + " is for rent as asked"});
  }
  co_return all;
}

Co<Launched> VastProvider::launch(Spec spec, Offer offer, std::string token) {
  ProviderError unsent;
  unsent.sent = Sent::no;
  Result<std::string> key = world_.public_key();
  Result<Json> body = key ? vast_create(spec, offer, token, *key) : Result<Json>(key.error());
  if (!body) {
    unsent.kind = ErrorKind::invalid;
    unsent.message = body.error().message;
    co_return unsent;
  }
  Call create{"PUT", "/api/v0/asks/" + percent_encode(offer.id) + "/", std::move(*body), "create",
              4.5};
  Reply reply = co_await call(std::move(create));
  if (ProviderError* error = std::get_if<ProviderError>(&reply)) co_return std::move(*error);
  const RestReply& told = std::get<RestReply>(reply);
  std::optional<std::string> id = vast_created(told.json);
  if (!id) {
    // It says that it was done and not what: only looking tells.
    ProviderError unclear;
    unclear.http = told.status;
    unclear.sent = Sent::unknown;
    unclear.message = "vast: a launch was answered without the number of its instance";
    co_return unclear;
  }
  Handle handle;
  handle.provider = "vast";
  handle.region = offer.region;
  handle.zone = offer.zone;
  handle.id = *id;
  handle.tag = token;
  co_return handle;
}

// Also tells the agent how to end the instance from within.
Instance VastProvider::complete(Instance instance) const {
  instance.endpoint.end = {"sh", "-c", vast_end_script(world_.url)};
  return instance;
}

Co<Result<Found>> VastProvider::list(Json filters) {
  Found found;
  std::string after;
  for (int page = 0; page < kMostPages; ++page) {
    std::string path = "/api/v1/instances/?select_filters=" + percent_encode(to_text(filters)) +
                       "&order_by=" + percent_encode(R"([{"col":"id","dir":"asc"}])") +
                       "&limit=" + std::to_string(kPage);
    if (!after.empty()) path += "&after_token=" + percent_encode(after);
    Call one{"GET", std::move(path), nullptr, "list", 1};
    Result<RestReply> reply = co_await ask(std::move(one));
    if (!reply) co_return reply.error();
    Json rows = reply->json.is_object() ? reply->json.value("instances", Json()) : Json();
    if (!rows.is_array()) {
      co_return Error(ErrorKind::transient, "vast: a list was answered without instances");
    }
    for (const Json& row : rows) {
      Result<Instance> instance = vast_instance(row, loop_.wall());
      if (instance) {
        found.instances.push_back(complete(std::move(*instance)));
      } else {
        found.complete = false;
      }
    }
    Json next = reply->json.value("next_token", Json());
    Json total = reply->json.value("instances_found", Json());
    if (!next.is_string() || next.get_ref<const std::string&>().empty()) {
      bool is_short = total.is_number_unsigned() && total.get<size_t>() > found.instances.size();
      if (is_short) found.complete = false;
      co_return found;
    }
    after = next.get<std::string>();
  }
  found.complete = false;
  co_return found;
}

Co<Result<Found>> VastProvider::find(std::string tag) {
  Json filters = {{"label", {{"eq", tag}}}};
  Result<Found> found = co_await list(std::move(filters));
  // A filter that is not obeyed must not make others' instances ours.
  if (found)
    std::erase_if(found->instances, [&](const Instance& one) { return one.handle.tag != tag; });
  co_return found;
}

Co<Result<Found>> VastProvider::list_all(std::string owner_prefix) {
  Result<Found> found = co_await list(Json::object());
  if (found) {
    std::erase_if(found->instances,
                  [&](const Instance& one) { return !one.handle.tag.starts_with(owner_prefix); });
  }
  co_return found;
}

Co<Result<std::optional<Instance>>> VastProvider::get(Handle handle) {
  Call one{"GET", instance_path(handle.id) + "?owner=me", nullptr, "get", 2};
  Result<RestReply> reply = co_await ask(std::move(one));
  if (!reply) co_return reply.error();
  if (vast_is_absent(reply->status, reply->json)) co_return std::optional<Instance>();
  Json row = reply->json.is_object() ? reply->json.value("instances", Json()) : Json();
  // One may come as a list of one.
  if (row.is_array() && row.size() == 1) row = Json(row.front());
  if (!row.is_object()) {
    co_return Error(ErrorKind::transient, "vast: an instance was answered without its facts");
  }
  Result<Instance> instance = vast_instance(row, loop_.wall());
  if (!instance) co_return instance.error();
  if (instance->handle.tag.empty()) instance->handle.tag = handle.tag;
  co_return std::optional<Instance>(complete(std::move(*instance)));
}

Co<Result<Terminated>> VastProvider::terminate(Handle handle) {
  Call end{"DELETE", instance_path(handle.id), Json::object(), "destroy", 3};
  Result<RestReply> reply = co_await ask(std::move(end));
  if (!reply) co_return reply.error();
  if (vast_is_absent(reply->status, reply->json)) co_return Terminated::gone;
  co_return Terminated::accepted;
}

}  // namespace choline
