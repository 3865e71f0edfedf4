#include "base/json.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "base/text.h"

using namespace choline;

namespace {
Json parsed(std::string_view text) {
  Result<Json> value = parse_json(text);
  REQUIRE_MESSAGE(value.ok(), (value.ok() ? "" : value.error().message));
  return *value;
}
Json around(const Json& value) {
  return parsed(to_text(value));
}
}  // namespace

TEST_CASE("json writes keys sorted and keeps integers apart from floats") {
  Json value = parsed(R"({"b":1,"a":1.0,"c":[18446744073709551615,-9223372036854775808,1e300]})");
  CHECK(
      to_text(value) ==
      R"({"a":1.0,"b":1,"c":[18446744073709551615,-9223372036854775808,1.0000000000000001e+300]})");
  CHECK(value["b"].is_number_integer());
  CHECK(value["a"].is_number_float());
  CHECK(to_text(around(value)) == to_text(value));
}

TEST_CASE("json floats survive the trip bit by bit, minus zero and the infinite ones too") {
  for (double number : {0.1, -0.0, 1.0 / 3, 5e-324, 1.7976931348623157e308, 100000.0, 1e17}) {
    Json back = around(Json(number));
    REQUIRE(back.is_number_float());
    CHECK(back.get<double>() == number);
    CHECK(std::signbit(back.get<double>()) == std::signbit(number));
  }
  double infinite = std::numeric_limits<double>::infinity();
  CHECK(to_text(Json(infinite)) == R"({"$float":"inf"})");
  CHECK(around(Json(-infinite)).get<double>() == -infinite);
  CHECK(std::isnan(around(Json(std::nan(""))).get<double>()));
}

TEST_CASE("json strings that are not utf-8 travel as base64, keys included") {
  std::string odd("a\0\xff\xfe b", 6);
  CHECK(to_text(Json(odd)) == "{\"$bytes\":\"" + to_base64(odd) + "\"}");
  CHECK(around(Json(odd)) == Json(odd));
  Json keyed = Json::object();
  keyed[odd] = 1;
  keyed["plain"] = odd;
  CHECK(around(keyed) == keyed);
}

TEST_CASE("json objects of a user that look like ours come back as they were") {
  for (const char* key : {"$bytes", "$$bytes", "$float", "$b64:/w==", "$$b64:x", "$", "$x"}) {
    Json value = Json::object();
    value[key] = "inf";
    CHECK_MESSAGE(around(value) == value, key);
    value["other"] = "aGk=";
    CHECK_MESSAGE(around(value) == value, key);
  }
}

TEST_CASE("json control characters are escaped and come back") {
  std::string all;
  for (int byte = 0; byte < 128; ++byte) all += static_cast<char>(byte);
  std::string text = to_text(Json(all));
  CHECK(text.find('\n') == std::string::npos);
  CHECK(around(Json(all)) == Json(all));
}

TEST_CASE("json that is broken names the byte") {
  Result<Json> value = parse_json(R"({"a": 1, "b" 2})");
  REQUIRE(!value.ok());
  CHECK(value.error().kind == ErrorKind::invalid);
  CHECK(value.error().fields["offset"] == 13);
  CHECK(value.error().message.starts_with("json at byte 13: "));
  CHECK(value.error().message.find("exception") == std::string::npos);
  for (const char* bad : {"", "{", "[1,]", "nul", "1 2", "\"\xff\"", "1e999"}) {
    CHECK_MESSAGE(!parse_json(bad).ok(), bad);
  }
}

TEST_CASE("json nested too deep is refused without recursion") {
  std::string deep(200, '[');
  CHECK(parse_json(deep + std::string(200, ']')).ok());
  Result<Json> value = parse_json(std::string(1000000, '['));
  REQUIRE(!value.ok());
  CHECK(value.error().fields["offset"] == 200);
  CHECK(parse_json("\"" + std::string(500, '[') + "\"").ok());
}
