// Points of metrics, and the small tables that views show of a living run.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace choline {

class Database;
class Txn;

struct MetricRow {
  std::string run, task;
  int attempt = 1;
  std::string name;
  double step = 0;
  double value = 0;
  double at = 0;  // wall seconds
};

// A point of the same attempt and step replaces the one before, so a log may be read again.
Status put_metrics(Txn& txn, const std::vector<MetricRow>& points);

struct MetricCurve {
  std::string task, name;
  std::vector<MetricRow>
      points;  // by step; an attempt replaces earlier ones from its first step on
};
struct MetricFilter {
  std::optional<std::string> task, name;
};
Result<std::vector<MetricCurve>> list_metrics(Database& db, const std::string& run,
                                              const MetricFilter& filter);

Status put_shown(Txn& txn, const std::string& run, const std::string& key, const Json& value);
Status clear_shown(Txn& txn, const std::string& run);
Result<std::map<std::string, Json>> list_shown(Database& db, const std::string& run);

}  // namespace choline
