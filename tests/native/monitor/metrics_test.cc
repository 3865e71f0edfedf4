// Lines, numbers and points out of real looking output.
#include <doctest/doctest.h>

#include <cmath>

#include "monitor/metrics.h"

namespace choline {
namespace {

std::vector<std::string> lines_of(const std::vector<std::string>& pieces) {
  LineSplitter splitter;
  std::vector<std::string> lines;
  LineSplitter::LineFn keep = [&](std::string_view line) { lines.emplace_back(line); };
  for (const std::string& piece : pieces) splitter.feed(piece, keep);
  splitter.finish(keep);
  return lines;
}

using Lines = std::vector<std::string>;

TEST_CASE("lines come out whole wherever the bytes were cut") {
  CHECK(lines_of({"one\ntw", "o\nthr", "ee"}) == Lines{"one", "two", "three"});
  CHECK(lines_of({"one\r", "\ntwo\r\n"}) == Lines{"one", "two"});
}

TEST_CASE("each rewriting of a progress bar is a line") {
  CHECK(lines_of({"1/3 loss=3\r2/3 loss=2\r3/3 loss=1\n"}) ==
        Lines{"1/3 loss=3", "2/3 loss=2", "3/3 loss=1"});
}

TEST_CASE("terminal escapes are taken out, also when cut in two") {
  CHECK(lines_of({"\x1b[32mloss\x1b[", "0m=1\n"}) == Lines{"loss=1"});
  CHECK(lines_of({"\x1b]0;title\x07x\n", "\x1b]8;;u\x1b\\y\n"}) == Lines{"x", "y"});
  CHECK(lines_of({"end\x1b"}) == Lines{"end"});
}

TEST_CASE("of an endless line only the first 64 KiB are kept") {
  Lines lines = lines_of({std::string(100'000, 'x'), std::string(100'000, 'x') + "\nshort\n"});
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].size() == LineSplitter::kMostBytes);
  CHECK(lines[1] == "short");
}

TEST_CASE("a number may be followed by punctuation but not by letters") {
  CHECK(number_in("0.93,") == 0.93);
  CHECK(number_in(" +5)") == 5);
  CHECK(number_in("93%") == 93);
  CHECK(number_in("1e-3]") == 1e-3);
  CHECK(std::isnan(*number_in("nan")));
  CHECK(std::isinf(*number_in("-inf")));
  CHECK_FALSE(number_in("3rd").has_value());
  CHECK_FALSE(number_in("").has_value());
  CHECK_FALSE(number_in("best").has_value());
}

TEST_CASE("the step is read from the line") {
  CHECK(step_in("epoch 3/10 loss=1") == 3);
  CHECK(step_in("Epoch: 4") == 4);
  CHECK(step_in("epoch 2 global_step=120 loss=1") == 120);
  CHECK(step_in("Epoch [7/9], Step [55/600]") == 55);
  CHECK_FALSE(step_in("steps: many").has_value());
  CHECK_FALSE(step_in("first step").has_value());
}

MetricTaker taker(const Json& value) {
  Result<std::vector<MetricSpec>> specs = metric_specs(value);
  REQUIRE(specs.ok());
  Result<MetricTaker> made = MetricTaker::make(std::move(*specs));
  REQUIRE(made.ok());
  return std::move(*made);
}

TEST_CASE("points are taken with the step of their line and summed up") {
  MetricTaker metrics =
      taker({{"loss", "loss=(%S+)"}, {"acc", {{"pattern", "acc=(%S+)"}, {"goal", "max"}}}});
  std::vector<MetricPoint> points = metrics.take("epoch 1 loss=2.5, acc=0.5");
  REQUIRE(points.size() == 2);
  CHECK(points[0].name == "acc");
  CHECK(points[0].step == 1);
  CHECK(points[1].value == 2.5);
  CHECK(metrics.take("nothing here").empty());
  metrics.take("epoch 2 loss=1.5, acc=0.7");
  metrics.take("epoch 3 loss=1.75, acc=0.6");
  Json sum = metrics.summary();
  CHECK(
      sum["loss"] ==
      Json{{"count", 3}, {"last", 1.75}, {"best", 1.5}, {"min", 1.5}, {"max", 2.5}, {"step", 3.0}});
  CHECK(sum["acc"]["best"] == 0.7);
  CHECK(sum["acc"]["last"] == 0.6);
}

TEST_CASE("without a step on the line the points are counted") {
  MetricTaker metrics = taker({{"loss", "loss=(%S+)"}});
  metrics.take("loss=3");
  CHECK(metrics.take("loss=2")[0].step == 2);
}

TEST_CASE("a step pattern wins over the words on the line") {
  MetricTaker metrics = taker({{"loss", {{"pattern", "loss=(%S+)"}, {"step", "it(%d+)"}}}});
  CHECK(metrics.take("epoch 1 it250 loss=3")[0].step == 250);
}

TEST_CASE("a loss that is not a number is seen and spoils neither best nor extremes") {
  MetricTaker metrics = taker({{"loss", "loss=(%S+)"}});
  metrics.take("loss=nan");
  metrics.take("loss=2");
  metrics.take("loss=nan");
  Json sum = metrics.summary();
  CHECK(std::isnan(sum["loss"]["last"].get<double>()));
  CHECK(sum["loss"]["min"] == 2.0);
  CHECK(sum["loss"]["best"] == 2.0);
  CHECK(sum["loss"]["count"] == 3);
  CHECK(sum["loss"]["not_finite"] == 2);
}

TEST_CASE("a metric with a bad pattern is named") {
  Result<MetricTaker> made = MetricTaker::make({MetricSpec{"loss", "loss=(", "", Goal::none}});
  REQUIRE_FALSE(made.ok());
  CHECK(made.error().message == "metric loss: pattern 'loss=(' at byte 7: a '(' is not closed");
}

}  // namespace
}  // namespace choline
