#include "store/resources.h"

#include <algorithm>
#include <initializer_list>

#include "base/text.h"
#include "store/database.h"
#include "store/store.h"

namespace choline {

namespace {

constexpr ResourceState kResourceStates[] = {ResourceState::intended,  ResourceState::live,
                                             ResourceState::releasing, ResourceState::gone,
                                             ResourceState::voided,    ResourceState::lost};

ResourceState resource_state(const std::string& text) {
  for (ResourceState state : kResourceStates) {
    if (to_text(state) == text) return state;
  }
  return ResourceState::lost;  // unreachable: the table checks its values
}

#define RES_COLUMNS                                                                       \
  "tag,run,step,kind,name,provider,spec,handle,provider_id,state,usd_h,host,lease_until," \
  "intended_at,live_at,gone_at,misses"

ResourceRow read_resource(Query& query) {
  ResourceRow row;
  row.tag = query.text(0);
  row.run = query.text(1);
  row.step = query.text(2);
  row.kind = query.text(3);
  row.name = query.text(4);
  row.provider = query.text(5);
  row.spec = query.json(6);
  row.handle = query.json(7);
  row.provider_id = query.text(8);
  row.state = resource_state(query.text(9));
  row.price = query.real(10);
  row.host = query.text(11);
  row.lease_until = query.maybe_real(12);
  row.intended_at = query.real(13);
  row.live_at = query.maybe_real(14);
  row.gone_at = query.maybe_real(15);
  row.misses = static_cast<int>(query.integer(16));
  return row;
}

// Whether a change to `wanted` is to be made: no when it was made already, a conflict when the row
// is in a state from which nothing leads there.
Result<bool> may_become(Txn& txn, const std::string& tag, ResourceState wanted,
                        std::initializer_list<ResourceState> from) {
  Query query(txn.db(), "SELECT state FROM res WHERE tag=?", tag);
  bool found = query.next();
  if (Status read = query.status(); !read) return read.error();
  if (!found) return Error(ErrorKind::not_found, "there is no instance " + choline::quoted(tag));
  ResourceState now = resource_state(query.text(0));
  if (std::find(from.begin(), from.end(), now) != from.end()) return true;
  if (now == wanted) return false;
  return Error(ErrorKind::conflict,
               "instance '" + tag + "' is " + std::string(to_text(now)) + " and cannot become " +
                   std::string(to_text(wanted)),
               {{"tag", tag}, {"state", to_text(now)}});
}

using enum ResourceState;

}  // namespace

std::string_view to_text(ResourceState state) {
  switch (state) {
    case ResourceState::intended:
      return "intended";
    case ResourceState::live:
      return "live";
    case ResourceState::releasing:
      return "releasing";
    case ResourceState::gone:
      return "gone";
    case ResourceState::voided:
      return "void";
    case ResourceState::lost:
      return "lost";
  }
  return "?";
}

double ResourceRow::cost(double now) const {
  if (!live_at || state == ResourceState::voided) return 0;
  double end = gone_at ? std::min(*gone_at, now) : now;
  return std::max(0.0, end - *live_at) * price / 3600;
}

Status insert_intended(Txn& txn, const ResourceRow& row) {
  return Query(
             txn.db(),
             "INSERT INTO res(tag,run,step,kind,name,provider,spec,handle,provider_id,state,usd_h,"
             "host,lease_until,intended_at) VALUES(?,?,?,?,?,?,?,?,?,'intended',?,?,?,?)",
             row.tag, row.run, row.step, row.kind, row.name, row.provider, row.spec, row.handle,
             row.provider_id, row.price, row.host, row.lease_until, row.intended_at)
      .run();
}

Status set_live(Txn& txn, const std::string& tag, const LiveFacts& facts) {
  Result<bool> change = may_become(txn, tag, live, {intended, live});
  if (!change) return change.error();
  return Query(txn.db(),
               "UPDATE res SET state='live', provider_id=?, usd_h=?, host=?, handle=?, "
               "live_at=coalesce(live_at,?), misses=0 WHERE tag=?",
               facts.provider_id, facts.price, facts.host, facts.handle, facts.at, tag)
      .run();
}

Status set_releasing(Txn& txn, const std::string& tag, std::optional<double> ended) {
  Result<bool> change = may_become(txn, tag, releasing, {intended, live, lost});
  if (!change) return change.error();
  if (!*change) return done();
  // An end that was only supposed is no end: it may still cost until it is proved gone.
  return Query(txn.db(), "UPDATE res SET state='releasing', gone_at=? WHERE tag=?", ended, tag)
      .run();
}

Status set_gone(Txn& txn, const std::string& tag, double at) {
  Result<bool> change = may_become(txn, tag, gone, {intended, live, releasing, lost});
  if (!change) return change.error();
  if (!*change) return done();
  return Query(txn.db(), "UPDATE res SET state='gone', gone_at=? WHERE tag=?", at, tag).run();
}

Status set_void(Txn& txn, const std::string& tag, double at) {
  Result<bool> change = may_become(txn, tag, voided, {intended});
  if (!change) return change.error();
  if (!*change) return done();
  return Query(txn.db(), "UPDATE res SET state='void', gone_at=? WHERE tag=?", at, tag).run();
}

Status set_lost(Txn& txn, const std::string& tag, double at) {
  Result<bool> change = may_become(txn, tag, lost, {live, releasing});
  if (!change) return change.error();
  if (!*change) return done();
  return Query(txn.db(), "UPDATE res SET state='lost', gone_at=? WHERE tag=?", at, tag).run();
}

Status set_misses(Txn& txn, const std::string& tag, int misses) {
  return Query(txn.db(), "UPDATE res SET misses=? WHERE tag=?", misses, tag).run();
}

Status set_lease(Txn& txn, const std::string& tag, double until) {
  return Query(txn.db(), "UPDATE res SET lease_until=? WHERE tag=?", until, tag).run();
}

Status set_handle(Txn& txn, const std::string& tag, const Json& handle) {
  return Query(txn.db(), "UPDATE res SET handle=? WHERE tag=?", handle, tag).run();
}

Result<std::optional<ResourceRow>> find_resource(Database& db, const std::string& tag) {
  Query query(db, "SELECT " RES_COLUMNS " FROM res WHERE tag=?", tag);
  std::optional<ResourceRow> row;
  if (query.next()) row = read_resource(query);
  if (Status read = query.status(); !read) return read.error();
  return row;
}

Result<std::vector<ResourceRow>> list_resources(Database& db, const ResourceFilter& filter) {
  std::string states;  // ",live,lost,"
  for (ResourceState state : filter.states) states += "," + std::string(to_text(state)) + ",";
  Query query(db,
              "SELECT " RES_COLUMNS
              " FROM res WHERE (?1 IS NULL OR run=?1) AND "
              "(?2 IS NULL OR name=?2) AND (?3 IS NULL OR provider=?3) AND "
              "(?4 IS NULL OR step=?4) AND (?5='' OR instr(?5, ',' || state || ',')>0) "
              "ORDER BY intended_at, rowid",
              filter.run, filter.name, filter.provider, filter.step, states);
  std::vector<ResourceRow> rows;
  while (query.next()) rows.push_back(read_resource(query));
  if (Status read = query.status(); !read) return read.error();
  return rows;
}

Result<double> run_cost(Database& db, const std::string& run, double now) {
  Query query(
      db,
      "SELECT coalesce(sum(usd_h * max(0, coalesce(min(gone_at,?1),?1) - live_at)) / 3600.0,"
      "0) FROM res WHERE run=?2 AND live_at IS NOT NULL AND state<>'void'",
      now, run);
  double usd = query.next() ? query.real(0) : 0;
  if (Status read = query.status(); !read) return read.error();
  return usd;
}

}  // namespace choline
