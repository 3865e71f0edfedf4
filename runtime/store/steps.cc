#include "store/steps.h"

#include "store/database.h"
#include "store/store.h"

namespace choline {

namespace {

StepRow read_step(Query& query) {
  StepRow row;
  row.key = query.text(0);
  row.verb = query.text(1);
  row.cls = query.text(2);
  row.args_hash = query.text(3);
  row.state = static_cast<StepState>(query.integer(4));
  row.attempt = static_cast<int>(query.integer(5));
  row.deadline = query.maybe_real(6);
  row.result = query.text(7);
  row.blob = query.text(8);
  row.seq = query.maybe_integer(9);
  row.epoch = query.integer(10);
  row.intent_at = query.real(11);
  row.done_at = query.maybe_real(12);
  return row;
}

#define STEP_COLUMNS \
  "key,verb,class,args_hash,state,attempt,deadline,result,blob,seq,epoch,intent_at,done_at"

Status one_row(Database& db, Query& query, const std::string& key) {
  if (Status ran = query.run(); !ran) return ran;
  if (db.changes() == 1) return done();
  return Error(ErrorKind::conflict, "step '" + key + "' is not in the state this change expects");
}

template <class T>
std::optional<std::string_view> unless_empty(const T& text) {
  if (text.empty()) return std::nullopt;
  return std::string_view(text);
}

}  // namespace

std::string_view to_text(StepState state) {
  switch (state) {
    case StepState::intent:
      return "intent";
    case StepState::ok:
      return "ok";
    case StepState::error:
      return "error";
    case StepState::abandoned:
      return "abandoned";
  }
  return "?";
}

Status insert_step(Txn& txn, const std::string& run, const StepRow& row) {
  return Query(
             txn.db(),
             "INSERT INTO step(run,key,verb,class,args,args_hash,state,attempt,deadline,intent_at,"
             "epoch) VALUES(?,?,?,?,?,?,0,?,?,?,?)",
             run, row.key, row.verb, row.cls, row.args, row.args_hash, row.attempt, row.deadline,
             row.intent_at, row.epoch)
      .run();
}

Status resume_step(Txn& txn, const std::string& run, const StepRow& row) {
  Query query(txn.db(),
              "UPDATE step SET state=0, attempt=?, epoch=?, done_at=NULL "
              "WHERE run=? AND key=? AND state IN (0,3)",
              row.attempt, row.epoch, run, row.key);
  return one_row(txn.db(), query, row.key);
}

Status finish_step(Txn& txn, const std::string& run, const StepRow& row) {
  Query query(txn.db(),
              "UPDATE step SET state=?, result=?, blob=?, seq=?, done_at=? "
              "WHERE run=? AND key=? AND state=0",
              static_cast<int>(row.state), unless_empty(row.result), unless_empty(row.blob),
              row.seq, row.done_at, run, row.key);
  return one_row(txn.db(), query, row.key);
}

Status abandon_step(Txn& txn, const std::string& run, const std::string& key, double at) {
  return Query(txn.db(), "UPDATE step SET state=3, done_at=? WHERE run=? AND key=? AND state=0", at,
               run, key)
      .run();
}

Result<std::vector<StepRow>> load_steps(Database& db, const std::string& run) {
  Query query(db,
              "SELECT " STEP_COLUMNS " FROM step WHERE run=? ORDER BY seq IS NULL, seq, intent_at",
              run);
  std::vector<StepRow> rows;
  while (query.next()) rows.push_back(read_step(query));
  if (Status read = query.status(); !read) return read.error();
  return rows;
}

Result<std::optional<StepRow>> find_step(Database& db, const std::string& run,
                                         const std::string& key) {
  Query query(db, "SELECT " STEP_COLUMNS ",args FROM step WHERE run=? AND key=?", run, key);
  std::optional<StepRow> row;
  if (query.next()) {
    row = read_step(query);
    row->args = query.text(13);
  }
  if (Status read = query.status(); !read) return read.error();
  return row;
}

Result<std::vector<StepRow>> list_steps(Database& db, const std::string& run,
                                        const StepFilter& filter) {
  std::optional<int> state;
  if (filter.state) state = static_cast<int>(*filter.state);
  std::vector<StepRow> rows;
  auto read = [&](Query& query) {
    while (query.next()) {
      rows.push_back(read_step(query));
      rows.back().args = query.text(13);
    }
    return query.status();
  };
  Status status = done();
  if (filter.newest) {
    Query query(db,
                "SELECT * FROM (SELECT " STEP_COLUMNS
                ",args FROM step WHERE run=?1 AND "
                "(?2 IS NULL OR state=?2) AND (?3 IS NULL OR verb=?3) "
                "ORDER BY intent_at DESC, coalesce(seq,9e18) DESC, key DESC LIMIT ?4) "
                "ORDER BY intent_at, coalesce(seq,9e18), key",
                run, state, filter.verb, filter.most);
    status = read(query);
  } else {
    Query query(db,
                "SELECT " STEP_COLUMNS
                ",args FROM step WHERE run=?1 AND "
                "(?2 IS NULL OR state=?2) AND (?3 IS NULL OR verb=?3) "
                "ORDER BY intent_at, coalesce(seq,9e18), key LIMIT ?4",
                run, state, filter.verb, filter.most);
    status = read(query);
  }
  if (!status) return status.error();
  return rows;
}

}  // namespace choline
