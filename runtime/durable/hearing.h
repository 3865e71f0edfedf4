// What is heard of commands while this process follows them: whether a link leads there, how much
// output came, and the points that it gave. Conditions look here instead of into the store.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "base/json.h"
#include "monitor/metrics.h"

namespace choline {

class Hearing {
 public:
  // Points of one command between two looks; who looks so seldom reads them from the store.
  static constexpr size_t kMostPoints = 100'000;

  // One command, for as long as its log is followed. What nobody has taken when it ends stays.
  class Ear {
   public:
    Ear(Hearing& hearing, std::string key);
    Ear(const Ear&) = delete;
    Ear& operator=(const Ear&) = delete;
    ~Ear();

    void set_linked(bool linked) { heard_.linked = linked; }
    void add_bytes(size_t bytes) { heard_.bytes += bytes; }
    void add_point(const MetricPoint& point, double at);

   private:
    friend class Hearing;
    struct Point {
      MetricPoint point;
      double at = 0;
    };
    struct Heard {
      std::string key;
      bool linked = false;
      uint64_t bytes = 0;  // since it is followed
      std::vector<Point> points;
      bool missed = false;  // more points than are kept
    };
    static Json take(Heard& heard);
    Hearing& hearing_;
    Heard heard_;
  };

  // All that is followed, with the points since the last call:
  // [{key, linked, bytes, points = [[name, step, value, at]], missed}]. From the first call on
  // points are kept.
  Json take();

 private:
  bool wanted_ = false;
  std::list<Ear*> ears_;
  std::vector<Ear::Heard> ended_;
};

}  // namespace choline
