// Numbers out of a command's output: lines, named patterns, points and a summary.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "monitor/pattern.h"

namespace choline {

// Cuts a stream into lines without their ends and without terminal escapes. A lone carriage return
// ends a line too: a progress bar rewrites itself that way. Of a longer line only the first 64 KiB
// are kept.
class LineSplitter {
 public:
  static constexpr size_t kMostBytes = size_t{64} * 1024;
  using LineFn = std::function<void(std::string_view)>;

  void feed(std::string_view bytes, const LineFn& line);
  // What is left without an end.
  void finish(const LineFn& line);

 private:
  void emit(const LineFn& line);
  std::string pending_;
};

std::string strip_escapes(std::string_view text);

enum class Goal { none, max, min };

struct MetricSpec {
  std::string name;
  std::string pattern;     // its first capture, else its whole match, is the value
  std::string step;        // empty: "step" or "epoch" and a number on the same line, else the count
  Goal goal = Goal::none;  // none: by the name, "loss" and its like are better when small
};
// {loss = {pattern, step, goal}} or {loss = "pattern"}
Result<std::vector<MetricSpec>> metric_specs(const Json& value);

struct MetricPoint {
  std::string name;
  double step = 0;
  double value = 0;  // may be infinite or not a number
};

struct MetricSummary {
  double last = 0, best = 0, min = 0, max = 0;
  double step = 0;  // of the last
  int64_t count = 0;
  int64_t not_finite = 0;
};

class MetricTaker {
 public:
  static Result<MetricTaker> make(std::vector<MetricSpec> specs);

  // The points that the line gives.
  std::vector<MetricPoint> take(std::string_view line);
  // {loss = {last, best, min, max, count, step}}. `last` may be infinite or NaN, `not_finite`
  // counts those; best, min and max are of the finite ones and absent when there are none.
  Json summary() const;

 private:
  struct Metric {
    MetricSpec spec;
    Pattern value;
    std::optional<Pattern> step;
    bool smaller_is_better = false;
    MetricSummary summary;
  };
  static void add(Metric& metric, double step, double value);
  std::vector<Metric> metrics_;
};

// The number at the start of `text`: "0.93,", "93%", "nan", "+inf", "1e-3)". nullopt when letters
// follow it.
std::optional<double> number_in(std::string_view text);
// The number after "step" (first) or "epoch" in `line`, with "=", ":" or blanks between.
std::optional<double> step_in(std::string_view line);

}  // namespace choline
