// The lease of an instance: how long it may hear nothing from choline, and how long it may live at
// all. A process of its own, the lease's keeper, watches both and ends the instance when one is
// over; it outlives agent and link. See docs/design/leases.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/process.h"
#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace choline {

struct LeaseTerms {
  double lease = 0;              // seconds without a word; 0: any time
  double lifetime = 0;           // seconds in all; 0: any time
  double grace = 10;             // seconds that commands have to end after SIGTERM
  bool keep = false;             // a command that runs counts as a word
  std::vector<std::string> end;  // what ends the instance where killing all of it is not enough
};

// The files of a lease: <root>/.choline/lease/<tag>/
//   terms   LeaseTerms, as they were told last
//   heard   one record of a fixed size, written in place, so that a full disk cannot swallow it
//   lock    held for each change        keeper   held by the keeper while it lives; has its pid
class Lease {
 public:
  explicit Lease(const Place& place);

  // Sets what `request` says and counts from now. Gives {left, lifetime_left}; `lost` when the
  // instance has begun to end itself, which nothing takes back.
  Result<Json> renew(const Json& request) const;
  // "lease" or "lifetime" once the instance has begun to end itself.
  std::optional<std::string> ending() const;
  // Sets a keeper to the lease where there is one and its keeper is not alive.
  void guard() const;
  const std::string& folder() const { return folder_; }

 private:
  friend class LeaseKeeper;
  Result<UniqueFd> lock(double patience) const;
  bool exists() const;
  std::optional<pid_t> keeper() const;
  Status spawn() const;
  std::string path(const char* file) const { return folder_ + "/" + file; }

  Place place_;
  std::string folder_;
};

// `choline-agent lease ROOT TAG`
int keep_lease(const Place& place);

}  // namespace choline
