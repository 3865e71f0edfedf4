#include "base/time.h"

#include <date/tz.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <stdexcept>

#include "base/text.h"

namespace choline {

namespace {

using Micros = std::chrono::microseconds;

double clock_seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);  // cannot fail for these clocks
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

date::sys_time<Micros> to_sys(double seconds) {
  return date::sys_time<Micros>(Micros(std::llround(seconds * 1e6)));
}

double from_sys(date::sys_time<Micros> point) {
  return static_cast<double>(point.time_since_epoch().count()) * 1e-6;
}

Error zone_error(const std::string& zone, const char* why) {
  return Error(ErrorKind::invalid, "unknown time zone '" + zone + "': " + why +
                                       "; expected a name such as 'Europe/Berlin' or 'UTC'");
}

// Throws std::runtime_error for an unknown name, as the library does.
const date::time_zone* find_zone(const std::string& zone) {
  return zone.empty() ? date::current_zone() : date::locate_zone(zone);
}

// Reads `count` digits at the front of `text`.
bool take_number(std::string_view& text, size_t count, int& out) {
  if (text.size() < count) return false;
  out = 0;
  for (char letter : text.substr(0, count)) {
    if (letter < '0' || letter > '9') return false;
    out = out * 10 + (letter - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

bool take_fraction(std::string_view& text, double& out) {
  if (!take(text, ".")) return true;
  double scale = 0.1;
  size_t digits = 0;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    out += scale * (text.front() - '0');
    scale /= 10;
    ++digits;
    text.remove_prefix(1);
  }
  return digits > 0;
}

bool take_offset(std::string_view& text, int& seconds_east) {
  if (take(text, "Zz")) return true;
  bool west = text.starts_with('-');
  int hours = 0, minutes = 0;
  if (!take(text, "+-") || !take_number(text, 2, hours) || !take(text, ":") ||
      !take_number(text, 2, minutes) || hours > 23 || minutes > 59) {
    return false;
  }
  seconds_east = (hours * 60 + minutes) * 60 * (west ? -1 : 1);
  return true;
}

date::year_month_day civil_day(int year, int month, int day) {
  return date::year(year) / date::month(static_cast<unsigned>(month)) /
         date::day(static_cast<unsigned>(day));
}

bool is_time_of_day(int hour, int minute, double second) {
  return hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 61;
}

}  // namespace

double wall_now() {
  return clock_seconds(CLOCK_REALTIME);
}
double boot_now() {
  return clock_seconds(CLOCK_BOOTTIME);
}

std::string to_rfc3339(double seconds, int digits) {
  int places = digits < 0 ? 0 : digits > 6 ? 6 : digits;
  // Cut, not rounded: 59.9996 must not be written as 60.000, nor a time lie in the future.
  date::sys_time<Micros> point(Micros(static_cast<int64_t>(std::floor(seconds * 1e6 + 0.5))));
  auto day = date::floor<date::days>(point);
  date::year_month_day civil(day);
  date::hh_mm_ss<Micros> clock(point - day);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(civil.year()),
                static_cast<unsigned>(civil.month()), static_cast<unsigned>(civil.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  std::string out = text;
  if (places > 0) {
    std::snprintf(text, sizeof text, "%06d", static_cast<int>(clock.subseconds().count()));
    out += "." + std::string(text).substr(0, static_cast<size_t>(places));
  }
  return out + "Z";
}

Result<double> from_rfc3339(std::string_view text) {
  std::string_view rest = text;
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, east = 0;
  double fraction = 0;
  bool shaped = take_number(rest, 4, year) && take(rest, "-") && take_number(rest, 2, month) &&
                take(rest, "-") && take_number(rest, 2, day) && take(rest, "Tt ") &&
                take_number(rest, 2, hour) && take(rest, ":") && take_number(rest, 2, minute) &&
                take(rest, ":") && take_number(rest, 2, second) && take_fraction(rest, fraction) &&
                take_offset(rest, east) && rest.empty();
  date::year_month_day civil = civil_day(year, month, day);
  if (!shaped || !civil.ok() || !is_time_of_day(hour, minute, second)) {
    return Error(ErrorKind::invalid,
                 "not a time: " + quoted(text) + "; expected the form 2026-01-31T12:00:00Z");
  }
  double days = static_cast<double>(date::sys_days(civil).time_since_epoch().count());
  return days * 86400 + hour * 3600 + minute * 60 + second + fraction - east;
}

Result<LocalTime> to_local(double seconds, const std::string& zone) {
  try {
    date::zoned_time<Micros> zoned(find_zone(zone), to_sys(seconds));
    auto point = zoned.get_local_time();
    auto day = date::floor<date::days>(point);
    date::year_month_day civil(day);
    date::hh_mm_ss<Micros> clock(point - day);
    date::sys_info info = zoned.get_info();
    LocalTime out;
    out.year = static_cast<int>(civil.year());
    out.month = static_cast<int>(static_cast<unsigned>(civil.month()));
    out.day = static_cast<int>(static_cast<unsigned>(civil.day()));
    out.hour = static_cast<int>(clock.hours().count());
    out.minute = static_cast<int>(clock.minutes().count());
    out.second = static_cast<double>(clock.seconds().count()) +
                 static_cast<double>(clock.subseconds().count()) * 1e-6;
    out.weekday = static_cast<int>(date::weekday(day).c_encoding());
    out.offset = static_cast<int>(info.offset.count());
    out.abbreviation = info.abbrev;
    return out;
  } catch (const std::runtime_error& failure) {
    return zone_error(zone, failure.what());
  }
}

Result<double> from_local(const LocalTime& local, const std::string& zone) {
  date::year_month_day civil = civil_day(local.year, local.month, local.day);
  if (!civil.ok() || !is_time_of_day(local.hour, local.minute, local.second)) {
    return Error(ErrorKind::invalid, "no such date or time of day");
  }
  double clock = local.hour * 3600 + local.minute * 60 + local.second;
  date::local_time<Micros> point = date::local_days(civil) + Micros(std::llround(clock * 1e6));
  try {
    return from_sys(find_zone(zone)->to_sys(point, date::choose::earliest));
  } catch (const std::runtime_error& failure) {
    return zone_error(zone, failure.what());
  }
}

Result<ZonePeriod> zone_period(double seconds, const std::string& zone) {
  try {
    date::sys_info info =
        find_zone(zone)->get_info(date::floor<std::chrono::seconds>(to_sys(seconds)));
    ZonePeriod out;
    out.begins = static_cast<double>(info.begin.time_since_epoch().count());
    out.ends = static_cast<double>(info.end.time_since_epoch().count());
    out.offset = static_cast<int>(info.offset.count());
    out.abbreviation = info.abbrev;
    return out;
  } catch (const std::runtime_error& failure) {
    return zone_error(zone, failure.what());
  }
}

Result<std::vector<std::string>> zone_names() {
  try {
    std::vector<std::string> names;
    for (const date::time_zone& zone : date::get_tzdb().zones) names.push_back(zone.name());
    return names;
  } catch (const std::runtime_error& problem) {
    return zone_error("", problem.what());
  }
}

Result<std::string> local_zone() {
  try {
    return date::current_zone()->name();
  } catch (const std::runtime_error& problem) {
    return zone_error("", problem.what());
  }
}

}  // namespace choline
