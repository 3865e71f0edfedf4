#include "store/database.h"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace choline {

namespace {

bool is_disk_full(int code, int system_error) {
  if ((code & 0xff) == SQLITE_FULL) return true;
  return (code & 0xff) == SQLITE_IOERR &&
         (system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG);
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::string& path, Access access) {
  int flags = SQLITE_OPEN_NOMUTEX;  // one thread owns the connection
  if (access == Access::write)
    flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  else
    flags |= access == Access::alone ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
  std::string name = path;
  if (access == Access::still) {
    flags |= SQLITE_OPEN_URI;
    name = "file:" + percent_encode(path, "/") + "?immutable=1";
  }
  sqlite3* handle = nullptr;
  errno = 0;
  int code = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
  std::unique_ptr<Database> db(new Database(handle, path));
  if (code != SQLITE_OK) return db->error("open", code, errno);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyMilliseconds);
  if (access != Access::alone) return db;
  // The index of the log is then in memory; and nothing is moved out of the log at the end.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  Status set = db->script("PRAGMA locking_mode=EXCLUSIVE; PRAGMA query_only=ON");
  if (!set) return set.error();
  return db;
}

Database::~Database() {
  for (auto& [sql, statement] : idle_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

Status Database::script(const char* sql) {
  errno = 0;
  int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error("write to", code, errno);
  return done();
}

bool Database::in_transaction() const {
  return sqlite3_get_autocommit(handle_) == 0;
}

int64_t Database::changes() const {
  return sqlite3_changes(handle_);
}

Error Database::error(std::string_view what, int code, int system_error) const {
  std::string head = std::string(what) + " the store '" + path_ + "' failed: ";
  Json fields = {{"sqlite", code}, {"path", path_}};
  int plain = code & 0xff;
  if (is_disk_full(code, system_error)) {
    fields["errno"] = "ENOSPC";
    return Error(ErrorKind::io,
                 head +
                     "the disk is full (or a file size limit was reached); what was recorded "
                     "before is safe: free some space there and run the command again",
                 fields);
  }
  if (plain == SQLITE_READONLY || plain == SQLITE_PERM || plain == SQLITE_AUTH) {
    return Error(ErrorKind::io,
                 head +
                     "it is read-only for this user; make the folder writable, or choose "
                     "another one with XDG_STATE_HOME",
                 fields);
  }
  if (plain == SQLITE_BUSY || plain == SQLITE_LOCKED) {
    return Error(ErrorKind::transient,
                 head + "another process kept it locked for 10 seconds; try again", fields);
  }
  if (plain == SQLITE_CONSTRAINT) {
    return Error(ErrorKind::conflict, head + sqlite3_errmsg(handle_), fields);
  }
  if (plain == SQLITE_NOTADB || plain == SQLITE_CORRUPT) {
    return damaged(what, sqlite3_errmsg(handle_), std::move(fields));
  }
  std::string why = handle_ ? sqlite3_errmsg(handle_) : sqlite3_errstr(code);
  if (plain == SQLITE_CANTOPEN || plain == SQLITE_IOERR) {
    if (system_error) why += std::string(" (") + std::strerror(system_error) + ")";
    return Error(ErrorKind::io, head + why, fields);
  }
  return Error(ErrorKind::invalid, head + why, fields);
}

Error Database::damaged(std::string_view what, const std::string& why, Json fields) const {
  return Error(ErrorKind::io,
               std::string(what) + " the store '" + path_ + "' failed: " + why +
                   "; put back a copy of it, or move it away to start with an empty one, into "
                   "which 'choline recover' takes what still runs",
               std::move(fields));
}

Result<sqlite3_stmt*> Database::take(std::string_view sql) {
  auto found = idle_.find(sql);
  if (found != idle_.end()) {
    sqlite3_stmt* statement = found->second;
    idle_.erase(found);
    return statement;
  }
  sqlite3_stmt* statement = nullptr;
  errno = 0;
  int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return error("use", code, errno);
  return statement;
}

void Database::give_back(std::string_view sql, sqlite3_stmt* statement) {
  sqlite3_reset(statement);  // repeats the error of the last step, which was kept by the query
  sqlite3_clear_bindings(statement);
  idle_.emplace(std::string(sql), statement);
}

Query::Query(Database& db, std::string_view sql, Prepare) : db_(db), sql_(sql) {
  Result<sqlite3_stmt*> taken = db.take(sql);
  if (taken)
    statement_ = *taken;
  else
    error_ = taken.error();
}

Query::~Query() {
  if (statement_) db_.give_back(sql_, statement_);
}

void Query::fail(int code) {
  int system_error = errno;
  bool reads = sqlite3_stmt_readonly(statement_) && sqlite3_column_count(statement_) > 0;
  if (!error_) error_ = db_.error(reads ? "read" : "write to", code, system_error);
}

bool Query::next() {
  if (error_) return false;
  errno = 0;
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) fail(code);
  return false;
}

Status Query::status() {
  if (error_) return *error_;
  return done();
}

Status Query::run() {
  while (next()) {
  }
  return status();
}

std::string Query::text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  int size = sqlite3_column_bytes(statement_, column);
  return bytes ? std::string(static_cast<const char*>(bytes), static_cast<size_t>(size)) : "";
}

int64_t Query::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}
double Query::real(int column) const {
  return sqlite3_column_double(statement_, column);
}

bool Query::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::optional<double> Query::maybe_real(int column) const {
  if (is_null(column)) return std::nullopt;
  return real(column);
}

std::optional<int64_t> Query::maybe_integer(int column) const {
  if (is_null(column)) return std::nullopt;
  return integer(column);
}

Json Query::json(int column) {
  if (is_null(column)) return nullptr;
  Result<Json> value = parse_json(text(column));
  if (value) return std::move(*value);
  if (!error_) error_ = db_.damaged("read", "it is damaged: " + value.error().message);
  return nullptr;
}

void Query::bind(int index, std::string_view value) {
  if (error_) return;
  // A null pointer would bind NULL where an empty text is meant.
  int code = sqlite3_bind_text(statement_, index, value.empty() ? "" : value.data(),
                               static_cast<int>(value.size()), SQLITE_TRANSIENT);
  if (code != SQLITE_OK) fail(code);
}

void Query::bind(int index, int64_t value) {
  if (error_) return;
  int code = sqlite3_bind_int64(statement_, index, value);
  if (code != SQLITE_OK) fail(code);
}

void Query::bind(int index, double value) {
  if (error_) return;
  int code = sqlite3_bind_double(statement_, index, value);
  if (code != SQLITE_OK) fail(code);
}

void Query::bind(int index, std::nullptr_t) {
  if (error_) return;
  int code = sqlite3_bind_null(statement_, index);
  if (code != SQLITE_OK) fail(code);
}

void Query::bind(int index, const Json& value) {
  if (value.is_null())
    bind(index, nullptr);
  else
    bind(index, to_text(value));
}

}  // namespace choline
