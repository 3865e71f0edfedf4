// The embedded provider: rents folders of this machine as instances, with prices that can be set,
// capacity that can be limited, and losses that can be caused.
#pragma once

#include <string>

#include "loop/loop.h"
#include "provider/contract.h"
#include "provider/local_cloud.h"
#include "provider/match.h"

namespace choline {

class LocalProvider : public Provider {
 public:
  // `root` holds its instances and books.
  LocalProvider(Loop& loop, std::string root);

  const Caps& caps() const override { return caps_; }
  Co<Result<std::string>> check(Json settings) override;
  Co<Result<Offers>> offers(OfferQuery query) override;
  Co<Launched> launch(Spec spec, Offer offer, std::string token) override;
  Co<Result<Found>> find(std::string tag) override;
  Co<Result<std::optional<Instance>>> get(Handle handle) override;
  Co<Result<Terminated>> terminate(Handle handle) override;
  Co<Result<Found>> list_all(std::string owner_prefix) override;
  Co<Result<Json>> drill(Json fault) override;
  Result<Json> bill() override;

 private:
  Loop& loop_;
  std::string root_;
  Caps caps_;
};

}  // namespace choline
