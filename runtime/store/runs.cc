#include "store/runs.h"

#include <algorithm>
#include <array>

#include "base/digest.h"
#include "base/text.h"
#include "store/database.h"
#include "store/store.h"

namespace choline {

namespace {

constexpr std::array<std::string_view, 7> kStates = {"running", "waiting", "paused", "stopping",
                                                     "done",    "failed",  "stopped"};

// ?1 is always the time until which instances that still live are paid.
#define RUN_COST                                                                           \
  "coalesce((SELECT sum(usd_h * max(0, coalesce(min(gone_at,?1),?1) - live_at)) / 3600.0 " \
  "FROM res WHERE res.run=run.id AND live_at IS NOT NULL AND state<>'void'),0)"
#define RUN_COLUMNS                                                                        \
  "id,name,state,seed,epoch,owner,replay_abi,code_version,params,env,parent,incarnations," \
  "budget_usd,failure,created,finished," RUN_COST

RunRow read_run(Query& query) {
  RunRow row;
  row.id = query.text(0);
  row.name = query.text(1);
  row.state = query.text(2);
  row.seed = query.integer(3);
  row.epoch = query.integer(4);
  row.owner = query.json(5);
  row.replay_abi = static_cast<int>(query.integer(6));
  row.code_version = static_cast<int>(query.integer(7));
  row.params = query.json(8);
  row.env = query.json(9);
  row.parent = query.text(10);
  row.incarnations = query.integer(11);
  row.budget = query.maybe_real(12);
  row.failure = query.json(13);
  row.created = query.real(14);
  row.finished = query.maybe_real(15);
  row.cost = query.real(16);
  return row;
}

Result<std::vector<RunRow>> read_rows(Query& query) {
  std::vector<RunRow> rows;
  while (query.next()) rows.push_back(read_run(query));
  if (Status read = query.status(); !read) return read.error();
  return rows;
}

Result<std::optional<RunRow>> read_first(Query& query) {
  std::optional<RunRow> row;
  if (query.next()) row = read_run(query);
  if (Status read = query.status(); !read) return read.error();
  return row;
}

// For LIKE with '\' as escape: no letter of `text` is a wildcard.
std::string escape_like(std::string_view text) {
  std::string out;
  for (char letter : text) {
    if (letter == '%' || letter == '_' || letter == '\\') out += '\\';
    out += letter;
  }
  return out;
}

Error unknown_run(Database& db, const std::string& reference) {
  Query query(db, "SELECT id,name FROM run ORDER BY created DESC LIMIT 1000");
  std::vector<std::string> known;
  while (query.next()) {
    known.push_back(query.text(1));
    known.push_back(query.text(0));
  }
  if (Status read = query.status(); !read) return read.error();
  std::string text = "there is no run " + choline::quoted(reference);
  Json fields = {{"reference", reference}};
  if (std::optional<std::string> near = nearest(reference, known)) {
    text += "; did you mean " + choline::quoted(*near) + "?";
    fields["nearest"] = *near;
  } else {
    text += "; 'choline ls' shows all runs";
  }
  return Error(ErrorKind::not_found, text, fields);
}

Error ambiguous(const std::string& reference, const std::vector<RunRow>& rows) {
  std::vector<std::string> ids;
  ids.reserve(rows.size());
  for (const RunRow& row : rows) ids.push_back(row.id);
  return Error(ErrorKind::conflict,
               choline::quoted(reference) +
                   " is the start of more than one run: " + join(ids, ", ") + "; give more letters",
               {{"reference", reference}, {"runs", ids}});
}

}  // namespace

bool is_run_state(std::string_view word) {
  return std::find(kStates.begin(), kStates.end(), word) != kStates.end();
}

bool is_ended(std::string_view state) {
  return state == "done" || state == "failed" || state == "stopped";
}

Status check_replay_abi(const RunRow& row) {
  if (row.replay_abi == kReplayAbi) return done();
  bool newer = row.replay_abi > kReplayAbi;
  std::string by = row.env.is_object() ? row.env.value("choline", std::string()) : std::string();
  return Error(ErrorKind::unsupported,
               "run " + row.id + " was begun by " +
                   (by.empty() ? "another choline" : "choline " + by) +
                   ", which records runs by rules " + std::to_string(row.replay_abi) +
                   "; this choline replays rules " + std::to_string(kReplayAbi) + ". " +
                   (newer ? "Upgrade choline to go on with it"
                          : "Go on with it with that version of choline") +
                   ", or end it by 'choline stop " + row.id +
                   "'; its instances and commands were not touched",
               {{"run", row.id}, {"replay_abi", row.replay_abi}, {"known", kReplayAbi}});
}

Status insert_sources(Txn& txn, const RunRow& row, const std::vector<SourceRow>& sources) {
  int place = 0;
  for (const SourceRow& source : sources) {
    Status kept =
        Query(txn.db(),
              "INSERT INTO source(run,code_version,path,sha256,body,place) "
              "VALUES(?,?,?,?,CAST(? AS BLOB),?)",
              row.id, row.code_version, source.path, sha256_hex(source.text), source.text, ++place)
            .run();
    if (!kept) return kept;
  }
  return done();
}

Status insert_run(Txn& txn, const RunRow& row, const std::vector<SourceRow>& sources) {
  Status inserted =
      Query(txn.db(),
            "INSERT INTO run(id,name,state,seed,replay_abi,code_version,params,env,parent,"
            "budget_usd,created) VALUES(?,?,?,?,?,?,?,?,?,?,?)",
            row.id, row.name, row.state, row.seed, row.replay_abi, row.code_version,
            to_text(row.params), to_text(row.env), row.parent, row.budget, row.created)
          .run();
  if (!inserted) return inserted;
  return insert_sources(txn, row, sources);
}

Result<std::optional<std::string>> find_child(Database& db, const std::string& parent) {
  if (parent.empty()) return std::optional<std::string>();
  Query query(db, "SELECT id FROM run WHERE parent=?", parent);
  std::optional<std::string> id;
  if (query.next()) id = query.text(0);
  if (Status read = query.status(); !read) return read.error();
  return id;
}

Result<std::vector<RunRow>> list_runs(Database& db, const RunFilter& filter, double now) {
  Query query(db,
              "SELECT " RUN_COLUMNS
              " FROM run WHERE (?2 IS NULL OR name=?2) AND "
              "(?3 IS NULL OR state=?3) ORDER BY created DESC, rowid DESC LIMIT ?4",
              now, filter.name, filter.state, filter.most);
  return read_rows(query);
}

Result<std::optional<RunRow>> get_run(Database& db, const std::string& id, double now) {
  Query query(db, "SELECT " RUN_COLUMNS " FROM run WHERE id=?2", now, id);
  return read_first(query);
}

Result<RunRow> find_run(Database& db, const std::string& reference, double now) {
  if (reference.empty()) {
    Result<std::vector<RunRow>> newest = list_runs(db, {.most = 1}, now);
    if (!newest) return newest.error();
    if (newest->empty()) {
      return Error(ErrorKind::not_found, "there is no run yet; 'choline run' starts one");
    }
    return std::move(newest->front());
  }
  Result<std::optional<RunRow>> exact = get_run(db, reference, now);
  if (!exact) return exact.error();
  if (*exact) return std::move(**exact);
  Result<std::vector<RunRow>> named = list_runs(db, {.name = reference, .most = 1}, now);
  if (!named) return named.error();
  if (!named->empty()) return std::move(named->front());
  Query query(db,
              "SELECT " RUN_COLUMNS
              " FROM run WHERE id LIKE ?2 || '%' ESCAPE '\\' "
              "ORDER BY created DESC LIMIT 5",
              now, escape_like(reference));
  Result<std::vector<RunRow>> starting = read_rows(query);
  if (!starting) return starting.error();
  if (starting->size() == 1) return std::move(starting->front());
  if (!starting->empty()) return ambiguous(reference, *starting);
  return unknown_run(db, reference);
}

Result<std::vector<SourceRow>> list_sources(Database& db, const std::string& run) {
  Query query(db,
              "SELECT path,body,sha256 FROM source WHERE run=?1 AND "
              "code_version=(SELECT code_version FROM run WHERE id=?1) ORDER BY place",
              run);
  std::vector<SourceRow> rows;
  while (query.next()) rows.push_back({query.text(0), query.text(1), query.text(2)});
  if (Status read = query.status(); !read) return read.error();
  return rows;
}

Result<int64_t> take_run(Txn& txn, const std::string& run, const Json& owner) {
  Query query(txn.db(),
              "UPDATE run SET epoch=epoch+1, incarnations=incarnations+1, owner=? WHERE id=? "
              "RETURNING epoch",
              owner, run);
  std::optional<int64_t> epoch;
  while (query.next()) epoch = query.integer(0);
  if (Status ran = query.status(); !ran) return ran.error();
  if (!epoch) return Error(ErrorKind::not_found, "there is no run " + choline::quoted(run));
  return *epoch;
}

Status check_epoch(Database& db, const std::string& run, int64_t epoch) {
  Query query(db, "SELECT epoch FROM run WHERE id=?", run);
  bool found = query.next();
  if (Status read = query.status(); !read) return read;
  if (found && query.integer(0) == epoch) return done();
  return Error(ErrorKind::conflict,
               "run " + run +
                   " was taken over by another process; this one stops without "
                   "touching it (see 'choline status " +
                   run + "')",
               {{"run", run}, {"epoch", epoch}});
}

Status leave_run(Txn& txn, const std::string& run, int64_t epoch) {
  return Query(txn.db(), "UPDATE run SET owner=NULL WHERE id=? AND epoch=?", run, epoch).run();
}

Status set_run_state(Txn& txn, const std::string& run, const std::string& state,
                     const Json& failure, double at) {
  if (!is_run_state(state)) {
    return Error(ErrorKind::invalid, choline::quoted(state) +
                                         " is no state of a run; expected running, "
                                         "waiting, paused, stopping, done, failed or stopped");
  }
  std::optional<double> finished;
  if (is_ended(state)) finished = at;
  return Query(txn.db(), "UPDATE run SET state=?, failure=?, finished=? WHERE id=?", state, failure,
               finished, run)
      .run();
}

}  // namespace choline
