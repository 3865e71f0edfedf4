// Instances from Vast.ai: containers on machines of many owners, on demand or by bid. A launch has
// no token there; it is found again by its label. See docs/design/vast.md.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "io/pacer.h"
#include "loop/loop.h"
#include "provider/contract.h"
#include "provider/rest.h"

namespace choline {

struct VastWorld {
  std::string url = "https://console.vast.ai";  // without a slash at its end
  std::string folder;                           // where processes agree on the pace of calls
  double pace = 1;  // times all seconds that it waits; less than 1 for a fake
  // The account's key; asked for at each call, so that one that was set meanwhile counts.
  std::function<Result<std::string>()> api_key;
  // In authorized_keys form: who may log in to what is launched.
  std::function<Result<std::string>()> public_key;
};

class VastProvider : public Provider {
 public:
  VastProvider(Loop& loop, VastWorld world);

  const Caps& caps() const override { return caps_; }
  bool has_account() override { return world_.api_key().ok(); }
  Co<Result<std::string>> check(Json settings) override;
  Co<Result<Offers>> offers(OfferQuery query) override;
  Co<Launched> launch(Spec spec, Offer offer, std::string token) override;
  Co<Result<Found>> find(std::string tag) override;
  Co<Result<std::optional<Instance>>> get(Handle handle) override;
  Co<Result<Terminated>> terminate(Handle handle) override;
  Co<Result<Found>> list_all(std::string owner_prefix) override;

 private:
  using Reply = std::variant<RestReply, ProviderError>;
  struct Call {
    std::string method;
    std::string path;  // with what follows '?'
    Json body;         // null: none
    const char* kind;  // of the pace
    double interval;   // seconds between calls of that kind
  };
  // One request in its turn. A reply with an error in it comes back as that error.
  Co<Reply> call(Call one);
  Co<Result<RestReply>> ask(Call one);
  Co<Result<std::vector<std::string>>> gpu_names();
  Co<Result<Found>> list(Json filters);
  Instance complete(Instance instance) const;

  Loop& loop_;
  VastWorld world_;
  Caps caps_;
  Rest rest_;
  Pacer pacer_;
  std::vector<std::string> gpu_names_;  // once known
};

}  // namespace choline
