// Readers of the arguments of native calls.
#include <string>

#include "native/module.h"

namespace choline {

namespace {

std::string kind_of(const Json& value) {
  if (value.is_null()) return "nothing";
  if (value.is_object() || value.is_array()) return "a table";
  return std::string("a ") + value.type_name();
}

Error wrong(std::string_view what, size_t index, std::string_view wanted, const Json& value) {
  return Error(ErrorKind::invalid, "native." + std::string(what) + ": argument " +
                                       std::to_string(index + 1) + ": expected " +
                                       std::string(wanted) + ", got " + kind_of(value));
}

}  // namespace

const Json& arg(const Json& args, size_t index) {
  static const Json nothing;
  return args.is_array() && index < args.size() ? args[index] : nothing;
}

Json field(const Json& fields, const char* key) {
  return fields.is_object() && fields.contains(key) ? fields[key] : Json(nullptr);
}

std::string text_field(const Json& fields, const char* key) {
  Json value = field(fields, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

Result<std::string> string_arg(const Json& args, size_t index, std::string_view what) {
  const Json& value = arg(args, index);
  if (!value.is_string()) return wrong(what, index, "a string", value);
  return value.get<std::string>();
}

Result<double> number_arg(const Json& args, size_t index, std::string_view what) {
  const Json& value = arg(args, index);
  if (!value.is_number()) return wrong(what, index, "a number", value);
  return value.get<double>();
}

Result<int64_t> integer_arg(const Json& args, size_t index, std::string_view what) {
  const Json& value = arg(args, index);
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) {
    double number = value.get<double>();
    if (number >= -0x1p53 && number <= 0x1p53) {
      int64_t whole = static_cast<int64_t>(number);
      if (static_cast<double>(whole) == number) return whole;
    }
  }
  return wrong(what, index, "an integer", value);
}

Result<std::vector<std::string>> texts_arg(const Json& args, size_t index, std::string_view what) {
  const Json& value = arg(args, index);
  std::vector<std::string> texts;
  if (value.is_null() || (value.is_object() && value.empty())) return texts;
  if (!value.is_array()) return wrong(what, index, "a list of strings", value);
  for (const Json& item : value) {
    if (!item.is_string()) return wrong(what, index, "a list of strings", item);
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

}  // namespace choline
