#include "provider/vast_json.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "provider/vast_fields.h"

namespace choline {
namespace {

constexpr size_t kMostOnstart = 4096;  // bytes, by Vast.ai's limit
constexpr const char* kDefaultImage = "vastai/pytorch:@vastai-automatic-tag";

// In their own words first: the status says little.
struct Meaning {
  std::string_view word;  // in the code or the message
  ErrorKind kind;
  Scope scope;
};
constexpr std::array kMeanings = {
    Meaning{"Invalid user key", ErrorKind::auth, Scope::account},
    Meaning{"auth_error", ErrorKind::auth, Scope::account},
    Meaning{"no_such_ask", ErrorKind::no_capacity, Scope::offer},
    Meaning{"no longer available", ErrorKind::no_capacity, Scope::offer},
    Meaning{"missing_billing", ErrorKind::quota, Scope::account},
    Meaning{"spend_rate_limit", ErrorKind::quota, Scope::account},
    Meaning{"insufficient", ErrorKind::quota, Scope::account},
    Meaning{"invalid_price", ErrorKind::price, Scope::offer},
    Meaning{"rate_limit", ErrorKind::transient, Scope::account},
    Meaning{"too frequent", ErrorKind::transient, Scope::account},
    Meaning{"no_such_instance", ErrorKind::not_found, Scope::request},
    Meaning{"no_ssh_key", ErrorKind::invalid, Scope::offer},
};

Meaning meaning_of(int status) {
  switch (status) {
    case 401:
    case 403:
      return {"", ErrorKind::auth, Scope::account};
    case 402:
      return {"", ErrorKind::quota, Scope::account};
    case 404:
      return {"", ErrorKind::not_found, Scope::request};
    case 410:
      return {"", ErrorKind::no_capacity, Scope::offer};
    case 429:
      return {"", ErrorKind::transient, Scope::account};
    default:
      break;
  }
  if (status >= 500) return {"", ErrorKind::transient, Scope::provider};
  return {"", ErrorKind::invalid, Scope::request};
}

struct Condition {
  std::optional<InstanceState> state;
  std::string reason;
};

// Why an instance stands still that nobody here has stopped.
Condition stopped_condition(const Json& row, double now) {
  double end = vast::number_of(row, "end_date");
  if (end > 0 && end <= now) {
    return {InstanceState::preempted, "the host's offer has ended"};
  }
  if (vast::member(row, "is_bid") != true) {
    return {InstanceState::stopped, "stopped; its disk is still paid for"};
  }
  double bid = vast::number_of(row, "dph_base"), least = vast::number_of(row, "min_bid");
  std::string by = least > bid && bid > 0 ? " (others bid more)" : "";
  return {InstanceState::preempted, "outbid" + by + "; its disk is still paid for"};
}

Condition condition_of(const Json& row, double now) {
  std::string actual = vast::text_of(row, "actual_status");
  std::string intended = vast::text_of(row, "intended_status");
  std::string current = vast::text_of(row, "cur_state");
  std::string told = vast::text_of(row, "status_msg");
  if (current == "stopped" && intended != "running") return stopped_condition(row, now);
  if (actual == "stopped" || actual == "frozen") return stopped_condition(row, now);
  if (actual == "exited") {
    return {InstanceState::failed, told.empty() ? "its container has ended" : told};
  }
  if (actual == "created" || actual == "loading" || actual.empty()) {
    std::string lower = to_lower(told);
    for (const char* sign : {"error", "failed", "denied", "unauthorized", "no such image"}) {
      if (vast::contains(lower, sign)) return {InstanceState::failed, told};
    }
    bool early = actual.empty();
    return {early ? InstanceState::requested : InstanceState::starting, told};
  }
  if (actual == "rebooting" || actual == "recycling" || actual == "restarting") {
    return {InstanceState::starting, told};
  }
  if (actual == "running") {
    if (intended == "stopped") return {InstanceState::stopping, told};
    return {InstanceState::running, told};
  }
  return {std::nullopt, actual == "offline" ? "its host has no connection to Vast.ai" : told};
}

// The way past Vast.ai's proxy where the host has ports, else through it.
void set_address(const Json& row, Endpoint& endpoint) {
  SshTarget& target = endpoint.ssh;
  const Json& direct = vast::member(vast::member(row, "ports"), "22/tcp");
  if (direct.is_array() && !direct.empty()) {
    target.host = std::string(trim(vast::text_of(row, "public_ipaddr")));
    target.port = static_cast<int>(vast::number_of(direct.front(), "HostPort"));
  }
  if (target.host.empty() || target.port <= 0) {
    target.host = vast::text_of(row, "ssh_host");
    bool jupyter = vast::contains(vast::text_of(row, "image_runtype"), "jupyter");
    target.port = static_cast<int>(vast::number_of(row, "ssh_port")) + (jupyter ? 1 : 0);
  }
  bool known = !target.host.empty() && target.port > 0 && target.port < 65536;
  endpoint.kind = known ? Endpoint::Kind::ssh : Endpoint::Kind::none;
  target.user = "root";
  // Addresses and ports are given to others afterwards.
  target.known_as = "vast-" + vast::id_of(row, "id");
}

}  // namespace

Result<Json> vast_create(const Spec& spec, const Offer& offer, const std::string& tag,
                         const std::string& key) {
  // Its own start would put each login into tmux; the key need not be one of the account's.
  std::string start = "touch ~/.no_auto_tmux; mkdir -p ~/.ssh; chmod 700 ~/.ssh; printf '%s\\n' " +
                      shell_quote(key) +
                      " >> ~/.ssh/authorized_keys; "
                      "chmod 600 ~/.ssh/authorized_keys";
  if (start.size() > kMostOnstart) {
    return Error(ErrorKind::invalid, "vast: the public ssh key is too long to be sent");
  }
  Json body = {{"client_id", "me"},
               {"image", spec.image.empty() ? kDefaultImage : spec.image},
               {"env", Json::object()},
               {"price", nullptr},
               {"disk", vast::disk_gb(spec.disk)},
               {"label", tag},
               {"onstart", start},
               {"runtype", "ssh_direc ssh_proxy"},
               {"force", false},
               // A refusal rather than an instance that stands still and costs.
               {"cancel_unavail", true}};
  if (!spec.spot) return body;
  const Json& bid = vast::member(offer.raw, "bid");
  if (!bid.is_number()) return Error(ErrorKind::invalid, "vast: a spot offer without a bid");
  body["price"] = bid;
  return body;
}

std::optional<std::string> vast_created(const Json& answer) {
  std::string id = vast::id_of(answer, "new_contract");
  if (id.empty() || id == "0") return std::nullopt;
  return id;
}

ProviderError vast_error(int status, const Json& answer, const std::string& text) {
  ProviderError error;
  error.http = status;
  error.code = vast::text_of(answer, "error");
  std::string told = vast::text_of(answer, "msg");
  if (told.empty()) told = vast::text_of(answer, "detail");
  if (told.empty() && answer.is_null()) told = std::string(trim(text.substr(0, 200)));
  Meaning meaning = meaning_of(status);
  for (const Meaning& known : kMeanings) {
    if (error.code != known.word && !vast::contains(error.code, known.word) &&
        !vast::contains(told, known.word)) {
      continue;
    }
    meaning = known;
    break;
  }
  error.kind = meaning.kind;
  error.scope = meaning.scope;
  // A failure of theirs may come after the deed.
  error.sent = status >= 500 ? Sent::unknown : Sent::rejected;
  error.created_id = vast_created(answer);
  std::string what = error.code.empty() ? "HTTP " + std::to_string(status) : error.code;
  error.message = "vast: " + what + (told.empty() ? "" : ": " + told);
  return error;
}

bool vast_is_absent(int status, const Json& answer) {
  if (status == 200 && answer.is_object() && answer.contains("instances")) {
    return vast::member(answer, "instances").is_null();
  }
  std::string code = vast::text_of(answer, "error");
  return code == "no_such_instance" || (status == 404 && code == "not_found");
}

Result<Instance> vast_instance(const Json& row, double now) {
  Instance instance;
  instance.handle.provider = "vast";
  instance.handle.id = vast::id_of(row, "id");
  if (instance.handle.id.empty()) {
    return Error(ErrorKind::transient, "vast: an instance without an id");
  }
  instance.handle.tag = vast::text_of(row, "label");
  instance.handle.zone = vast::id_of(row, "machine_id");
  instance.handle.region = vast::country_of(vast::text_of(row, "geolocation"));
  Condition condition = condition_of(row, now);
  instance.state = condition.state;
  instance.reason = condition.reason;
  instance.state_raw =
      vast::text_of(row, "actual_status") + "/" + vast::text_of(row, "intended_status");
  instance.price = vast::number_of(row, "dph_total");
  instance.spot = vast::member(row, "is_bid") == true;
  instance.created = vast::number_of(row, "start_date");
  instance.expires = vast::number_of(row, "end_date");
  set_address(row, instance.endpoint);
  const SshTarget& target = instance.endpoint.ssh;
  instance.host = target.host.empty() ? "machine " + instance.handle.zone
                                      : target.host + ":" + std::to_string(target.port);
  return instance;
}

std::string vast_end_script(const std::string& url) {
  constexpr std::string_view kScript = R"sh(
of_start() { tr '\0' '\n' </proc/1/environ | sed -n "s/^$1=//p"; }
id=`of_start CONTAINER_ID`; key=`of_start CONTAINER_API_KEY`
[ -n "$id" ] && [ -n "$key" ] || { echo "no key of this container in /proc/1/environ" >&2; exit 1; }
url=@URL@/api/v0/instances/$id/
if command -v curl >/dev/null 2>&1; then
  printf 'header = "Authorization: Bearer %s"\n' "$key" |
    curl -fsS -K - -X DELETE -H 'Content-Type: application/json' -d '{}' "$url" && exit 0
fi
if command -v python3 >/dev/null 2>&1; then
  CHOLINE_KEY=$key python3 - "$url" <<'PYTHON' && exit 0
import os, sys, urllib.request
headers = {"Authorization": "Bearer " + os.environ["CHOLINE_KEY"], "Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request(sys.argv[1], b"{}", headers, method="DELETE"), timeout=30)
PYTHON
fi
if command -v wget >/dev/null 2>&1; then
  wget -q -O /dev/null --method=DELETE --header="Authorization: Bearer $key" \
    --header='Content-Type: application/json' --body-data='{}' "$url" && exit 0
fi
echo "neither curl nor python3 nor wget could end instance $id" >&2
exit 1
)sh";
  std::string script(kScript);
  size_t at = script.find("@URL@");
  script.replace(at, 5, shell_quote(url));
  return script;
}

}  // namespace choline
