#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace choline {

namespace {

struct KindWord {
  ErrorKind kind;
  std::string_view word;
};

constexpr KindWord kKindWords[] = {
    {ErrorKind::preempted, "preempted"},
    {ErrorKind::lost, "lost"},
    {ErrorKind::crashed, "crashed"},
    {ErrorKind::oom, "oom"},
    {ErrorKind::stalled, "stalled"},
    {ErrorKind::setup_failed, "setup_failed"},
    {ErrorKind::no_capacity, "no_capacity"},
    {ErrorKind::quota, "quota"},
    {ErrorKind::auth, "auth"},
    {ErrorKind::price, "price"},
    {ErrorKind::timeout, "timeout"},
    {ErrorKind::budget, "budget"},
    {ErrorKind::checkpoint_invalid, "checkpoint_invalid"},
    {ErrorKind::cancelled, "cancelled"},
    {ErrorKind::invalid, "invalid"},
    {ErrorKind::not_found, "not_found"},
    {ErrorKind::conflict, "conflict"},
    {ErrorKind::io, "io"},
    {ErrorKind::refused, "refused"},
    {ErrorKind::transient, "transient"},
    {ErrorKind::unsupported, "unsupported"},
    {ErrorKind::divergence, "divergence"},
};

std::string string_field(const Json& value, const char* key) {
  auto found = value.find(key);
  if (found == value.end() || !found->is_string()) return {};
  return found->get<std::string>();
}

}  // namespace

std::string_view to_text(ErrorKind kind) {
  for (const KindWord& entry : kKindWords) {
    if (entry.kind == kind) return entry.word;
  }
  return "invalid";
}

std::optional<ErrorKind> error_kind(std::string_view word) {
  for (const KindWord& entry : kKindWords) {
    if (entry.word == word) return entry.kind;
  }
  return std::nullopt;
}

Json to_json(const Error& error) {
  Json out = Json::object();
  out["kind"] = std::string(to_text(error.kind));
  out["message"] = error.message;
  if (!error.fields.is_null()) out["fields"] = error.fields;
  return out;
}

Error error_from_json(const Json& value) {
  if (!value.is_object()) return Error(ErrorKind::invalid, "an error that is no object");
  ErrorKind kind = error_kind(string_field(value, "kind")).value_or(ErrorKind::invalid);
  auto fields = value.find("fields");
  return Error(kind, string_field(value, "message"),
               fields == value.end() ? Json() : Json(*fields));
}

Error errno_error(std::string_view what, int code) {
  const char* name = strerrorname_np(code);
  const char* text = strerrordesc_np(code);
  std::string word = name ? std::string(name) : "errno " + std::to_string(code);
  std::string message(what);
  message += ": ";
  message += text ? text : "unknown error";
  message += " (" + word + ")";
  Json fields = Json::object();
  fields["errno"] = word;
  ErrorKind kind = code == ENOENT ? ErrorKind::not_found : ErrorKind::io;
  return Error(kind, std::move(message), std::move(fields));
}

}  // namespace choline
