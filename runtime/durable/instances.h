// The instances that this process talks to, by tag: their links, opened when first needed and again
// when they died, and what the provider says when they cannot be opened.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "durable/hearing.h"
#include "durable/leases.h"
#include "durable/rent.h"
#include "io/secret_source.h"
#include "link/agent_client.h"
#include "link/agent_program.h"
#include "link/pipe_link.h"
#include "loop/await.h"

namespace choline {

struct InstancesOptions {
  std::string state;                          // choline's state folder
  std::string config;                         // where credentials are
  std::map<std::string, std::string> agents;  // path of the agent program by `uname -m`
  double patience = 600;                      // seconds without a link before an instance is lost
  double lease = 86400;                       // seconds, where a cholfile says nothing; 0: none
};

struct AgentRoute {
  PipeLinkOptions shell;
  std::string agent;
};

class Instances {
 public:
  using Client =
      std::shared_ptr<AgentClient>;  // shared: a call may go on while a new link is opened

  Instances(Loop& loop, Store& store, Providers& providers, InstancesOptions options);
  Instances(const Instances&) = delete;
  Instances& operator=(const Instances&) = delete;
  ~Instances();

  RentWorld world() { return RentWorld{loop_, store_, providers_}; }
  Loop& loop() { return loop_; }
  Store& store() { return store_; }
  SecretSource& secrets() { return secrets_; }
  Leases& leases() { return leases_; }
  Hearing& hearing() { return hearing_; }
  // What a cholfile that says nothing gets. The agents of a simulation hold no leases.
  double default_lease() const { return open_agent ? 0 : options_.lease; }
  const InstancesOptions& options() const { return options_; }

  // In place of a tag, client(), reach(), ready() and true_path() take a bare host too,
  // "ssh://[user@]host[:port]": nothing is rented, and the agent stands in the user's home there.

  // The agent of a living instance. One try; an error of kind preempted or lost says that the
  // instance is no more, transient that it cannot be reached now.
  Co<Result<Client>> client(std::string tag);
  // The same with growing waits, until options().patience is used up: then it is lost.
  Co<Result<Client>> reach(std::string tag);
  // A host that has never answered is not waited for.
  // Waits until it runs, is linked and its agent answers.
  Co<Result<AgentFacts>> ready(std::string tag, double timeout);
  // {state, reason} by the provider; state "gone" when it proves it absent.
  Co<Result<Json>> look(std::string tag);
  // An error of kind preempted or lost when the provider says that it is no more. When the provider
  // does not answer, it is taken to stand.
  Co<Status> standing(std::string tag);
  // Seconds between looks while a command runs there.
  double poll(const std::string& tag);
  // Where a path of the instance lies for its file service: on an instance that is a folder here,
  // absolute paths are below the folder. Known once linked.
  std::string true_path(const std::string& tag, const std::string& path);
  // How the agent can be reached once more, beside its link: a shell there and the agent's program.
  // Known once linked; absent where no shell leads there.
  std::optional<AgentRoute> route(const std::string& tag);
  // The host behind it; absent where no ssh leads there. Known once linked.
  std::optional<SshTarget> ssh_target(const std::string& tag);
  // Closes the link; those who wait for one get an error.
  void drop(const std::string& tag);

  // Of a simulation: a link whose far end is an agent already, in place of a shell.
  std::function<Result<std::unique_ptr<Link>>(const Instance& instance)> open_agent;

 private:
  struct Connection;
  Co<Result<Client>> open(std::string tag);
  Co<Result<Client>> open_bare(std::string name);
  Co<Result<Client>> greet(Endpoint endpoint, std::string tag, std::string key);
  std::optional<AgentRoute> route_to(const Endpoint& endpoint, const std::string& agent);
  Error explain(const SshTarget& target, const Error& error);
  Result<ResourceRow> row(const std::string& tag);
  Caps caps(const std::string& tag);  // those of its provider
  Co<Result<std::optional<Instance>>> fetch(ResourceRow row);

  Loop& loop_;
  Store& store_;
  Providers& providers_;
  InstancesOptions options_;
  SecretSource secrets_;
  Hearing hearing_;
  std::map<std::string, std::shared_ptr<Connection>> connections_;  // shared with those who wait
  std::shared_ptr<const AgentPrograms> agents_;  // once read; shared with those being sent
  Leases leases_;                                // ends first
};

}  // namespace choline
