// Hosts that one has already, reached by ssh: renting takes one of a host's places, ending gives it
// back. The host itself says which places are taken, so that two computers do not collide.
#pragma once

#include <string>
#include <vector>

#include "io/ssh_ways.h"
#include "loop/loop.h"
#include "provider/contract.h"
#include "provider/ssh_script.h"

namespace choline {

// The provider's settings in a cholfile: ssh { hosts = { "me@gpu1", … }, places = 2 }.
struct SshSettings {
  std::vector<SshTarget> hosts;
  int places = 1;    // of each host: instances at once
  double price = 0;  // USD per hour
};
Result<SshSettings> ssh_settings(const Json& settings);

class SshProvider : public Provider {
 public:
  // `folder` has what was launched where.
  SshProvider(Loop& loop, Ssh& ssh, std::string folder);

  const Caps& caps() const override { return caps_; }
  // Logs in to each host; gives their names.
  Co<Result<std::string>> check(Json settings) override;
  Co<Result<Offers>> offers(OfferQuery query) override;
  Co<Launched> launch(Spec spec, Offer offer, std::string token) override;
  Co<Result<Found>> find(std::string tag) override;
  Co<Result<std::optional<Instance>>> get(Handle handle) override;
  Co<Result<Terminated>> terminate(Handle handle) override;
  // On the hosts where something was launched from here.
  Co<Result<Found>> list_all(std::string owner_prefix) override;

 private:
  // One launch: written before the host is asked, removed when its end is proven.
  struct Launch {
    std::string tag;
    SshTarget target;
    double price = 0;
  };
  struct Look {
    SshTarget target;
    Result<SshHostFacts> facts;
  };
  struct Part {
    bool complete = false;
    std::vector<Instance> instances;
  };

  std::string launches() const { return folder_ + "/launches"; }
  Status remember(const Launch& launch) const;
  Result<std::vector<Launch>> remembered(const std::string& prefix) const;
  Instance instance_of(const Launch& launch, const SshPlace& place) const;
  Co<Look> look_at(SshTarget target);
  Co<std::vector<Look>> look_at_all(std::vector<SshTarget> targets);
  Co<Part> list_host(std::vector<Launch> launches, std::string prefix);

  Loop& loop_;
  Ssh& ssh_;
  std::string folder_;
  Caps caps_;
};

}  // namespace choline
