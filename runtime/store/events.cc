#include "store/events.h"

#include "store/database.h"
#include "store/store.h"

namespace choline {

Result<EventRow> append_event(Txn& txn, const std::string& run, EventRow row) {
  if (!row.key.empty()) {
    Query same(txn.db(), "SELECT id,at,kind,data FROM event WHERE run=? AND key=?", run, row.key);
    if (same.next()) {
      row.id = same.integer(0);
      row.at = same.real(1);
      row.kind = same.text(2);
      row.data = same.json(3);
      if (Status read = same.status(); !read) return read.error();
      return row;
    }
    if (Status read = same.status(); !read) return read.error();
  }
  Query last(txn.db(), "SELECT coalesce(max(id),0) FROM event WHERE run=?", run);
  row.id = last.next() ? last.integer(0) + 1 : 1;
  if (Status read = last.status(); !read) return read.error();
  Status inserted =
      Query(txn.db(), "INSERT INTO event(run,id,key,at,kind,data) VALUES(?,?,?,?,?,?)", run, row.id,
            row.key, row.at, row.kind, row.data)
          .run();
  if (!inserted) return inserted.error();
  return row;
}

namespace {

Result<std::vector<EventRow>> read_events(Query& query) {
  std::vector<EventRow> rows;
  while (query.next()) {
    EventRow row;
    row.id = query.integer(0);
    row.key = query.text(1);
    row.at = query.real(2);
    row.kind = query.text(3);
    row.data = query.json(4);
    rows.push_back(std::move(row));
  }
  if (Status read = query.status(); !read) return read.error();
  return rows;
}

}  // namespace

Result<std::vector<EventRow>> list_events(Database& db, const std::string& run, int64_t after_id,
                                          int64_t most) {
  Query query(db, "SELECT id,key,at,kind,data FROM event WHERE run=? AND id>? ORDER BY id LIMIT ?",
              run, after_id, most);
  return read_events(query);
}

Result<std::vector<EventRow>> list_events_of_kind(Database& db, const std::string& kind,
                                                  double since) {
  Query query(db, "SELECT id,key,at,kind,data FROM event WHERE kind=? AND at>? ORDER BY at DESC",
              kind, since);
  return read_events(query);
}

}  // namespace choline
