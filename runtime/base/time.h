// Clocks, and the texts and calendars of wall time. Times are seconds since 1970 as doubles.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace choline {

double wall_now();  // CLOCK_REALTIME: what the calendar says; may jump
double boot_now();  // CLOCK_BOOTTIME: counts through a suspend; never goes back

// "2026-11-21T11:37:37Z", with `digits` digits of the second's fraction.
std::string to_rfc3339(double seconds, int digits = 0);
// Takes an offset ("Z", "+01:00") and a fraction; a text without an offset is refused.
Result<double> from_rfc3339(std::string_view text);

struct LocalTime {
  int year = 1970;
  int month = 1;  // 1..12
  int day = 1;    // 1..31
  int hour = 0;
  int minute = 0;
  double second = 0;
  int weekday = 4;           // 0 Sunday .. 6 Saturday; not read by from_local
  int offset = 0;            // seconds east of UTC; not read by from_local
  std::string abbreviation;  // "CET"; not read by from_local
};

// `zone` is a name of the tz database ("Europe/Berlin", "UTC"); empty is this machine's own.
Result<LocalTime> to_local(double seconds, const std::string& zone);
// A time that occurs twice (clocks set back) gives the first, one that is skipped gives the moment
// of the change.
Result<double> from_local(const LocalTime& local, const std::string& zone);

// Name of this machine's own zone: "Europe/Berlin".
Result<std::string> local_zone();

// A time without a change of clocks in a zone: from `begins` (included) to `ends` (not included).
struct ZonePeriod {
  double begins = 0;
  double ends = 0;
  int offset = 0;  // seconds east of UTC
  std::string abbreviation;
};
Result<ZonePeriod> zone_period(double seconds, const std::string& zone);

// All zones that this machine knows, sorted.
Result<std::vector<std::string>> zone_names();

}  // namespace choline
