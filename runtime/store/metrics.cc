#include "store/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "store/database.h"
#include "store/store.h"

namespace choline {

namespace {

// SQLite has no NaN: it is kept as NULL. Infinities are kept as they are.
std::optional<double> to_column(double value) {
  if (std::isnan(value)) return std::nullopt;
  return value;
}

// `points` come by attempt and step. An attempt that starts at step s has replaced what earlier
// attempts had from s on.
std::vector<MetricRow> merge_attempts(std::vector<MetricRow> points) {
  std::vector<MetricRow> curve;
  for (size_t start = 0; start < points.size();) {
    size_t end = start;
    while (end < points.size() && points[end].attempt == points[start].attempt) ++end;
    double first = points[start].step;
    std::erase_if(curve, [first](const MetricRow& point) { return point.step >= first; });
    curve.insert(curve.end(), std::make_move_iterator(points.begin() + static_cast<long>(start)),
                 std::make_move_iterator(points.begin() + static_cast<long>(end)));
    start = end;
  }
  return curve;
}

}  // namespace

Status put_metrics(Txn& txn, const std::vector<MetricRow>& points) {
  for (const MetricRow& point : points) {
    Status put = Query(txn.db(),
                       "INSERT INTO metric(run,task,name,attempt,step,value,at) "
                       "VALUES(?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET value=excluded.value, "
                       "at=excluded.at",
                       point.run, point.task, point.name, point.attempt, point.step,
                       to_column(point.value), point.at)
                     .run();
    if (!put) return put;
  }
  return done();
}

Result<std::vector<MetricCurve>> list_metrics(Database& db, const std::string& run,
                                              const MetricFilter& filter) {
  Query query(db,
              "SELECT task,name,attempt,step,value,at FROM metric WHERE run=?1 AND "
              "(?2 IS NULL OR task=?2) AND (?3 IS NULL OR name=?3) "
              "ORDER BY task,name,attempt,step",
              run, filter.task, filter.name);
  std::vector<MetricCurve> curves;
  while (query.next()) {
    MetricRow point;
    point.run = run;
    point.task = query.text(0);
    point.name = query.text(1);
    point.attempt = static_cast<int>(query.integer(2));
    point.step = query.real(3);
    point.value = query.is_null(4) ? std::numeric_limits<double>::quiet_NaN() : query.real(4);
    point.at = query.real(5);
    if (curves.empty() || curves.back().task != point.task || curves.back().name != point.name) {
      curves.push_back({point.task, point.name, {}});
    }
    curves.back().points.push_back(std::move(point));
  }
  if (Status read = query.status(); !read) return read.error();
  for (MetricCurve& curve : curves) curve.points = merge_attempts(std::move(curve.points));
  return curves;
}

Status put_shown(Txn& txn, const std::string& run, const std::string& key, const Json& value) {
  if (value.is_null()) {
    return Query(txn.db(), "DELETE FROM shown WHERE run=? AND key=?", run, key).run();
  }
  return Query(txn.db(),
               "INSERT INTO shown(run,key,value) VALUES(?,?,?) "
               "ON CONFLICT DO UPDATE SET value=excluded.value",
               run, key, value)
      .run();
}

Status clear_shown(Txn& txn, const std::string& run) {
  return Query(txn.db(), "DELETE FROM shown WHERE run=?", run).run();
}

Result<std::map<std::string, Json>> list_shown(Database& db, const std::string& run) {
  Query query(db, "SELECT key,value FROM shown WHERE run=?", run);
  std::map<std::string, Json> shown;
  while (query.next()) shown[query.text(0)] = query.json(1);
  if (Status read = query.status(); !read) return read.error();
  return shown;
}

}  // namespace choline
