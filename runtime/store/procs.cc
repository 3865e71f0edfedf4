// Commands on instances; declared in resources.h.
#include "store/database.h"
#include "store/resources.h"
#include "store/store.h"

namespace choline {

namespace {

#define PROC_COLUMNS \
  "run,key,tag,task,attempt,cmd,log,log_offset,state,code,signal,started,ended,facts"

std::optional<int> maybe_int(const Query& query, int column) {
  if (query.is_null(column)) return std::nullopt;
  return static_cast<int>(query.integer(column));
}

ProcRow read_proc(Query& query) {
  ProcRow row;
  row.run = query.text(0);
  row.key = query.text(1);
  row.tag = query.text(2);
  row.task = query.text(3);
  row.attempt = static_cast<int>(query.integer(4));
  row.cmd = query.json(5);
  row.log = query.text(6);
  row.log_offset = query.integer(7);
  row.state = query.text(8);
  row.code = maybe_int(query, 9);
  row.signal = maybe_int(query, 10);
  row.started = query.maybe_real(11);
  row.ended = query.maybe_real(12);
  row.facts = query.json(13);
  return row;
}

}  // namespace

Status insert_proc(Txn& txn, const ProcRow& row) {
  return Query(txn.db(),
               "INSERT INTO proc(" PROC_COLUMNS
               ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?) "
               "ON CONFLICT(run,key) DO NOTHING",
               row.run, row.key, row.tag, row.task, row.attempt, row.cmd, row.log, row.log_offset,
               row.state, row.code, row.signal, row.started, row.ended, row.facts)
      .run();
}

Status update_proc(Txn& txn, const ProcRow& row) {
  return Query(txn.db(),
               "UPDATE proc SET tag=?, task=?, attempt=?, cmd=?, log=?, state=?, code=?, signal=?, "
               "started=?, ended=?, facts=? WHERE run=? AND key=?",
               row.tag, row.task, row.attempt, row.cmd, row.log, row.state, row.code, row.signal,
               row.started, row.ended, row.facts, row.run, row.key)
      .run();
}

Status set_log_offset(Txn& txn, const std::string& run, const std::string& key, int64_t offset) {
  return Query(txn.db(), "UPDATE proc SET log_offset=? WHERE run=? AND key=?", offset, run, key)
      .run();
}

Result<std::optional<ProcRow>> find_proc(Database& db, const std::string& run,
                                         const std::string& key) {
  Query query(db, "SELECT " PROC_COLUMNS " FROM proc WHERE run=? AND key=?", run, key);
  std::optional<ProcRow> row;
  if (query.next()) row = read_proc(query);
  if (Status read = query.status(); !read) return read.error();
  return row;
}

Result<std::vector<ProcRow>> list_procs(Database& db, const std::string& run) {
  Query query(db, "SELECT " PROC_COLUMNS " FROM proc WHERE run=? ORDER BY rowid", run);
  std::vector<ProcRow> rows;
  while (query.next()) rows.push_back(read_proc(query));
  if (Status read = query.status(); !read) return read.error();
  return rows;
}

}  // namespace choline
