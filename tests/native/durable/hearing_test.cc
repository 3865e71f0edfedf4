// What is heard of commands: kept from the first look on, given once, and bounded.
#include "durable/hearing.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>

using namespace choline;

namespace {

MetricPoint point(double step, double value) {
  return MetricPoint{"loss", step, value};
}

}  // namespace

TEST_CASE("points are kept from the first look on, and given once") {
  Hearing hearing;
  Hearing::Ear ear(hearing, "run.train.1");
  ear.add_point(point(1, 0.5), 100);
  Json first = hearing.take();
  REQUIRE(first.size() == 1);
  CHECK(first[0]["key"] == "run.train.1");
  CHECK(first[0]["linked"] == false);
  CHECK_FALSE(first[0].contains("points"));
  ear.set_linked(true);
  ear.add_bytes(10);
  ear.add_bytes(5);
  ear.add_point(point(2, 0.25), 101);
  ear.add_point(point(3, std::numeric_limits<double>::quiet_NaN()), 102);
  Json second = hearing.take();
  CHECK(second[0]["linked"] == true);
  CHECK(second[0]["bytes"] == 15);
  REQUIRE(second[0]["points"].size() == 2);
  CHECK(second[0]["points"][0] == Json::array({"loss", 2.0, 0.25, 101.0}));
  CHECK(std::isnan(second[0]["points"][1][2].get<double>()));
  CHECK_FALSE(hearing.take()[0].contains("points"));
  CHECK(hearing.take()[0]["bytes"] == 15);
}

TEST_CASE("what a command gave last is there when it is no longer followed") {
  Hearing hearing;
  hearing.take();
  auto ear = std::make_unique<Hearing::Ear>(hearing, "a");
  ear->set_linked(true);
  ear->add_point(point(1, 1), 100);
  auto silent = std::make_unique<Hearing::Ear>(hearing, "b");
  ear.reset();
  silent.reset();
  Json told = hearing.take();
  REQUIRE(told.size() == 1);
  CHECK(told[0]["key"] == "a");
  CHECK(told[0]["linked"] == false);
  CHECK(told[0]["points"].size() == 1);
  CHECK(hearing.take().empty());
}

TEST_CASE("more points than are kept are said to be missing, once") {
  Hearing hearing;
  hearing.take();
  Hearing::Ear ear(hearing, "a");
  for (size_t step = 0; step < Hearing::kMostPoints + 2; ++step) {
    ear.add_point(point(static_cast<double>(step), 1), 100);
  }
  Json told = hearing.take();
  CHECK(told[0]["missed"] == true);
  CHECK(told[0]["points"].size() == Hearing::kMostPoints);
  ear.add_point(point(7, 1), 101);
  told = hearing.take();
  CHECK_FALSE(told[0].contains("missed"));
  CHECK(told[0]["points"].size() == 1);
}
