// native.json: encode and decode. native.json.array is part of the border, which knows the mark.
#include "base/json.h"

#include "native/module.h"

namespace choline {

namespace {

void write_pretty(const Json& value, size_t depth, std::string& out) {
  if (!value.is_structured() || value.empty()) {
    out += to_text(value);
    return;
  }
  std::string inner(2 * (depth + 1), ' ');
  out += value.is_array() ? "[" : "{";
  bool first = true;
  for (auto item = value.begin(); item != value.end(); ++item) {
    out += first ? "\n" : ",\n";
    first = false;
    out += inner;
    if (value.is_object()) {
      // The key as it would be in one line: {"key":0} without what surrounds it.
      Json single = Json::object();
      single[item.key()] = 0;
      std::string text = to_text(single);
      out += text.substr(1, text.size() - 4);
      out += ": ";
    }
    write_pretty(*item, depth + 1, out);
  }
  out += "\n" + std::string(2 * depth, ' ');
  out += value.is_array() ? "]" : "}";
}

Result<Json> encode(Services&, const Json& args) {
  const Json& pretty = arg(args, 1);
  if (!pretty.is_boolean() || !pretty.get<bool>()) return Json(to_text(arg(args, 0)));
  std::string out;
  write_pretty(arg(args, 0), 0, out);
  return Json(std::move(out));
}

Result<Json> decode(Services&, const Json& args) {
  Result<std::string> text = string_arg(args, 0, "json.decode");
  if (!text) return text.error();
  return parse_json(*text);
}

}  // namespace

NativeModule json_module() {
  return {"json", {{"encode", encode}, {"decode", decode}}};
}

}  // namespace choline
