#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "base/secret.h"

namespace choline {

namespace {

spdlog::level::level_enum native_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::off:
      return spdlog::level::off;
  }
  return spdlog::level::warn;
}

std::shared_ptr<spdlog::logger> make_logger(spdlog::sink_ptr sink, LogLevel level) {
  auto logger = std::make_shared<spdlog::logger>("choline", std::move(sink));
  logger->set_level(native_level(level));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  logger->flush_on(spdlog::level::debug);
  return logger;
}

std::shared_ptr<spdlog::logger>& current() {
  static std::shared_ptr<spdlog::logger> logger =
      make_logger(std::make_shared<spdlog::sinks::stderr_sink_mt>(), LogLevel::warning);
  return logger;
}

void write_line(LogLevel level, std::string text) {
  if (!log_enabled(level)) return;
  current()->log(native_level(level),
                 spdlog::string_view_t(Redactor::process().redact(std::move(text))));
}

}  // namespace

std::optional<LogLevel> log_level(std::string_view word) {
  if (word == "debug") return LogLevel::debug;
  if (word == "info") return LogLevel::info;
  if (word == "warning") return LogLevel::warning;
  if (word == "error") return LogLevel::error;
  if (word == "off") return LogLevel::off;
  return std::nullopt;
}

Status open_log(const LogOptions& options) {
  if (options.file.empty()) {
    current() = make_logger(std::make_shared<spdlog::sinks::stderr_sink_mt>(), options.level);
    return done();
  }
  try {
    current() = make_logger(std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file),
                            options.level);
    return done();
  } catch (const spdlog::spdlog_ex& failure) {
    return Error(ErrorKind::io, "cannot open the log '" + options.file + "': " + failure.what());
  }
}

bool log_enabled(LogLevel level) {
  return current()->should_log(native_level(level));
}

void log_debug(std::string text) {
  write_line(LogLevel::debug, std::move(text));
}
void log_info(std::string text) {
  write_line(LogLevel::info, std::move(text));
}
void log_warning(std::string text) {
  write_line(LogLevel::warning, std::move(text));
}
void log_error(std::string text) {
  write_line(LogLevel::error, std::move(text));
}

}  // namespace choline
