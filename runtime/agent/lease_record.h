// What is on record of a lease, and when it is over.
#pragma once

#include <optional>
#include <string>

#include "agent/lease.h"
#include "base/json.h"
#include "base/result.h"

namespace choline {

// Three clocks at one moment. `boot` counts through a suspend and `awake` does not; neither knows
// of changes to the wall clock, which only bridges a reboot.
struct Moment {
  double boot = 0, awake = 0, wall = 0;
  std::string boot_id;
};
Moment this_moment();

struct LeaseRecord {
  Moment heard;           // when choline was heard last
  double lived = 0;       // seconds, until `heard`
  bool rebooted = false;  // since then
  std::string ending;     // "lease" or "lifetime", once it is over
};
Json to_json(const LeaseTerms& terms);
LeaseTerms terms_from_json(const Json& value);
std::optional<LeaseRecord> read_record(const std::string& path);
// In place: within what `make_record` has set aside.
Status write_record(const std::string& path, const LeaseRecord& record);

// The record as if its moment were of this boot. The machine was away for a time that only the wall
// clock tells, and that clock may be wrong: half a lease is left, the first time.
LeaseRecord after_boot(const LeaseRecord& record, const LeaseTerms& terms, const Moment& now);

// Seconds until it is over, for `why` "lease" or "lifetime"; the least of both when both count.
struct LeaseLeft {
  double seconds = 0;
  const char* why = "";
};
std::optional<LeaseLeft> left_of(const LeaseTerms& terms, const LeaseRecord& record,
                                 const Moment& now);

}  // namespace choline
