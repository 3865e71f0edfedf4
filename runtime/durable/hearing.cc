#include "durable/hearing.h"

#include <utility>

namespace choline {

Hearing::Ear::Ear(Hearing& hearing, std::string key) : hearing_(hearing) {
  heard_.key = std::move(key);
  hearing_.ears_.push_back(this);
}

Hearing::Ear::~Ear() {
  hearing_.ears_.remove(this);
  heard_.linked = false;
  if (!heard_.points.empty() || heard_.missed) hearing_.ended_.push_back(std::move(heard_));
}

void Hearing::Ear::add_point(const MetricPoint& point, double at) {
  if (!hearing_.wanted_) return;
  if (heard_.points.size() < kMostPoints) {
    heard_.points.push_back(Point{point, at});
  } else {
    heard_.missed = true;
  }
}

Json Hearing::Ear::take(Heard& heard) {
  Json told = {{"key", heard.key}, {"linked", heard.linked}, {"bytes", heard.bytes}};
  if (std::exchange(heard.missed, false)) told["missed"] = true;
  if (heard.points.empty()) return told;
  Json points = Json::array();
  for (Point& each : std::exchange(heard.points, {})) {
    points.push_back(
        Json::array({std::move(each.point.name), each.point.step, each.point.value, each.at}));
  }
  told["points"] = std::move(points);
  return told;
}

Json Hearing::take() {
  wanted_ = true;
  Json all = Json::array();
  for (Ear::Heard& heard : std::exchange(ended_, {})) all.push_back(Ear::take(heard));
  for (Ear* ear : ears_) all.push_back(Ear::take(ear->heard_));
  return all;
}

}  // namespace choline
