// What a provider must do, typed: native verbs from requests to offers, instances and errors. A
// provider holds no policy, no waiting for states and no hidden retry; the engine above does the
// create protocol and all repetition. See docs/design/providers.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "io/ssh.h"
#include "loop/co.h"

namespace choline {

// `preempted` is only said of an instance that left `running` without our asking.
enum class InstanceState {
  requested,
  starting,
  running,
  stopping,
  stopped,
  terminated,
  failed,
  preempted
};
std::string_view to_text(InstanceState state);
std::optional<InstanceState> instance_state(std::string_view word);

// What a refusal covers, so that the next choice can avoid just that.
enum class Scope { request, offer, machine, zone, region, account, provider };
std::string_view to_text(Scope scope);

// Was anything possibly created? `unknown` is the doubt that must be resolved by looking.
enum class Sent { no, rejected, unknown };
std::string_view to_text(Sent sent);

struct ProviderError {
  // One of: auth, no_capacity, quota, price, not_found, invalid, transient (rate limits too).
  ErrorKind kind = ErrorKind::transient;
  Scope scope = Scope::request;
  Sent sent = Sent::unknown;
  int http = 0;      // status, 0 when there was no reply
  std::string code;  // the provider's own word
  std::string message;
  std::string request_id;
  std::optional<double> retry_after;      // seconds
  std::optional<std::string> created_id;  // something was created in spite of the error: destroy it
};

// The same for everyone above: details in `fields`.
Error to_error(const ProviderError& error);

struct Gpu {
  std::string name;
  int count = 0;
  int64_t memory = 0;  // bytes, each
};

struct OfferQuery {
  std::vector<std::string> gpu;  // any of these: "RTX 4090", "A100-80GB:2"; empty: none is needed
  int cpus = 0;
  int64_t memory = 0;  // bytes
  int64_t disk = 0;    // bytes
  bool spot = false;
  double max_price = 0;  // USD per hour, 0: any
  std::string region;
  Json settings;  // of the provider's word in the cholfile
};
Result<OfferQuery> query_from_json(const Json& value);

struct Offer {
  std::string id;
  std::string provider;
  std::string region;
  std::string zone;
  std::string type;
  std::optional<Gpu> gpu;
  int cpus = 0;
  int64_t memory = 0;
  int64_t disk = 0;
  double price = 0;  // USD per hour
  bool spot = false;
  std::optional<double> reliability;  // 0..1
  double traffic_in = 0;              // USD for each 10^9 bytes to it; the price has none of it
  double traffic_out = 0;             // the same from it
  Json raw;                           // what launch needs and views may show
};
Json to_json(const Offer& offer);
Result<Offer> offer_from_json(const Json& value);

struct Offers {
  struct Reason {
    ErrorKind kind;    // no_capacity, price, quota, auth or invalid
    std::string text;  // for people, without the provider's name
  };
  std::vector<Offer> offers;    // cheapest first
  std::vector<Reason> reasons;  // why things that exist were left out
};

struct Spec {
  std::string name;  // the declaration's name, for people
  std::string image;
  int64_t disk = 0;
  bool spot = false;
  double max_price = 0;
  double lifetime = 0;  // seconds that it may live; 0: any time
  double lease = 0;     // seconds without a word after which it ends itself; 0: never
  Json settings;
};
Json to_json(const Spec& spec);
Spec spec_from_json(const Json& value);

// All that is needed to destroy the instance from a cold start.
struct Handle {
  std::string provider;
  std::string account;
  std::string region;
  std::string zone;
  std::string id;
  std::string tag;  // the token it was launched with
  Json extra;
};
Json to_json(const Handle& handle);
Handle handle_from_json(const Json& value);

// How a byte stream to a shell on the instance is opened.
struct Endpoint {
  enum class Kind { none, pipe, ssh };
  Kind kind = Kind::none;
  std::vector<std::string> argv;                         // pipe: the shell here
  std::vector<std::pair<std::string, std::string>> env;  // pipe: on top of a clean environment
  std::string folder;                                    // pipe: where it starts
  std::string root;  // all below which the agent may reach; empty: the home of the login
  // What the agent runs there to end the instance when its lease or lifetime is over, after all its
  // processes were killed, until it exits with 0; CHOLINE_END has "lease" or "lifetime", and
  // CHOLINE_ENDED the wall seconds. Empty: killing them is all that can be done.
  std::vector<std::string> end;
  SshTarget ssh;  // ssh: where its shell is
};

struct Instance {
  Handle handle;
  std::optional<InstanceState> state;  // nullopt: the provider's word is not known to us
  std::string state_raw;
  std::string reason;
  double price = 0;
  bool spot = false;
  double created = 0;  // wall seconds, 0 when unknown
  double ended = 0;    // wall seconds of a proven end, 0 when it lives or when that is unknown
  double expires = 0;  // wall seconds at which the provider takes it away, 0 when unknown
  std::string host;    // for people
  Endpoint endpoint;
};

struct Found {
  std::vector<Instance> instances;  // in order of creation where the provider tells it
  bool complete = true;             // false: never act on what is missing
};

enum class Idempotency { token, name, lookup };
enum class Terminated { accepted, gone, refused_retry };

struct Caps {
  std::string name;
  Idempotency idempotency = Idempotency::lookup;
  double settle =
      60;  // seconds; more than the longest flight of a launch plus the longest lag of a list
  double poll = 15;  // seconds between looks at an instance
  // Seconds that a new instance may refuse a login that it takes later: keys come after the door.
  double login_lag = 0;
  bool spot = false;
  bool stop = false;
  bool lifetime = false;             // ends instances by itself
  bool drill = false;                // faults can be caused
  std::string kind = "vm";           // vm, container, folder
  std::vector<std::string> secrets;  // that prove who we are, by name; none: nothing is needed
};
Json to_json(const Caps& caps);

using Launched = std::variant<Handle, ProviderError>;

class Provider {
 public:
  Provider() = default;
  Provider(const Provider&) = delete;
  Provider& operator=(const Provider&) = delete;
  virtual ~Provider() = default;

  virtual const Caps& caps() const = 0;
  // Is there an account to ask? False where none of its credentials is known here.
  virtual bool has_account() { return true; }
  // The cheapest call that proves the credentials; gives the account's name.
  virtual Co<Result<std::string>> check(Json settings) = 0;
  virtual Co<Result<Offers>> offers(OfferQuery query) = 0;
  // Returns as soon as an id is known, without waiting for `running`.
  virtual Co<Launched> launch(Spec spec, Offer offer, std::string token) = 0;
  virtual Co<Result<Found>> find(std::string tag) = 0;
  // nullopt: proven absent.
  virtual Co<Result<std::optional<Instance>>> get(Handle handle) = 0;
  // Accepted is not gone: the caller repeats until `get` proves it.
  virtual Co<Result<Terminated>> terminate(Handle handle) = 0;
  // Everything alive whose tag begins with `owner_prefix`; everything when it is empty.
  virtual Co<Result<Found>> list_all(std::string owner_prefix) = 0;

  // Causes a fault, where caps().drill says so.
  virtual Co<Result<Json>> drill(Json fault);
  // {seconds, usd, entries}: what the provider itself says it is owed.
  virtual Result<Json> bill();
};

}  // namespace choline
