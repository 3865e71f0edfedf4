#include "monitor/metrics.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "base/text.h"

namespace choline {

void LineSplitter::emit(const LineFn& line) {
  std::string text = strip_escapes(pending_);
  pending_.clear();
  if (!text.empty()) line(text);
}

void LineSplitter::feed(std::string_view bytes, const LineFn& line) {
  while (!bytes.empty()) {
    size_t end = bytes.find_first_of("\r\n");
    std::string_view part = bytes.substr(0, end);
    size_t room = kMostBytes - std::min(kMostBytes, pending_.size());
    pending_.append(part.substr(0, room));
    if (end == std::string_view::npos) return;
    emit(line);
    bytes.remove_prefix(end + 1);
  }
}

void LineSplitter::finish(const LineFn& line) {
  emit(line);
}

// ESC [ … letter, ESC ] … (BEL or ESC \), and two-byte escapes.
std::string strip_escapes(std::string_view text) {
  if (text.find('\x1b') == std::string_view::npos) return std::string(text);
  std::string plain;
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] != '\x1b') {
      plain += text[at++];
      continue;
    }
    char kind = at + 1 < text.size() ? text[at + 1] : '\0';
    at += 2;
    if (kind == '[') {
      while (at < text.size() && (text[at] < '@' || text[at] > '~')) ++at;
      ++at;
    } else if (kind == ']') {
      while (at < text.size() && text[at] != '\x07' && text[at] != '\x1b') ++at;
      at += at < text.size() && text[at] == '\x1b' ? 2 : 1;
    }
  }
  return plain;
}

Result<std::vector<MetricSpec>> metric_specs(const Json& value) {
  std::vector<MetricSpec> specs;
  if (value.is_null() || (value.is_array() && value.empty())) return specs;
  if (!value.is_object())
    return Error(ErrorKind::invalid, "metrics: expected a table of patterns by name");
  for (const auto& [name, entry] : value.items()) {
    MetricSpec spec;
    spec.name = name;
    if (entry.is_string()) {
      spec.pattern = entry.get<std::string>();
    } else if (entry.is_object() && entry.contains("pattern") && entry["pattern"].is_string()) {
      spec.pattern = entry["pattern"].get<std::string>();
      Json step = entry.value("step", Json(nullptr));
      Json goal = entry.value("goal", Json(nullptr));
      if (step.is_string()) spec.step = step.get<std::string>();
      if (goal == "max") spec.goal = Goal::max;
      if (goal == "min") spec.goal = Goal::min;
    } else {
      return Error(ErrorKind::invalid, "metrics." + name + ": expected a pattern");
    }
    specs.push_back(std::move(spec));
  }
  return specs;
}

std::optional<double> number_in(std::string_view text) {
  text = trim(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  auto [stop, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault == std::errc::result_out_of_range) return std::nullopt;
  if (fault != std::errc()) return std::nullopt;
  if (stop != text.data() + text.size() &&
      (std::isalnum(static_cast<unsigned char>(*stop)) || *stop == '_')) {
    return std::nullopt;
  }
  return value;
}

namespace {

std::optional<double> number_after(std::string_view line, const std::string& lower,
                                   std::string_view word) {
  for (size_t at = lower.find(word); at != std::string::npos; at = lower.find(word, at + 1)) {
    size_t begin = lower.find_first_not_of("=: \t[#", at + word.size());
    if (begin == std::string::npos || begin == at + word.size()) continue;
    if (!std::isdigit(static_cast<unsigned char>(line[begin]))) continue;
    double value = 0;
    std::from_chars(line.data() + begin, line.data() + line.size(), value,
                    std::chars_format::fixed);
    return value;
  }
  return std::nullopt;
}

bool small_is_good(const std::string& name) {
  std::string lower = to_lower(name);
  for (const char* word :
       {"loss", "err", "perplexity", "ppl", "mse", "mae", "rmse", "wer", "cer", "fid"}) {
    if (lower.find(word) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

std::optional<double> step_in(std::string_view line) {
  std::string lower = to_lower(line);
  if (std::optional<double> step = number_after(line, lower, "step")) return step;
  return number_after(line, lower, "epoch");
}

Result<MetricTaker> MetricTaker::make(std::vector<MetricSpec> specs) {
  MetricTaker taker;
  for (MetricSpec& spec : specs) {
    Result<Pattern> value = Pattern::compile(spec.pattern);
    if (!value)
      return Error(ErrorKind::invalid, "metric " + spec.name + ": " + value.error().message);
    std::optional<Pattern> step;
    if (!spec.step.empty()) {
      Result<Pattern> read = Pattern::compile(spec.step);
      if (!read)
        return Error(ErrorKind::invalid,
                     "step of metric " + spec.name + ": " + read.error().message);
      step = std::move(*read);
    }
    bool small = spec.goal == Goal::min || (spec.goal == Goal::none && small_is_good(spec.name));
    taker.metrics_.push_back(
        Metric{std::move(spec), std::move(*value), std::move(step), small, {}});
  }
  return taker;
}

void MetricTaker::add(Metric& metric, double step, double value) {
  MetricSummary& sum = metric.summary;
  ++sum.count;
  sum.last = value;
  sum.step = step;
  if (!std::isfinite(value)) {
    ++sum.not_finite;
    return;
  }
  bool first = sum.count - sum.not_finite == 1;
  sum.min = first ? value : std::min(sum.min, value);
  sum.max = first ? value : std::max(sum.max, value);
  sum.best = metric.smaller_is_better ? sum.min : sum.max;
}

std::vector<MetricPoint> MetricTaker::take(std::string_view line) {
  std::vector<MetricPoint> points;
  for (Metric& metric : metrics_) {
    std::optional<PatternMatch> found = metric.value.find(line);
    if (!found) continue;
    std::string text = found->captures.empty()
                           ? std::string(line.substr(found->begin, found->end - found->begin))
                           : found->captures.front();
    std::optional<double> value = number_in(text);
    if (!value) continue;
    std::optional<double> step;
    if (metric.step) {
      if (std::optional<PatternMatch> at = metric.step->find(line)) {
        step = number_in(at->captures.empty() ? line.substr(at->begin, at->end - at->begin)
                                              : std::string_view(at->captures.front()));
      }
    } else {
      step = step_in(line);
    }
    if (!step || !std::isfinite(*step)) step = static_cast<double>(metric.summary.count + 1);
    add(metric, *step, *value);
    points.push_back(MetricPoint{metric.spec.name, *step, *value});
  }
  return points;
}

Json MetricTaker::summary() const {
  Json all = Json::object();
  for (const Metric& metric : metrics_) {
    const MetricSummary& sum = metric.summary;
    if (sum.count == 0) continue;
    Json entry = {{"count", sum.count}, {"step", sum.step}, {"last", sum.last}};
    if (sum.count > sum.not_finite) {
      entry["best"] = sum.best;
      entry["min"] = sum.min;
      entry["max"] = sum.max;
    }
    if (sum.not_finite > 0) entry["not_finite"] = sum.not_finite;
    all[metric.spec.name] = std::move(entry);
  }
  return all;
}

}  // namespace choline
