// Rents exactly one instance for a step and ends it for good, whatever crashes in between. The
// protocol is in docs/design/steps.md; the rows in the store are what it lives by.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "durable/steps.h"
#include "loop/loop.h"
#include "provider/contract.h"
#include "provider/providers.h"
#include "store/resources.h"
#include "store/store.h"

namespace choline {

// What renting needs of the process. All outlive every coroutine here.
struct RentWorld {
  Loop& loop;
  Store& store;
  Providers& providers;
};

struct RentRequest {
  std::string name;  // of the declaration
  std::string provider;
  Offer offer;
  Spec spec;
  bool keep = false;  // the reaper leaves it alone when its run has ended
};

// Gives the live row. A definite refusal comes back as the provider's error; doubt never does: it
// is resolved by looking. The row's change to `live` or `void` goes into the step's own
// transaction.
Co<Result<ResourceRow>> rent(RentWorld world, RentRequest request, StepContext context);

struct Released {
  bool gone = false;
  double cost = 0;              // USD, of its whole life
  std::optional<double> ended;  // wall seconds
};
// Returns when the provider has proved it gone. A row that is gone already is no error.
Co<Result<Released>> release(RentWorld world, std::string tag, StepContext context);

struct ReleaseOutcome {
  std::string tag, name;
  bool gone = false;
  std::string error;
};
// Ends everything of `run` that may live, side by side, from the rows alone.
Co<Result<std::vector<ReleaseOutcome>>> release_all(RentWorld world, std::string run);

// The change behind a fence of the step's run; itself when there is none.
Change fenced(const StepContext& context, Change change);

// "cho-<install>-<run>-<step>-<attempt>"
std::string instance_tag(const std::string& install, const std::string& run,
                         const std::string& step, int attempt);
std::string install_prefix(const std::string& install);

}  // namespace choline
