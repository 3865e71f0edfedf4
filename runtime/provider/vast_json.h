// What Vast.ai is asked for and what it answers, as pure functions over JSON. Facts and their
// sources: docs/design/vast.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "provider/contract.h"

namespace choline {

// The provider's settings in a cholfile: vast { reliability = 0.98, countries = { "DE" } }.
struct VastSettings {
  double reliability = 0.95;           // 0..1, at least
  bool verified = true;                // only hosts that Vast.ai has verified
  bool datacenter = false;             // only hosts in data centres
  std::vector<std::string> countries;  // codes of two letters; empty: anywhere
  double down = 0;                     // Mbit/s, at least
  double up = 0;
  double cuda = 0;            // version, at least: 12.4
  double duration = 0;        // seconds that the host must stay for rent
  std::optional<double> bid;  // USD per hour; unset: the lowest that wins now
};
Result<VastSettings> vast_settings(const Json& settings);

// The bodies of searches for what `query` asks: one for each number of GPUs. `names` are all the
// GPU names that Vast.ai knows; with none, names are compared in the answer only.
std::vector<Json> vast_searches(const OfferQuery& query, const VastSettings& settings,
                                const std::vector<std::string>& names);
// Those offers of an answer that are what `query` asks for. The price has GPU and disk in it.
Result<Offers> vast_offers(const Json& answer, const OfferQuery& query,
                           const VastSettings& settings);

// The body of a create call. `key` is a public ssh key in authorized_keys form.
Result<Json> vast_create(const Spec& spec, const Offer& offer, const std::string& tag,
                         const std::string& key);

// The id of what a create call made, whatever else the answer says: a bid that is too low is
// answered with an error, and yet there is a stopped instance that costs.
std::optional<std::string> vast_created(const Json& answer);

// An answer that is no success. `text` is the body where it is no JSON.
ProviderError vast_error(int status, const Json& answer, const std::string& text);
// Does the answer say that there is no such instance?
bool vast_is_absent(int status, const Json& answer);

// One instance as a list or a read shows it. `now` in wall seconds.
Result<Instance> vast_instance(const Json& row, double now);

// The script that ends the instance from within, by the key that Vast.ai puts into each container
// and that can do nothing else; with curl, wget or python3, whichever the image has.
std::string vast_end_script(const std::string& url);

}  // namespace choline
