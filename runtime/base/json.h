// The one JSON type of the runtime. Objects keep their keys sorted, so `to_text` is canonical.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace choline {

// `value` as one line of JSON: sorted keys, integers kept apart from floats, floats with 17 digits.
// Strings that are not UTF-8 are written as {"$bytes": "<base64>"}; `parse_json` gives them back.
std::string to_text(const Json& value);

// The value in `text`, or an `invalid` error that names the byte offset. Depth is limited to 200.
Result<Json> parse_json(std::string_view text);

}  // namespace choline
