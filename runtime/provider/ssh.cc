#include "provider/ssh.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "io/files.h"
#include "loop/gather.h"
#include "provider/match.h"

namespace choline {
namespace {

constexpr double kPatience = 40;     // seconds for one script: connecting takes at most 15
constexpr double kEndPatience = 90;  // removing a folder may take long

Error wrong(const std::string& key, const std::string& expected) {
  return Error(ErrorKind::invalid, "ssh: " + key + ": expected " + expected);
}

Result<std::vector<std::string>> texts(const Json& value, const std::string& key) {
  std::vector<std::string> found;
  if (value.is_string()) found.push_back(value.get<std::string>());
  if (value.is_array()) {
    for (const Json& one : value) {
      if (!one.is_string()) return wrong(key, "a list of texts");
      found.push_back(one.get<std::string>());
    }
  }
  if (found.empty()) return wrong(key, "a text or a list of texts");
  return found;
}

Json facts_json(const Handle& handle, const char* key) {
  if (!handle.extra.is_object()) return nullptr;
  return handle.extra.value(key, Json(nullptr));
}

}  // namespace

Result<SshSettings> ssh_settings(const Json& settings) {
  SshSettings result;
  if (!settings.is_object() || !settings.contains("hosts")) {
    return wrong("hosts", "the hosts to use, such as \"me@gpu1.lab\"");
  }
  Result<std::vector<std::string>> hosts = texts(settings["hosts"], "hosts");
  if (!hosts) return hosts.error();
  std::string transport = settings.value("transport", "auto");
  if (transport != "auto" && transport != "libssh2" && transport != "openssh") {
    return wrong("transport", "\"auto\", \"libssh2\" or \"openssh\"");
  }
  Json secret = settings.value("password", Json());
  std::string password = secret.is_object() ? secret.value("secret", "") : "";
  if (!secret.is_null() && password.empty()) {
    return wrong("password", "a secret, such as secret.NAME");
  }
  std::string jump = settings.value("jump", "");
  for (const std::string& one : split(jump, ',')) {
    Result<SshTarget> target = parse_ssh_target(one);
    if (!jump.empty() && !target) return target.error();
  }
  std::set<std::string> seen;
  for (const std::string& text : *hosts) {
    Result<SshTarget> target = parse_ssh_target(text);
    if (!target) return target.error();
    if (target->user.empty()) target->user = settings.value("user", "");
    if (target->port == 0) target->port = settings.value("port", 0);
    target->key = settings.value("key", "");
    target->jump = jump;
    target->password = password;
    target->transport = transport == "auto" ? "" : transport;
    if (seen.insert(to_text(*target)).second) result.hosts.push_back(std::move(*target));
  }
  result.places = settings.value("places", 1);
  if (result.places < 1) return wrong("places", "1 or more");
  result.price = settings.value("price", 0.0);
  if (result.price < 0) return wrong("price", "0 or more");
  return result;
}

SshProvider::SshProvider(Loop& loop, Ssh& ssh, std::string folder)
    : loop_(loop), ssh_(ssh), folder_(std::move(folder)) {
  caps_.name = "ssh";
  caps_.idempotency = Idempotency::lookup;
  caps_.settle = 20;  // a shell that lost us may still take a place
  caps_.poll = 30;
  caps_.kind = "host";
}

Co<SshProvider::Look> SshProvider::look_at(SshTarget target) {
  Result<std::string> answer = co_await ssh_.run(target, facts_script(), kPatience);
  if (!answer) {
    Look failed{std::move(target), answer.error()};
    co_return failed;
  }
  Look look{std::move(target), read_facts(*answer)};
  co_return look;
}

Co<std::vector<SshProvider::Look>> SshProvider::look_at_all(std::vector<SshTarget> targets) {
  std::vector<Co<Look>> works;
  works.reserve(targets.size());
  for (SshTarget& target : targets) works.push_back(look_at(std::move(target)));
  std::vector<Look> looks = co_await gather(loop_, std::move(works));
  co_return looks;
}

Co<Result<std::string>> SshProvider::check(Json settings) {
  Result<SshSettings> read = ssh_settings(settings);
  if (!read) co_return read.error();
  std::vector<Look> looks = co_await look_at_all(std::move(read->hosts));
  std::vector<std::string> names;
  for (const Look& look : looks) {
    if (!look.facts) co_return look.facts.error();
    names.push_back(to_text(look.target));
  }
  co_return join(names, ", ");
}

Co<Result<Offers>> SshProvider::offers(OfferQuery query) {
  if (!query.settings.is_object() || query.settings.empty())
    co_return Offers();  // asked in general
  Result<SshSettings> settings = ssh_settings(query.settings);
  if (!settings) co_return settings.error();
  std::vector<Look> looks = co_await look_at_all(settings->hosts);
  Offers result;
  for (const Look& look : looks) {
    const std::string host = to_text(look.target);
    if (!look.facts) {
      const Error& error = look.facts.error();
      bool is_auth = error.kind == ErrorKind::auth || error.kind == ErrorKind::refused;
      result.reasons.push_back(
          Offers::Reason{is_auth ? ErrorKind::auth : ErrorKind::no_capacity, error.message});
      continue;
    }
    Offer offer;
    offer.id = host;
    offer.provider = "ssh";
    offer.region = host;
    offer.type = "host";
    offer.price = settings->price;
    offer.raw = {
        {"host", look.facts->name}, {"target", to_json(look.target)}, {"places", settings->places}};
    Machine machine{host, look.facts->cpus, look.facts->memory, look.facts->disk, look.facts->gpus};
    std::vector<Offers::Reason> reasons = misfits(query, machine, offer);
    if (look.facts->taken >= settings->places) {
      std::string text =
          "all " + std::to_string(settings->places) + " places of " + host + " are taken";
      reasons.push_back(Offers::Reason{ErrorKind::no_capacity, std::move(text)});
    }
    if (!query.region.empty() && query.region != host) continue;
    if (reasons.empty()) result.offers.push_back(std::move(offer));
    result.reasons.insert(result.reasons.end(), reasons.begin(), reasons.end());
  }
  co_return result;
}

Status SshProvider::remember(const Launch& launch) const {
  if (Status made = make_folders(launches(), 0700); !made) return made;
  Json text = {{"target", to_json(launch.target)}, {"price", launch.price}};
  return write_atomic(launches() + "/" + launch.tag, to_text(text), 0600);
}

Result<std::vector<SshProvider::Launch>> SshProvider::remembered(const std::string& prefix) const {
  std::vector<Launch> found;
  Result<std::optional<FileInfo>> folder = file_info(launches());
  if (!folder) return folder.error();
  if (!*folder) return found;
  Result<std::vector<std::string>> names = list_folder(launches());
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (!name.starts_with(prefix) || name.find(".tmp-") != std::string::npos) continue;
    Result<std::string> text = read_file(launches() + "/" + name);
    if (!text) continue;  // ended by another process a moment ago
    Result<Json> value = parse_json(*text);
    if (!value || !value->is_object()) {
      return Error(ErrorKind::io, "'" + launches() + "/" + name + "' cannot be read");
    }
    found.push_back(Launch{name, ssh_target_from_json(value->value("target", Json())),
                           value->value("price", 0.0)});
  }
  return found;
}

Instance SshProvider::instance_of(const Launch& launch, const SshPlace& place) const {
  Instance instance;
  instance.handle.provider = "ssh";
  instance.handle.region = to_text(launch.target);
  instance.handle.id = to_text(launch.target) + "/" + launch.tag;
  instance.handle.tag = launch.tag;
  instance.handle.extra = {{"target", to_json(launch.target)}, {"price", launch.price}};
  instance.state = InstanceState::running;
  instance.state_raw = "place taken";
  instance.price = launch.price;
  instance.created = place.since;
  instance.host = to_text(launch.target);
  instance.endpoint.kind = Endpoint::Kind::ssh;
  instance.endpoint.ssh = launch.target;
  instance.endpoint.root = place.root;
  instance.endpoint.end = {"/bin/sh", "-c", leave_script(launch.tag)};
  return instance;
}

Co<Launched> SshProvider::launch(Spec, Offer offer, std::string token) {
  ProviderError error;
  error.sent = Sent::no;
  error.kind = ErrorKind::invalid;
  Launch launch{token, ssh_target_from_json(offer.raw.value("target", Json())), offer.price};
  int places = offer.raw.value("places", 1);
  if (launch.target.host.empty()) {
    error.message = "ssh: the offer names no host";
    co_return error;
  }
  Status noted = remember(launch);
  if (!noted) {
    error.kind = noted.error().kind;
    error.message = noted.error().message;
    co_return error;
  }
  Result<std::string> answer =
      co_await ssh_.run(launch.target, take_script(token, places), kPatience);
  Result<std::optional<SshPlace>> place =
      answer ? read_taken(*answer) : Result<std::optional<SshPlace>>(answer.error());
  if (!place) {
    bool was_no_login =
        place.error().kind == ErrorKind::auth || place.error().kind == ErrorKind::refused;
    error.kind = was_no_login ? ErrorKind::auth : ErrorKind::transient;
    error.scope = Scope::machine;
    error.sent = was_no_login ? Sent::rejected : Sent::unknown;
    error.message = place.error().message;
    co_return error;
  }
  if (!*place) {
    error.kind = ErrorKind::no_capacity;
    error.scope = Scope::machine;
    error.sent = Sent::rejected;
    error.message =
        "all " + std::to_string(places) + " places of " + to_text(launch.target) + " are taken";
    Status forgotten = remove_tree(launches() + "/" + token);
    if (!forgotten) error.message += "; " + forgotten.error().message;
    co_return error;
  }
  co_return instance_of(launch, **place).handle;
}

// What the hosts of these launches, all the same one, say of tags with the prefix.
Co<SshProvider::Part> SshProvider::list_host(std::vector<Launch> launches, std::string prefix) {
  Part part;
  Result<std::string> answer =
      co_await ssh_.run(launches.front().target, list_script(prefix), kPatience);
  if (!answer) co_return part;
  Result<std::vector<SshPlace>> places = read_list(*answer);
  if (!places) co_return part;
  part.complete = true;
  for (const SshPlace& place : *places) {
    Launch launch = launches.front();
    launch.tag = place.tag;
    for (const Launch& one : launches) {
      if (one.tag == place.tag) launch.price = one.price;
    }
    part.instances.push_back(instance_of(launch, place));
  }
  co_return part;
}

Co<Result<Found>> SshProvider::list_all(std::string owner_prefix) {
  Result<std::vector<Launch>> launched = remembered(owner_prefix);
  if (!launched) co_return launched.error();
  std::map<std::string, std::vector<Launch>> by_host;
  for (Launch& launch : *launched) by_host[to_text(launch.target)].push_back(std::move(launch));
  std::vector<Co<Part>> works;
  works.reserve(by_host.size());
  for (auto& [host, of_it] : by_host) works.push_back(list_host(std::move(of_it), owner_prefix));
  std::vector<Part> parts = co_await gather(loop_, std::move(works));
  Found found;
  for (Part& part : parts) {
    found.complete = found.complete && part.complete;
    for (Instance& one : part.instances) found.instances.push_back(std::move(one));
  }
  co_return found;
}

Co<Result<Found>> SshProvider::find(std::string tag) {
  Result<Found> found = co_await list_all(tag);
  if (found) {
    std::erase_if(found->instances, [&](const Instance& one) { return one.handle.tag != tag; });
  }
  co_return found;
}

Co<Result<std::optional<Instance>>> SshProvider::get(Handle handle) {
  Launch launch{handle.tag, ssh_target_from_json(facts_json(handle, "target")), 0};
  Json price = facts_json(handle, "price");
  if (price.is_number()) launch.price = price.get<double>();
  Result<std::string> answer = co_await ssh_.run(launch.target, list_script(handle.tag), kPatience);
  if (!answer) co_return answer.error();
  Result<std::vector<SshPlace>> places = read_list(*answer);
  if (!places) co_return places.error();
  std::optional<Instance> found;
  for (const SshPlace& place : *places) {
    if (place.tag == handle.tag) found = instance_of(launch, place);
  }
  co_return found;
}

Co<Result<Terminated>> SshProvider::terminate(Handle handle) {
  SshTarget target = ssh_target_from_json(facts_json(handle, "target"));
  Result<std::string> answer = co_await ssh_.run(target, end_script(handle.tag), kEndPatience);
  if (!answer) co_return answer.error();
  Result<bool> ended = read_ended(*answer);
  if (!ended) co_return ended.error();
  if (!*ended) co_return Terminated::refused_retry;
  Status forgotten = remove_tree(launches() + "/" + handle.tag);
  if (!forgotten) co_return forgotten.error();
  co_return Terminated::gone;
}

}  // namespace choline
