// What the program says about itself, for people who look for a fault: to stderr or a file, with
// secrets taken out. What a user asked to see is output, not log.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace choline {

enum class LogLevel { debug, info, warning, error, off };

std::optional<LogLevel> log_level(std::string_view word);

struct LogOptions {
  LogLevel level = LogLevel::warning;
  std::string file;  // empty: stderr
};

// Until this is called, warnings and errors go to stderr. A file is written to, never emptied.
Status open_log(const LogOptions& options);
bool log_enabled(LogLevel level);

// From any thread; one line each.
void log_debug(std::string text);
void log_info(std::string text);
void log_warning(std::string text);
void log_error(std::string text);

}  // namespace choline
