// Compares what the providers have with what the store says, and ends what nobody owns.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "durable/rent.h"

namespace choline {

struct ReapReport {
  struct Entry {
    std::string tag, provider, provider_id, run, why, error;
  };
  std::vector<Entry> ended;    // or would be, when dry
  std::vector<Entry> lost;     // alive by our rows, unknown to their provider
  std::vector<Entry> kept;     // left by a run that has ended, as its cholfile says
  std::vector<Entry> foreign;  // tags of another installation: never touched
  std::vector<std::string>
      incomplete;  // providers whose list failed or was partial: nothing was concluded
};
Json to_json(const ReapReport& report);

// Never acts on what a failed or partial list does not show. An instance of ours without any row is
// ended only when a second list, a moment later, shows it too.
struct ReapOptions {
  bool dry_run = false;
  bool kept = false;  // also end what is kept
};
Co<Result<ReapReport>> reap(RentWorld world, ReapOptions options);

}  // namespace choline
