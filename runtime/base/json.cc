#include "base/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "base/text.h"

namespace choline {

namespace {

constexpr int kDepthLimit = 200;
constexpr std::string_view kBytesKey = "$bytes";
constexpr std::string_view kFloatKey = "$float";
constexpr std::string_view kRawKeyMark = "$b64:";  // starts a key whose bytes are not UTF-8

// "$bytes", "$$bytes" and so on: keys that would be taken for one of ours get one more '$' when
// written and lose it when read, so that any object survives the trip.
bool is_marked(std::string_view key, std::string_view mark) {
  size_t dollars = key.find_first_not_of('$');
  return dollars != std::string_view::npos && dollars > 0 && key.substr(dollars - 1) == mark;
}
bool is_reserved(std::string_view key) {
  return is_marked(key, kBytesKey) || is_marked(key, kFloatKey);
}
bool is_raw_key(std::string_view key) {
  size_t dollars = key.find_first_not_of('$');
  return dollars != std::string_view::npos && dollars > 0 &&
         key.substr(dollars - 1).starts_with(kRawKeyMark);
}

void write_string(std::string_view text, std::string& out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (char letter : text) {
    switch (letter) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default: {
        auto byte = static_cast<unsigned char>(letter);
        if (byte >= 0x20 && byte != 0x7F) {
          out += letter;
        } else {
          out += "\\u00";
          out += kHex[byte >> 4];
          out += kHex[byte & 15];
        }
      }
    }
  }
  out += '"';
}

void write_bytes(std::string_view bytes, std::string& out) {
  out += "{\"$bytes\":\"";
  out += to_base64(bytes);
  out += "\"}";
}

void write_float(double value, std::string& out) {
  if (!std::isfinite(value)) {
    out += "{\"$float\":\"";
    out += std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    out += "\"}";
    return;
  }
  std::array<char, 32> digits;
  // Unlike printf, to_chars does not heed the locale.
  auto [end, status] = std::to_chars(digits.data(), digits.data() + digits.size(), value,
                                     std::chars_format::general, 17);
  std::string_view text(digits.data(), static_cast<size_t>(end - digits.data()));
  out += text;
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

void write_key(const std::string& key, std::string& out) {
  if (!is_utf8(key)) {
    write_string(std::string(kRawKeyMark) + to_base64(key), out);
  } else if (is_raw_key(key)) {
    write_string("$" + key, out);
  } else {
    write_string(key, out);
  }
}

void write_value(const Json& value, std::string& out);

void write_object(const Json& value, std::string& out) {
  out += '{';
  bool first = true;
  bool lone = value.size() == 1;
  for (const auto& [key, item] : value.items()) {
    if (!first) out += ',';
    first = false;
    write_key(lone && is_reserved(key) ? "$" + key : key, out);
    out += ':';
    write_value(item, out);
  }
  out += '}';
}

void write_value(const Json& value, std::string& out) {
  switch (value.type()) {
    case Json::value_t::null:
    case Json::value_t::discarded:
      out += "null";
      break;
    case Json::value_t::boolean:
      out += value.get<bool>() ? "true" : "false";
      break;
    case Json::value_t::number_integer:
      out += std::to_string(value.get<int64_t>());
      break;
    case Json::value_t::number_unsigned:
      out += std::to_string(value.get<uint64_t>());
      break;
    case Json::value_t::number_float:
      write_float(value.get<double>(), out);
      break;
    case Json::value_t::string: {
      const auto& text = value.get_ref<const std::string&>();
      if (is_utf8(text)) {
        write_string(text, out);
      } else {
        write_bytes(text, out);
      }
      break;
    }
    case Json::value_t::binary: {
      const auto& binary = value.get_binary();
      write_bytes(std::string(binary.begin(), binary.end()), out);
      break;
    }
    case Json::value_t::array: {
      out += '[';
      for (size_t at = 0; at < value.size(); ++at) {
        if (at > 0) out += ',';
        write_value(value[at], out);
      }
      out += ']';
      break;
    }
    case Json::value_t::object:
      write_object(value, out);
      break;
  }
}

// Byte offset of the bracket that opens one level too many; checked before parsing, so that no
// recursion anywhere ever sees such a value.
std::optional<size_t> too_deep_at(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t at = 0; at < text.size(); ++at) {
    char letter = text[at];
    if (in_string) {
      if (letter == '\\') ++at;
      if (letter == '"') in_string = false;
    } else if (letter == '"') {
      in_string = true;
    } else if (letter == '[' || letter == '{') {
      if (++depth > kDepthLimit) return at;
    } else if (letter == ']' || letter == '}') {
      --depth;
    }
  }
  return std::nullopt;
}

Error parse_failure(size_t offset, const std::string& why) {
  Json fields = Json::object();
  fields["offset"] = offset;
  return Error(ErrorKind::invalid, "json at byte " + std::to_string(offset) + ": " + why,
               std::move(fields));
}

// nlohmann's texts start with "[json.exception.parse_error.101] parse error at line 1, column 3: ".
std::string plain_reason(std::string_view text) {
  size_t start = text.find("column ");
  if (start != std::string_view::npos) start = text.find(": ", start);
  if (start == std::string_view::npos) start = text.find("] ");
  return std::string(start == std::string_view::npos ? text : text.substr(start + 2));
}

std::optional<Json> unmark(const std::string& key, const Json& item) {
  if (!item.is_string()) return std::nullopt;
  const auto& text = item.get_ref<const std::string&>();
  if (key == kBytesKey) {
    std::optional<std::string> bytes = from_base64(text);
    if (bytes) return Json(*std::move(bytes));
  }
  if (key == kFloatKey) {
    if (text == "nan") return Json(std::numeric_limits<double>::quiet_NaN());
    if (text == "inf") return Json(std::numeric_limits<double>::infinity());
    if (text == "-inf") return Json(-std::numeric_limits<double>::infinity());
  }
  return std::nullopt;
}

std::string read_key(const std::string& key, bool lone) {
  if (lone && is_reserved(key) && key.starts_with("$$")) return key.substr(1);
  if (!is_raw_key(key)) return key;
  if (key.starts_with("$$")) return key.substr(1);
  std::optional<std::string> bytes = from_base64(std::string_view(key).substr(kRawKeyMark.size()));
  return bytes ? *std::move(bytes) : key;
}

void decode(Json& value) {
  if (value.is_array()) {
    for (Json& item : value) decode(item);
    return;
  }
  if (!value.is_object()) return;
  bool lone = value.size() == 1;
  if (lone) {
    std::optional<Json> plain = unmark(value.begin().key(), value.begin().value());
    if (plain) {
      value = *std::move(plain);
      return;
    }
  }
  bool rename = false;
  for (auto& [key, item] : value.items()) {
    decode(item);
    rename = rename || key.starts_with('$');
  }
  if (!rename) return;
  Json renamed = Json::object();
  for (auto& [key, item] : value.items()) renamed[read_key(key, lone)] = std::move(item);
  value = std::move(renamed);
}

}  // namespace

std::string to_text(const Json& value) {
  std::string out;
  write_value(value, out);
  return out;
}

Result<Json> parse_json(std::string_view text) {
  if (std::optional<size_t> at = too_deep_at(text)) {
    return parse_failure(*at, "nested deeper than " + std::to_string(kDepthLimit) + " levels");
  }
  try {
    Json value = Json::parse(text.begin(), text.end());
    decode(value);
    return value;
  } catch (const Json::parse_error& failure) {
    // nlohmann counts bytes from 1 and points behind the last byte read.
    return parse_failure(failure.byte == 0 ? 0 : failure.byte - 1, plain_reason(failure.what()));
  } catch (const Json::exception& failure) {  // a number too large for a double
    return parse_failure(0, plain_reason(failure.what()));
  }
}

}  // namespace choline
