// What went wrong, in the words that policies, alerts, exit codes and `choline why` share.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace choline {

using Json = nlohmann::json;

enum class ErrorKind {
  // Failures of the work itself (LANGUAGE rule 8).
  preempted,
  lost,
  crashed,
  oom,
  stalled,
  setup_failed,
  no_capacity,
  quota,
  auth,
  price,
  timeout,
  budget,
  checkpoint_invalid,
  cancelled,
  // Failures of the world around it.
  invalid,  // a wrong argument, file, reply or cholfile
  not_found,
  conflict,   // someone else holds it
  io,         // a system call failed
  refused,    // the far side said no, for good
  transient,  // the far side may say yes later
  unsupported,
  divergence,  // a replayed run asked for something else than its journal holds
};

struct Error {
  Error(ErrorKind error_kind, std::string text) : kind(error_kind), message(std::move(text)) {}
  Error(ErrorKind error_kind, std::string text, Json more)
      : kind(error_kind), message(std::move(text)), fields(std::move(more)) {}

  ErrorKind kind;
  std::string message;  // what failed, on what, why, what was expected, what to do next
  Json fields;          // an object with details for programs, or null
};

// "no_capacity" and so on; the spelling used in Lua, the store and messages.
std::string_view to_text(ErrorKind kind);
std::optional<ErrorKind> error_kind(std::string_view word);

// {"kind": …, "message": …, "fields": …} and back; an unknown kind comes back as `invalid`.
Json to_json(const Error& error);
Error error_from_json(const Json& value);

// An `io` error made from errno: "open 'x': No such file or directory (ENOENT)".
// ENOENT gives kind not_found; fields = {"errno": name}.
Error errno_error(std::string_view what, int code);

}  // namespace choline
