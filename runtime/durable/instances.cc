#include "durable/instances.h"

#include <algorithm>
#include <cstdlib>

#include "base/log.h"
#include "base/text.h"
#include "base/time.h"
#include "link/bootstrap.h"
#include "link/pipe_link.h"
#include "link/ssh_link.h"
#include "provider/providers.h"

namespace choline {
namespace {

// What an instance here has of this process's environment; the rest is not its business.
constexpr const char* kPassedOn[] = {"PATH", "LANG",    "LC_ALL",          "TZ",
                                     "USER", "LOGNAME", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"};

PipeLinkOptions pipe_options(const Endpoint& endpoint) {
  PipeLinkOptions options;
  options.argv = endpoint.argv;
  options.clean_env = true;
  options.dir = endpoint.folder;
  for (const char* name : kPassedOn) {
    if (const char* value = std::getenv(name)) options.env[name] = value;
  }
  for (const auto& [name, value] : endpoint.env) options.env[name] = value;
  return options;
}

constexpr double kPatienceWithAnEnd = 60;  // seconds

Error not_standing(const ResourceRow& row, const std::optional<Instance>& seen) {
  std::string subject = "instance " + choline::quoted(row.name) + " (" + row.tag + ")";
  Json fields = {{"tag", row.tag}, {"provider", row.provider}};
  if (!seen) return Error(ErrorKind::lost, subject + " is unknown to " + row.provider, fields);
  std::string reason = seen->ended > 0 ? ", since " + to_rfc3339(seen->ended) : "";
  if (!seen->reason.empty()) reason += ": " + seen->reason;
  if (seen->state == InstanceState::preempted) {
    return Error(ErrorKind::preempted, subject + " was preempted" + reason, fields);
  }
  return Error(ErrorKind::lost, subject + " is " + seen->state_raw + " at " + row.provider + reason,
               fields);
}

bool may_stand(const std::optional<Instance>& seen) {
  if (!seen) return false;
  if (!seen->state) return true;  // a word we do not know is no proof
  return *seen->state == InstanceState::requested || *seen->state == InstanceState::starting ||
         *seen->state == InstanceState::running;
}

constexpr std::string_view kBare = "ssh://";

bool is_bare(const std::string& tag) {
  return tag.starts_with(kBare);
}

bool is_final(const Error& error) {
  return error.kind == ErrorKind::preempted || error.kind == ErrorKind::lost ||
         error.kind == ErrorKind::not_found || error.kind == ErrorKind::auth ||
         error.kind == ErrorKind::unsupported || error.kind == ErrorKind::invalid ||
         error.kind == ErrorKind::refused;
}

std::string whole_seconds(double seconds) {
  return std::to_string(static_cast<int>(seconds)) + " s";
}

}  // namespace

struct Instances::Connection {
  Client client;
  std::optional<Error> error;
  std::shared_ptr<Event> opened;  // shared with those who wait for this try
  Started opening;
  std::string root;  // of a jailed instance
  std::optional<AgentRoute> route;
  std::optional<SshTarget> ssh;
  bool answered = false;         // at least once
  std::optional<double> spoken;  // ticks, when people were last told that it does not answer
};

Instances::Instances(Loop& loop, Store& store, Providers& providers, InstancesOptions options)
    : loop_(loop),
      store_(store),
      providers_(providers),
      options_(std::move(options)),
      secrets_(options_.config),
      leases_(*this) {}

Instances::~Instances() = default;

Result<ResourceRow> Instances::row(const std::string& tag) {
  Result<std::optional<ResourceRow>> found = find_resource(store_.db(), tag);
  if (!found) return found.error();
  if (!*found) return Error(ErrorKind::not_found, "there is no instance " + choline::quoted(tag));
  return std::move(**found);
}

Co<Result<std::optional<Instance>>> Instances::fetch(ResourceRow row) {
  Result<Provider*> provider = providers_.find(row.provider);
  if (!provider) co_return provider.error();
  Handle handle = handle_from_json(row.handle);
  Result<std::optional<Instance>> seen = co_await (*provider)->get(handle);
  co_return seen;
}

Co<Result<Instances::Client>> Instances::open(std::string tag) {
  if (is_bare(tag)) {
    Result<Client> bare = co_await open_bare(tag);
    co_return bare;
  }
  Result<ResourceRow> found = row(tag);
  if (!found) co_return found.error();
  if (found->state == ResourceState::gone || found->state == ResourceState::voided) {
    co_return Error(ErrorKind::lost, "instance " + choline::quoted(found->name) + " has ended");
  }
  Result<std::optional<Instance>> seen = co_await fetch(*found);
  if (!seen) co_return seen.error();
  if (!may_stand(*seen)) co_return not_standing(*found, *seen);
  if ((*seen)->state != InstanceState::running) {
    co_return Error(ErrorKind::transient,
                    "instance " + choline::quoted(found->name) + " is still " + (*seen)->state_raw);
  }
  if (open_agent) {
    Result<std::unique_ptr<Link>> ready_link = open_agent(**seen);
    if (!ready_link) co_return ready_link.error();
    Result<std::unique_ptr<AgentClient>> greeted =
        co_await AgentClient::open(loop_, std::move(*ready_link));
    if (!greeted) co_return greeted.error();
    co_return Client(std::move(*greeted));
  }
  if ((*seen)->endpoint.kind == Endpoint::Kind::none) {
    co_return Error(
        ErrorKind::unsupported,
        "no link leads to instance " + choline::quoted(found->name) + " of " + found->provider);
  }
  Result<Client> agent = co_await greet((*seen)->endpoint, tag, tag);
  if (!agent) co_return agent;
  LeaseRequest terms = lease_terms(*found, **seen, loop_.wall());
  Status told = co_await leases_.tell(*found, std::move(terms), *agent);
  if (!told) co_return told.error();
  co_return agent;
}

// The ssh program says in words why it did not get there; some of it will not pass by waiting.
Error Instances::explain(const SshTarget& target, const Error& error) {
  if (ssh_complaint(error.message) == SshComplaint::other) return error;
  return providers_.ssh().explain(target, error.message);
}

Co<Result<Instances::Client>> Instances::open_bare(std::string name) {
  Result<SshTarget> target = parse_ssh_target(name.substr(kBare.size()));
  if (!target) co_return target.error();
  Endpoint endpoint;
  endpoint.kind = Endpoint::Kind::ssh;
  endpoint.ssh = std::move(*target);
  Result<Client> agent = co_await greet(std::move(endpoint), "", name);
  co_return agent;
}

// A shell there once more; by ssh it takes the program, which has ciphers made for bulk.
std::optional<AgentRoute> Instances::route_to(const Endpoint& endpoint, const std::string& agent) {
  AgentRoute route;
  route.agent = agent;
  if (endpoint.kind != Endpoint::Kind::ssh) {
    route.shell = pipe_options(endpoint);
    return route;
  }
  Result<Ssh::Program> program = providers_.ssh().program(endpoint.ssh, "exec /bin/sh");
  if (!program || program->argv.empty()) return std::nullopt;
  route.shell.argv = std::move(program->argv);
  route.shell.argv.insert(
      route.shell.argv.begin() + 1,
      {"-o", "Ciphers=^aes128-gcm@openssh.com,aes256-gcm@openssh.com", "-o", "Compression=no"});
  route.shell.clean_env = true;
  for (auto& [name, value] : program->env) route.shell.env[name] = value;
  return route;
}

// The link, the agent at its end, and a first word with it.
Co<Result<Instances::Client>> Instances::greet(Endpoint endpoint, std::string tag,
                                               std::string key) {
  bool by_ssh = endpoint.kind == Endpoint::Kind::ssh;
  Result<std::unique_ptr<Link>> link = std::unique_ptr<Link>();
  if (by_ssh) {
    link = co_await open_ssh_link(loop_, providers_.ssh(), endpoint.ssh, "exec /bin/sh");
  } else {
    link = open_pipe_link(loop_, pipe_options(endpoint));
  }
  if (!link) co_return link.error();
  if (!agents_) {
    Result<std::shared_ptr<const AgentPrograms>> loaded = load_agents(options_.agents);
    if (!loaded) co_return loaded.error();
    agents_ = std::move(*loaded);
  }
  BootstrapOptions options;
  options.agents = agents_;
  options.tag = tag;
  options.root = endpoint.root;
  options.jail = !endpoint.root.empty();
  if (auto known = connections_.find(tag); known != connections_.end())
    known->second->root = endpoint.root;
  Result<Bootstrapped> booted = co_await bootstrap(loop_, std::move(*link), std::move(options));
  if (!booted) co_return by_ssh ? explain(endpoint.ssh, booted.error()) : booted.error();
  if (auto known = connections_.find(key); known != connections_.end()) {
    known->second->route = route_to(endpoint, booted->path);
    if (by_ssh) known->second->ssh = endpoint.ssh;
  }
  Result<std::unique_ptr<AgentClient>> opened =
      co_await AgentClient::open(loop_, std::move(booted->link));
  if (!opened) co_return opened.error();
  co_return Client(std::move(*opened));
}

Co<Result<Instances::Client>> Instances::client(std::string tag) {
  std::shared_ptr<Connection>& known = connections_[tag];
  if (!known) known = std::make_shared<Connection>();
  std::shared_ptr<Connection> connection = known;
  if (connection->client && connection->client->alive()) co_return connection->client;
  if (!connection->opening.active()) {
    connection->client = nullptr;
    connection->error.reset();
    connection->opened = std::make_shared<Event>(loop_);
    // The try belongs to the connection: whoever waits for it may be cancelled.
    Connection* raw = connection.get();
    std::function<void(Result<Client>)> finish = [raw](Result<Client> result) {
      if (result) {
        raw->client = std::move(*result);
        raw->answered = true;
      } else {
        raw->error = result.error();
      }
      raw->opened->set();
    };
    connection->opening = Started(open(tag), std::move(finish));
  }
  std::shared_ptr<Event> opened = connection->opened;
  Event::Waiter waiter(*opened);
  co_await waiter;
  if (connection->client) co_return connection->client;
  if (connection->error) co_return *connection->error;
  co_return Error(ErrorKind::transient, "the link to " + tag + " was closed while it was opened");
}

Co<Result<Instances::Client>> Instances::reach(std::string tag) {
  // A machine that slept has not been patient: of each try no more counts than it may take.
  constexpr double kLongestTry = 60;
  // A person who waits hears of it, soon and then now and then.
  constexpr double kFirstWord = 5, kNextWord = 60;
  double waited = 0;
  double pause = 0.2;
  for (;;) {
    double began = loop_.ticks();
    Result<Client> opened = co_await client(tag);
    if (opened) co_return opened;
    Error error = opened.error();
    // A link that died while it was opened says `lost` too; only the provider's word is final.
    Status stands = co_await standing(tag);
    if (!stands) co_return stands.error();
    if (error.kind != ErrorKind::lost && is_final(error)) co_return error;
    if (is_bare(tag) && !connections_[tag]->answered) co_return error;
    // It is ending, and its provider may take a while to say so.
    if (is_ending(error) && waited > kPatienceWithAnEnd) co_return error;
    if (waited > options_.patience) {
      co_return Error(ErrorKind::lost, "no word from instance " + tag + " for " +
                                           whole_seconds(options_.patience) + ": " + error.message);
    }
    std::string said = "instance " + tag + ": " + error.message;
    auto known = connections_.find(tag);  // it may have been disconnected meanwhile
    bool may_speak = waited >= kFirstWord && known != connections_.end();
    double now = loop_.ticks();
    if (may_speak && now - known->second->spoken.value_or(-kNextWord) >= kNextWord) {
      known->second->spoken = now;
      log_warning(said + "; tried again for " + whole_seconds(options_.patience - waited));
    } else {
      log_info(said);
    }
    Sleep sleep(loop_, pause);
    co_await sleep;
    waited += std::min(loop_.ticks() - began, kLongestTry);
    pause = std::min(pause * 1.6, 15.0);
  }
}

Co<Result<AgentFacts>> Instances::ready(std::string tag, double timeout) {
  double until = loop_.ticks() + (timeout > 0 ? timeout : 3600);
  std::string last = "it did not answer";
  double pause = 0.1;
  std::optional<double> refused;  // since when the login is
  while (loop_.ticks() < until) {
    std::optional<Result<Client>> opened =
        co_await WithTimeout<Result<Client>>(loop_, until - loop_.ticks(), client(tag));
    if (!opened) break;
    if (*opened) {
      Client agent = **opened;
      std::optional<Result<AgentFacts>> facts =
          co_await WithTimeout<Result<AgentFacts>>(loop_, until - loop_.ticks(), agent->facts());
      if (!facts) break;
      if (*facts) co_return *facts;
      last = facts->error().message;
    } else {
      const Error& error = opened->error();
      last = error.message;
      bool is_refused = error.kind == ErrorKind::auth;
      if (is_refused && !refused) refused = loop_.ticks();
      bool is_early = is_refused && loop_.ticks() < *refused + caps(tag).login_lag;
      if (error.kind != ErrorKind::lost && is_final(error) && !is_early) co_return error;
    }
    Status stands = co_await standing(tag);
    if (!stands) co_return stands.error();
    Sleep sleep(loop_, std::min(pause, std::max(0.0, until - loop_.ticks())));
    co_await sleep;
    pause = std::min(pause * 1.4, 5.0);
  }
  co_return Error(ErrorKind::timeout, "instance " + tag + " was not ready after " +
                                          std::to_string(static_cast<int>(timeout)) +
                                          " s: " + last);
}

Co<Result<Json>> Instances::look(std::string tag) {
  Result<ResourceRow> found = row(tag);
  if (!found) co_return found.error();
  if (found->state == ResourceState::gone || found->state == ResourceState::voided) {
    co_return Json{{"state", "gone"}};
  }
  Result<std::optional<Instance>> seen = co_await fetch(*found);
  if (!seen) co_return seen.error();
  if (!*seen) co_return Json{{"state", "gone"}};
  Json told = {
      {"state", (*seen)->state ? std::string(to_text(*(*seen)->state)) : (*seen)->state_raw}};
  if (!(*seen)->reason.empty()) told["reason"] = (*seen)->reason;
  co_return told;
}

Co<Status> Instances::standing(std::string tag) {
  if (is_bare(tag)) co_return done();  // nobody takes it away
  Result<ResourceRow> found = row(tag);
  if (!found) co_return found.error();
  if (found->state == ResourceState::gone || found->state == ResourceState::voided) {
    co_return Error(ErrorKind::lost, "instance " + choline::quoted(found->name) + " has ended");
  }
  Result<std::optional<Instance>> seen = co_await fetch(*found);
  if (seen && !may_stand(*seen)) co_return not_standing(*found, *seen);
  co_return done();
}

Caps Instances::caps(const std::string& tag) {
  Result<ResourceRow> found = row(tag);
  if (!found) return {};
  Result<Provider*> provider = providers_.find(found->provider);
  return provider ? (*provider)->caps() : Caps();
}

double Instances::poll(const std::string& tag) {
  return caps(tag).poll;
}

std::string Instances::true_path(const std::string& tag, const std::string& path) {
  auto known = connections_.find(tag);
  if (known == connections_.end() || known->second->root.empty() || !path.starts_with('/'))
    return path;
  const std::string& root = known->second->root;
  return path == root || path.starts_with(root + "/") ? path : root + path;
}

std::optional<AgentRoute> Instances::route(const std::string& tag) {
  auto known = connections_.find(tag);
  return known == connections_.end() ? std::nullopt : known->second->route;
}

std::optional<SshTarget> Instances::ssh_target(const std::string& tag) {
  auto known = connections_.find(tag);
  return known == connections_.end() ? std::nullopt : known->second->ssh;
}

void Instances::drop(const std::string& tag) {
  leases_.drop(tag);
  auto known = connections_.find(tag);
  if (known == connections_.end()) return;
  std::shared_ptr<Connection> connection = known->second;
  connections_.erase(known);
  connection->opening = Started();
  if (connection->client) connection->client->close();
  if (connection->opened) connection->opened->set();
}

}  // namespace choline
