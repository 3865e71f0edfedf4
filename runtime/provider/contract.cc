#include "provider/contract.h"

#include <array>
#include <cmath>

namespace choline {
namespace {

constexpr std::array kStates = {"requested", "starting",   "running", "stopping",
                                "stopped",   "terminated", "failed",  "preempted"};
constexpr std::array kScopes = {"request", "offer",   "machine", "zone",
                                "region",  "account", "provider"};
constexpr std::array kSent = {"no", "rejected", "unknown"};

// A field that may be absent; a wrong type reads as absent, since the writer was ours or checked.
template <class T>
T field_or(const Json& from, const char* key, T otherwise) {
  if (!from.is_object()) return otherwise;
  auto found = from.find(key);
  if (found == from.end() || found->is_null()) return otherwise;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!found->is_string()) return otherwise;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!found->is_boolean()) return otherwise;
  } else {
    if (!found->is_number()) return otherwise;
  }
  return found->template get<T>();
}

Json read_json(const Json& from, const char* key) {
  if (!from.is_object()) return nullptr;
  auto found = from.find(key);
  return found == from.end() ? Json(nullptr) : *found;
}

// A whole number of at most 2^53, from the network or from Lua, where 4.0 is common.
Result<int64_t> whole(const Json& from, const char* key) {
  Json value = read_json(from, key);
  if (value.is_null()) return int64_t{0};
  double number = value.is_number() ? value.get<double>() : -1;
  if (number < 0 || number > 9007199254740992.0 || std::floor(number) != number) {
    return Error(ErrorKind::invalid,
                 std::string(key) + ": expected a whole number of 0 or more, got " + value.dump());
  }
  return static_cast<int64_t>(number);
}

}  // namespace

std::string_view to_text(InstanceState state) {
  return kStates[static_cast<size_t>(state)];
}

std::optional<InstanceState> instance_state(std::string_view word) {
  for (size_t i = 0; i < kStates.size(); ++i) {
    if (word == kStates[i]) return static_cast<InstanceState>(i);
  }
  return std::nullopt;
}

std::string_view to_text(Scope scope) {
  return kScopes[static_cast<size_t>(scope)];
}
std::string_view to_text(Sent sent) {
  return kSent[static_cast<size_t>(sent)];
}

Error to_error(const ProviderError& error) {
  Json fields = {{"scope", to_text(error.scope)}, {"sent", to_text(error.sent)}};
  if (error.http != 0) fields["http"] = error.http;
  if (!error.code.empty()) fields["code"] = error.code;
  if (!error.request_id.empty()) fields["request_id"] = error.request_id;
  if (error.retry_after) fields["retry_after"] = *error.retry_after;
  if (error.created_id) fields["created_id"] = *error.created_id;
  return Error(error.kind, error.message, std::move(fields));
}

Result<OfferQuery> query_from_json(const Json& value) {
  if (!value.is_object()) return Error(ErrorKind::invalid, "offers: expected a table as query");
  OfferQuery query;
  Json gpus = read_json(value, "gpu");
  if (gpus.is_string()) gpus = Json::array({gpus});
  if (gpus.is_array()) {
    for (const Json& gpu : gpus) {
      if (!gpu.is_string()) {
        return Error(ErrorKind::invalid, "gpu: expected names, got " + gpu.dump());
      }
      query.gpu.push_back(gpu.get<std::string>());
    }
  }
  Result<int64_t> cpus = whole(value, "cpus");
  if (!cpus) return cpus.error();
  Result<int64_t> memory = whole(value, "memory");
  if (!memory) return memory.error();
  Result<int64_t> disk = whole(value, "disk");
  if (!disk) return disk.error();
  query.cpus = static_cast<int>(std::min<int64_t>(*cpus, INT32_MAX));
  query.memory = *memory;
  query.disk = *disk;
  query.spot = field_or(value, "spot", false);
  query.max_price = field_or(value, "max_price", 0.0);
  query.region = field_or(value, "region", std::string());
  query.settings = read_json(value, "settings");
  return query;
}

Json to_json(const Offer& offer) {
  Json value = {{"id", offer.id},         {"provider", offer.provider},
                {"region", offer.region}, {"zone", offer.zone},
                {"type", offer.type},     {"cpus", offer.cpus},
                {"memory", offer.memory}, {"disk", offer.disk},
                {"price", offer.price},   {"spot", offer.spot},
                {"raw", offer.raw}};
  if (offer.gpu) {
    value["gpu"] = {
        {"name", offer.gpu->name}, {"count", offer.gpu->count}, {"memory", offer.gpu->memory}};
  }
  if (offer.reliability) value["reliability"] = *offer.reliability;
  if (offer.traffic_in > 0) value["traffic_in"] = offer.traffic_in;
  if (offer.traffic_out > 0) value["traffic_out"] = offer.traffic_out;
  return value;
}

Result<Offer> offer_from_json(const Json& value) {
  if (!value.is_object()) return Error(ErrorKind::invalid, "offer: expected a table");
  Offer offer;
  offer.id = field_or(value, "id", std::string());
  offer.provider = field_or(value, "provider", std::string());
  offer.region = field_or(value, "region", std::string());
  offer.zone = field_or(value, "zone", std::string());
  offer.type = field_or(value, "type", std::string());
  Json gpu = read_json(value, "gpu");
  if (gpu.is_object()) {
    offer.gpu = Gpu{field_or(gpu, "name", std::string()), field_or(gpu, "count", 0),
                    field_or(gpu, "memory", int64_t{0})};
  }
  offer.cpus = field_or(value, "cpus", 0);
  offer.memory = field_or(value, "memory", int64_t{0});
  offer.disk = field_or(value, "disk", int64_t{0});
  offer.price = field_or(value, "price", 0.0);
  offer.spot = field_or(value, "spot", false);
  Json reliability = read_json(value, "reliability");
  if (reliability.is_number()) offer.reliability = reliability.get<double>();
  offer.raw = read_json(value, "raw");
  if (offer.id.empty()) return Error(ErrorKind::invalid, "offer: has no id");
  return offer;
}

Json to_json(const Spec& spec) {
  return {{"name", spec.name},   {"image", spec.image},         {"disk", spec.disk},
          {"spot", spec.spot},   {"max_price", spec.max_price}, {"lifetime", spec.lifetime},
          {"lease", spec.lease}, {"settings", spec.settings}};
}

Spec spec_from_json(const Json& value) {
  Spec spec;
  spec.name = field_or(value, "name", std::string());
  spec.image = field_or(value, "image", std::string());
  spec.disk = field_or(value, "disk", int64_t{0});
  spec.spot = field_or(value, "spot", false);
  spec.max_price = field_or(value, "max_price", 0.0);
  spec.lifetime = field_or(value, "lifetime", 0.0);
  spec.lease = field_or(value, "lease", 0.0);
  spec.settings = read_json(value, "settings");
  return spec;
}

Json to_json(const Handle& handle) {
  return {{"provider", handle.provider}, {"account", handle.account}, {"region", handle.region},
          {"zone", handle.zone},         {"id", handle.id},           {"tag", handle.tag},
          {"extra", handle.extra}};
}

Handle handle_from_json(const Json& value) {
  Handle handle;
  handle.provider = field_or(value, "provider", std::string());
  handle.account = field_or(value, "account", std::string());
  handle.region = field_or(value, "region", std::string());
  handle.zone = field_or(value, "zone", std::string());
  handle.id = field_or(value, "id", std::string());
  handle.tag = field_or(value, "tag", std::string());
  handle.extra = read_json(value, "extra");
  return handle;
}

Json to_json(const Caps& caps) {
  constexpr std::array kWords = {"token", "name", "lookup"};
  return {
      {"name", caps.name},         {"idempotency", kWords[static_cast<size_t>(caps.idempotency)]},
      {"settle", caps.settle},     {"poll", caps.poll},
      {"spot", caps.spot},         {"stop", caps.stop},
      {"lifetime", caps.lifetime}, {"drill", caps.drill},
      {"kind", caps.kind},         {"secrets", caps.secrets}};
}

Co<Result<Json>> Provider::drill(Json) {
  co_return Error(ErrorKind::unsupported, "faults cannot be caused on " + caps().name +
                                              "; only the local provider has drills");
}

Result<Json> Provider::bill() {
  return Error(ErrorKind::unsupported, caps().name + " gives no bill");
}

}  // namespace choline
