#include "store/schema.h"

#include <array>

#include "base/random.h"
#include "store/database.h"

namespace choline {

namespace {

constexpr int64_t kApplicationId = 0x43484f4c;  // "CHOL"

// Times are wall seconds, prices USD per hour. Texts named params, env, owner, failure, args,
// result, spec, handle, cmd, facts, data, value hold JSON.
constexpr const char* kFirst = R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE run(
  id TEXT PRIMARY KEY, name TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN
    ('running','waiting','paused','stopping','done','failed','stopped')),
  seed INTEGER NOT NULL, epoch INTEGER NOT NULL DEFAULT 0, owner TEXT, replay_abi INTEGER NOT NULL,
  code_version INTEGER NOT NULL DEFAULT 1, params TEXT NOT NULL, env TEXT NOT NULL,
  parent TEXT NOT NULL DEFAULT '', incarnations INTEGER NOT NULL DEFAULT 0, budget_usd REAL,
  failure TEXT, created REAL NOT NULL, finished REAL) STRICT;
CREATE INDEX run_created ON run(created);
CREATE INDEX run_name ON run(name, created);

CREATE TABLE source(
  run TEXT NOT NULL REFERENCES run(id), code_version INTEGER NOT NULL, path TEXT NOT NULL,
  sha256 TEXT NOT NULL, body BLOB NOT NULL, place INTEGER NOT NULL,
  PRIMARY KEY(run, code_version, path)) STRICT;

-- state: 0 intent, 1 ok, 2 error, 3 abandoned
CREATE TABLE step(
  run TEXT NOT NULL REFERENCES run(id), key TEXT NOT NULL, verb TEXT NOT NULL, class TEXT NOT NULL,
  args TEXT NOT NULL, args_hash TEXT NOT NULL, state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 3),
  attempt INTEGER NOT NULL DEFAULT 1, deadline REAL, result TEXT, blob TEXT, seq INTEGER,
  code_version INTEGER NOT NULL DEFAULT 1, intent_at REAL NOT NULL, done_at REAL,
  epoch INTEGER NOT NULL, PRIMARY KEY(run, key)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX step_seq ON step(run, seq) WHERE seq IS NOT NULL;

CREATE TABLE res(
  tag TEXT PRIMARY KEY, run TEXT NOT NULL, step TEXT NOT NULL, kind TEXT NOT NULL,
  name TEXT NOT NULL, provider TEXT NOT NULL, spec TEXT, handle TEXT,
  provider_id TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL CHECK(state IN ('intended','live','releasing','gone','void','lost')),
  usd_h REAL NOT NULL DEFAULT 0, host TEXT NOT NULL DEFAULT '', lease_until REAL,
  intended_at REAL NOT NULL, live_at REAL, gone_at REAL, misses INTEGER NOT NULL DEFAULT 0) STRICT;
-- One living instance for each step that creates one, enforced here.
CREATE UNIQUE INDEX res_one ON res(run, step) WHERE state IN ('intended','live','releasing');
CREATE INDEX res_run ON res(run);
CREATE INDEX res_provider ON res(provider, provider_id);
CREATE INDEX res_alive ON res(state) WHERE state IN ('intended','live','releasing','lost');

CREATE TABLE proc(
  run TEXT NOT NULL, key TEXT NOT NULL, tag TEXT NOT NULL REFERENCES res(tag), task TEXT NOT NULL,
  attempt INTEGER NOT NULL, cmd TEXT, log TEXT NOT NULL, log_offset INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL, code INTEGER, signal INTEGER, started REAL, ended REAL, facts TEXT,
  PRIMARY KEY(run, key)) STRICT;

-- For schedules and alerts.
CREATE TABLE schedule(
  id TEXT PRIMARY KEY, spec TEXT, next_at REAL, last_run TEXT, missed TEXT) STRICT;
CREATE TABLE outbox(
  id INTEGER PRIMARY KEY, dedupe TEXT UNIQUE, channel TEXT, body TEXT,
  attempts INTEGER NOT NULL DEFAULT 0, sent_at REAL) STRICT;

CREATE TABLE event(
  run TEXT NOT NULL, id INTEGER NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
  data TEXT, PRIMARY KEY(run, id)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX event_key ON event(run, key) WHERE key <> '';

CREATE TABLE metric(
  run TEXT NOT NULL, task TEXT NOT NULL, name TEXT NOT NULL, attempt INTEGER NOT NULL,
  step REAL NOT NULL, value REAL, at REAL NOT NULL,
  PRIMARY KEY(run, task, name, attempt, step)) STRICT, WITHOUT ROWID;

-- What views show of a living run; not durable.
CREATE TABLE shown(
  run TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(run, key)) STRICT, WITHOUT ROWID;
)sql";

// The n-th brings a store from user_version n to n + 1. Never changed once released, only added to.
constexpr std::array kMigrations = {kFirst};
constexpr int64_t kVersion = kMigrations.size();

struct Marks {
  int64_t version = 0;
  int64_t application = 0;
  int64_t tables = 0;
};

Result<Marks> read_marks(Database& db) {
  Marks marks;
  Query version(db, "PRAGMA user_version");
  if (version.next()) marks.version = version.integer(0);
  if (Status read = version.status(); !read) return read.error();
  Query application(db, "PRAGMA application_id");
  if (application.next()) marks.application = application.integer(0);
  if (Status read = application.status(); !read) return read.error();
  if (marks.application == 0) {
    Query tables(db, "SELECT count(*) FROM sqlite_schema");
    if (tables.next()) marks.tables = tables.integer(0);
    if (Status read = tables.status(); !read) return read.error();
  }
  return marks;
}

Status refuse(const Database& db, const Marks& marks) {
  bool is_empty = marks.application == 0 && marks.version == 0 && marks.tables == 0;
  if (marks.application != kApplicationId && !is_empty) {
    return Error(ErrorKind::invalid, "'" + db.path() +
                                         "' is a database of another program; move "
                                         "it away, or choose another folder with XDG_STATE_HOME");
  }
  if (marks.version > kVersion) {
    return Error(ErrorKind::unsupported,
                 "the store '" + db.path() + "' was written by a newer choline (schema " +
                     std::to_string(marks.version) + ", this one knows " +
                     std::to_string(kVersion) +
                     "); upgrade choline, or choose another folder with XDG_STATE_HOME",
                 {{"schema", marks.version}, {"known", kVersion}});
  }
  return done();
}

Status apply(Database& db) {
  // Read again: another process may have been faster.
  Result<Marks> marks = read_marks(db);
  if (!marks) return marks.error();
  if (Status good = refuse(db, *marks); !good) return good;
  for (auto version = marks->version; version < kVersion; ++version) {
    if (Status applied = db.script(kMigrations[static_cast<size_t>(version)]); !applied) {
      return applied;
    }
  }
  std::string pragmas = "PRAGMA application_id=" + std::to_string(kApplicationId) +
                        "; PRAGMA user_version=" + std::to_string(kVersion);
  if (Status set = db.script(pragmas.c_str()); !set) return set;
  Query install(db, "INSERT OR IGNORE INTO meta(key,value) VALUES('install',?)", random_id(8));
  return install.run();
}

}  // namespace

Status migrate(Database& db) {
  Result<Marks> marks = read_marks(db);
  if (!marks) return marks.error();
  if (Status good = refuse(db, *marks); !good) return good;
  if (marks->version == kVersion) return done();
  if (Status begun = db.script("BEGIN IMMEDIATE"); !begun) return begun;
  Status applied = apply(db);
  if (applied) applied = db.script("COMMIT");
  if (!applied && db.in_transaction()) {
    // The first error is the one to tell; a rollback that fails too leaves SQLite to undo it at the
    // next open.
    if (Status undone = db.script("ROLLBACK"); !undone) return applied;
  }
  return applied;
}

Status check_schema(Database& db) {
  Result<Marks> marks = read_marks(db);
  if (!marks) return marks.error();
  if (Status good = refuse(db, *marks); !good) return good;
  if (marks->version < kVersion) {
    return Error(ErrorKind::unsupported, "the store '" + db.path() +
                                             "' has an older schema and cannot be written to "
                                             "bring it up to date; make it writable once");
  }
  return done();
}

}  // namespace choline
