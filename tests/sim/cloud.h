// The simulated provider: its requests take time, are lost on the way there or back, fail, and its
// lists lag behind. What it does is the world's; this is only the line to it.
#pragma once

#include <string>

#include "loop/sim_loop.h"
#include "provider/contract.h"
#include "sim/world.h"

namespace choline::sim {

// One process of choline, as the world sees it. After `dead` nothing from it arrives any more.
struct Line {
  World& world;
  SimLoop& loop;
  double base = 0;  // world time at 0 ticks
  bool dead = false;

  double now() const { return base + loop.ticks(); }
  void catch_up() { world.advance(now()); }
};

class CloudProvider : public Provider {
 public:
  explicit CloudProvider(Line& line);

  const Caps& caps() const override { return caps_; }
  Co<Result<std::string>> check(Json settings) override;
  Co<Result<Offers>> offers(OfferQuery query) override;
  Co<Launched> launch(Spec spec, Offer offer, std::string token) override;
  Co<Result<Found>> find(std::string tag) override;
  Co<Result<std::optional<Instance>>> get(Handle handle) override;
  Co<Result<Terminated>> terminate(Handle handle) override;
  Co<Result<Found>> list_all(std::string owner_prefix) override;
  Result<Json> bill() override;

 private:
  double delay();
  bool fails();
  Result<Found> listed(const std::string& prefix, bool exact);
  Instance instance_of(const Server& server) const;

  Line& line_;
  Caps caps_;
};

}  // namespace choline::sim
