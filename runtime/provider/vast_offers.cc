// Offers of Vast.ai: what is searched for, and which of the answer is what was asked.
#include <algorithm>
#include <cstdio>
#include <set>

#include "base/text.h"
#include "provider/match.h"
#include "provider/vast_fields.h"
#include "provider/vast_json.h"

namespace choline {
namespace {

constexpr double kMib = 1 << 20;
constexpr double kHoursOfMonth = 30 * 24;
constexpr int kMostOffers = 3000;  // in one answer

Error wrong_setting(const std::string& key, const std::string& expected) {
  return Error(ErrorKind::invalid, "vast: " + key + ": expected " + expected);
}

struct Wanted {
  std::string name;
  int count = 1;
};

Wanted wanted_of(const std::string& text) {
  Wanted wanted{text, 1};
  size_t colon = text.rfind(':');
  if (colon == std::string::npos) return wanted;
  wanted.name = text.substr(0, colon);
  std::from_chars(text.data() + colon + 1, text.data() + text.size(), wanted.count);
  return wanted;
}

// USD per hour for so much disk on the machine of an offer.
double disk_price(const Json& row, double gb) {
  return vast::number_of(row, "storage_cost") * gb / kHoursOfMonth;
}

Json at_least(double value) {
  return {{"gte", value}};
}

// The names that may be meant by `wanted`, its memory left aside: the answer tells that.
std::vector<std::string> names_like(const std::string& wanted,
                                    const std::vector<std::string>& names) {
  std::vector<std::string> like;
  for (const std::string& name : names) {
    for (int memory :
         {0, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 141, 144, 180, 192}) {
      Gpu gpu{name, 1, static_cast<int64_t>(memory) << 30};
      if (!gpu_matches(wanted, gpu)) continue;
      like.push_back(name);
      break;
    }
  }
  return like;
}

Offer offer_of(const Json& row, const OfferQuery& query, const VastSettings& settings) {
  Offer offer;
  offer.id = vast::id_of(row, "id");
  offer.provider = "vast";
  offer.region = vast::country_of(vast::text_of(row, "geolocation"));
  offer.zone = vast::id_of(row, "machine_id");
  offer.type = vast::text_of(row, "gpu_name");
  int count = static_cast<int>(vast::number_of(row, "num_gpus"));
  if (count > 0) {
    double memory = vast::number_of(row, "gpu_ram") * kMib;
    offer.gpu = Gpu{vast::text_of(row, "gpu_name"), count, static_cast<int64_t>(memory)};
  }
  double cores = vast::number_of(row, "cpu_cores");
  double effective = vast::number_of(row, "cpu_cores_effective", cores);
  offer.cpus = static_cast<int>(effective);
  // What the machine has is shared by the cores that one gets.
  double share = cores > 0 ? std::min(1.0, effective / cores) : 1;
  offer.memory = static_cast<int64_t>(vast::number_of(row, "cpu_ram") * kMib * share);
  offer.disk = static_cast<int64_t>(vast::number_of(row, "disk_space") * vast::kGb);
  offer.spot = query.spot;
  double disk = disk_price(row, vast::disk_gb(query.disk));
  double bid = settings.bid.value_or(vast::number_of(row, "min_bid"));
  // dph_total has the disk in it that the search told.
  offer.price = query.spot ? bid + disk : vast::number_of(row, "dph_total");
  double reliability =
      vast::number_of(row, "reliability2", vast::number_of(row, "reliability", -1));
  if (reliability >= 0) offer.reliability = reliability;
  offer.traffic_in = vast::number_of(row, "inet_down_cost");
  offer.traffic_out = vast::number_of(row, "inet_up_cost");
  offer.raw = {{"place", vast::text_of(row, "geolocation")},
               {"machine", vast::id_of(row, "machine_id")}};
  if (query.spot) offer.raw["bid"] = bid;
  for (const char* key : {"min_bid", "storage_cost", "inet_up", "inet_down", "inet_up_cost",
                          "inet_down_cost", "cuda_max_good", "dlperf", "duration"}) {
    if (vast::member(row, key).is_number()) offer.raw[key] = vast::member(row, key);
  }
  return offer;
}

bool is_asked_for(const OfferQuery& query, const Offer& offer) {
  if (query.gpu.empty()) return true;
  return std::any_of(query.gpu.begin(), query.gpu.end(), [&](const std::string& wanted) {
    return offer.gpu && gpu_matches(wanted, *offer.gpu) &&
           offer.gpu->count == wanted_of(wanted).count;
  });
}

Result<double> positive(const Json& settings, const char* key, double otherwise, double most) {
  const Json& value = vast::member(settings, key);
  if (value.is_null()) return otherwise;
  double number = value.is_number() ? value.get<double>() : -1;
  if (number >= 0 && number <= most) return number;
  char limit[32];
  std::snprintf(limit, sizeof limit, "%g", most);
  return wrong_setting(key, "a number from 0 to " + std::string(limit));
}

}  // namespace

Result<VastSettings> vast_settings(const Json& settings) {
  VastSettings result;
  struct Number {
    const char* key;
    double* into;
    double most;
  };
  for (const Number& one :
       {Number{"reliability", &result.reliability, 1}, Number{"down", &result.down, 1e6},
        Number{"up", &result.up, 1e6}, Number{"cuda", &result.cuda, 100},
        Number{"duration", &result.duration, 1e9}}) {
    Result<double> value = positive(settings, one.key, *one.into, one.most);
    if (!value) return value.error();
    *one.into = *value;
  }
  if (!vast::member(settings, "bid").is_null()) {
    Result<double> bid = positive(settings, "bid", 0, 128);
    if (!bid) return bid.error();
    result.bid = *bid;
  }
  if (vast::member(settings, "verified").is_boolean())
    result.verified = vast::member(settings, "verified");
  if (vast::member(settings, "datacenter").is_boolean()) {
    result.datacenter = vast::member(settings, "datacenter");
  }
  const Json& countries = vast::member(settings, "countries");
  for (const Json& country : countries.is_array() ? countries : Json::array()) {
    bool is_code = country.is_string() && country.get_ref<const std::string&>().size() == 2;
    if (!is_code) return wrong_setting("countries", "codes of two letters such as \"DE\"");
    result.countries.push_back(country.get<std::string>());
  }
  return result;
}

std::vector<Json> vast_searches(const OfferQuery& query, const VastSettings& settings,
                                const std::vector<std::string>& names) {
  Json common = {{"rentable", {{"eq", true}}},
                 {"rented", {{"eq", false}}},
                 {"external", {{"eq", false}}},
                 {"type", query.spot ? "bid" : "on-demand"},
                 {"order", Json::array({Json::array({"dph_total", "asc"})})},
                 {"limit", kMostOffers},
                 {"allocated_storage", vast::disk_gb(query.disk)},
                 {"disk_space", at_least(vast::disk_gb(query.disk))},
                 {"direct_port_count", at_least(1)}};
  if (settings.verified) common["verified"] = {{"eq", true}};
  if (settings.datacenter) common["datacenter"] = {{"eq", true}};
  if (settings.reliability > 0) common["reliability"] = at_least(settings.reliability);
  if (settings.down > 0) common["inet_down"] = at_least(settings.down);
  if (settings.up > 0) common["inet_up"] = at_least(settings.up);
  if (settings.cuda > 0) common["cuda_max_good"] = at_least(settings.cuda);
  if (settings.duration > 0) common["duration"] = at_least(settings.duration);
  if (!settings.countries.empty()) common["geolocation"] = {{"in", settings.countries}};
  if (query.cpus > 0) common["cpu_cores_effective"] = at_least(query.cpus);
  std::set<int> counts;
  for (const std::string& wanted : query.gpu) counts.insert(wanted_of(wanted).count);
  if (counts.empty()) return {common};
  std::vector<Json> searches;
  for (int count : counts) {
    std::set<std::string> wished;
    for (const std::string& wanted : query.gpu) {
      Wanted one = wanted_of(wanted);
      if (one.count != count) continue;
      for (std::string& name : names_like(one.name, names)) wished.insert(std::move(name));
    }
    if (!names.empty() && wished.empty()) continue;  // no such card there
    Json search = common;
    search["num_gpus"] = {{"eq", count}};
    if (!wished.empty()) search["gpu_name"] = {{"in", wished}};
    searches.push_back(std::move(search));
  }
  return searches;
}

Result<Offers> vast_offers(const Json& answer, const OfferQuery& query,
                           const VastSettings& settings) {
  const Json& rows = vast::member(answer, "offers");
  if (!rows.is_array()) {
    return Error(ErrorKind::transient, "vast: a search was answered without a list of offers");
  }
  Offers result;
  size_t dear = 0;
  double least = 0;
  for (const Json& row : rows) {
    Offer offer = offer_of(row, query, settings);
    bool fits = !offer.id.empty() && offer.price > 0 && is_asked_for(query, offer) &&
                offer.memory >= query.memory && offer.cpus >= query.cpus;
    if (query.spot && settings.bid && vast::number_of(row, "min_bid") > *settings.bid) fits = false;
    if (!fits) continue;
    if (query.max_price > 0 && offer.price > query.max_price) {
      if (dear++ == 0 || offer.price < least) least = offer.price;
      continue;
    }
    result.offers.push_back(std::move(offer));
  }
  std::stable_sort(result.offers.begin(), result.offers.end(),
                   [](const Offer& a, const Offer& b) { return a.price < b.price; });
  if (dear > 0) {
    char text[120];
    std::snprintf(text, sizeof text, "%zu offers cost more than $%.2f/h; the cheapest is $%.2f/h",
                  dear, query.max_price, least);
    result.reasons.push_back({ErrorKind::price, text});
  }
  return result;
}

}  // namespace choline
