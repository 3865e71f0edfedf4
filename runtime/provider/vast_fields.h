// How the texts of Vast.ai are read: numbers come as texts too, and what it does not know as null.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

#include "base/json.h"

namespace choline::vast {

constexpr double kGb = 1e9;
constexpr double kLeastDisk = 10;  // GB; it cannot grow later

inline const Json& member(const Json& from, const char* key) {
  static const Json none;
  if (!from.is_object()) return none;
  auto found = from.find(key);
  return found == from.end() ? none : *found;
}

inline double number_of(const Json& from, const char* key, double otherwise = 0) {
  const Json& value = member(from, key);
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return otherwise;
  const std::string& text = value.get_ref<const std::string&>();
  double parsed = 0;
  auto [stop, fault] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  return fault == std::errc() && stop == text.data() + text.size() ? parsed : otherwise;
}

inline std::string text_of(const Json& from, const char* key) {
  const Json& value = member(from, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

// An id is a number there and a text here.
inline std::string id_of(const Json& from, const char* key) {
  const Json& value = member(from, key);
  if (value.is_number_integer()) return std::to_string(value.get<int64_t>());
  return value.is_string() ? value.get<std::string>() : std::string();
}

inline double disk_gb(int64_t bytes) {
  return std::max(kLeastDisk, std::ceil(static_cast<double>(bytes) / kGb));
}

// The code of two letters at the end of "Berlin, DE"; empty when there is none.
inline std::string country_of(const std::string& geolocation) {
  size_t comma = geolocation.find_last_of(", ");
  std::string code = comma == std::string::npos ? geolocation : geolocation.substr(comma + 1);
  return code.size() == 2 ? code : std::string();
}

inline bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace choline::vast
