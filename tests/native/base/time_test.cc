#include "base/time.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace choline;

TEST_CASE("rfc3339 texts and seconds turn into each other") {
  CHECK(to_rfc3339(0) == "1970-01-01T00:00:00Z");
  CHECK(to_rfc3339(1795261057.25, 3) == "2026-11-21T11:37:37.250Z");
  CHECK(to_rfc3339(-1) == "1969-12-31T23:59:59Z");
  for (const char* text :
       {"2026-11-21T11:37:37Z", "2026-11-21t12:37:37+01:00", "2026-11-21 10:07:37-01:30"}) {
    Result<double> seconds = from_rfc3339(text);
    REQUIRE(seconds.ok());
    CHECK(*seconds == 1795261057.0);
  }
  CHECK(*from_rfc3339("1970-01-01T00:00:00.5Z") == 0.5);
}

TEST_CASE("rfc3339 refuses what is no time and says the form it wants") {
  for (const char* bad : {"", "2026-11-21", "2026-02-30T00:00:00Z", "2026-11-21T24:00:00Z",
                          "2026-11-21T00:00:00", "2026-11-21T00:00:00Zx", "2026-11-21T00:00:00.Z",
                          "2026-13-01T00:00:00Z", "2026-11-21T00:61:00Z"}) {
    CHECK_MESSAGE(!from_rfc3339(bad).ok(), bad);
  }
  CHECK(from_rfc3339("x").error().message ==
        "not a time: 'x'; expected the form 2026-01-31T12:00:00Z");
}

TEST_CASE("local time knows the zone's offset, also over a change of clocks") {
  Result<LocalTime> summer = to_local(1783000000, "Europe/Berlin");  // 2026-07-02T13:46:40Z
  REQUIRE(summer.ok());
  CHECK(summer->hour == 15);
  CHECK(summer->offset == 7200);
  CHECK(summer->abbreviation == "CEST");
  CHECK(summer->weekday == 4);
  CHECK(*from_local(*summer, "Europe/Berlin") == 1783000000);

  LocalTime skipped{2026, 3, 29, 2, 30, 0};
  CHECK(*from_local(skipped, "Europe/Berlin") == *from_rfc3339("2026-03-29T01:00:00Z"));
  LocalTime twice{2026, 10, 25, 2, 30, 0};
  CHECK(*from_local(twice, "Europe/Berlin") == *from_rfc3339("2026-10-25T00:30:00Z"));
}

TEST_CASE("a period of a zone lasts from one change of clocks to the next") {
  double change = *from_rfc3339("2026-03-29T01:00:00Z");
  Result<ZonePeriod> winter = zone_period(change - 0.5, "Europe/Berlin");
  REQUIRE(winter.ok());
  CHECK(winter->offset == 3600);
  CHECK(winter->abbreviation == "CET");
  CHECK(winter->ends == change);
  Result<ZonePeriod> summer = zone_period(change, "Europe/Berlin");
  REQUIRE(summer.ok());
  CHECK(summer->offset == 7200);
  CHECK(summer->begins == change);
  CHECK(summer->ends == *from_rfc3339("2026-10-25T01:00:00Z"));
  Result<ZonePeriod> always = zone_period(change, "UTC");
  REQUIRE(always.ok());
  CHECK(always->offset == 0);
  CHECK(always->begins < 0);
  CHECK(always->ends > 4e9);
  CHECK(!zone_period(0, "Mars/Base").ok());
}

TEST_CASE("the zones of this machine have names") {
  Result<std::vector<std::string>> names = zone_names();
  REQUIRE(names.ok());
  CHECK(std::find(names->begin(), names->end(), "Europe/Berlin") != names->end());
}

TEST_CASE("an unknown zone is an error in words, and the machine's own zone has an empty name") {
  Result<LocalTime> nowhere = to_local(0, "Mars/Base");
  REQUIRE(!nowhere.ok());
  CHECK(nowhere.error().message.starts_with("unknown time zone 'Mars/Base': "));
  CHECK(to_local(0, "").ok());
  CHECK(!from_local({2026, 2, 30}, "UTC").ok());
}

TEST_CASE("clocks tick forward") {
  double before = boot_now();
  CHECK(boot_now() >= before);
  CHECK(wall_now() > 1.7e9);
}
