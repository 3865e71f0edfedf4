// One SQLite connection with its prepared statements. Included only by the files of store/.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace choline {

// How long a statement waits for other processes before its error is `transient`.
constexpr int kBusyMilliseconds = 10'000;

class Database {
 public:
  // still: to be read only, and nobody is writing; needs no file beside it.
  // alone: to be read with its log when no file beside it can be made; keeps all others out.
  enum class Access { write, read, still, alone };
  static Result<std::unique_ptr<Database>> open(const std::string& path, Access access);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  // Several statements without arguments or rows.
  Status script(const char* sql);
  // True while a transaction is open; SQLite may end one by itself when the disk fails.
  bool in_transaction() const;
  int64_t changes() const;  // rows touched by the last statement
  const std::string& path() const { return path_; }

  // The error of SQLite's `code`: what failed, why, what to do next. `system_error` is errno as the
  // call left it.
  Error error(std::string_view what, int code, int system_error) const;
  // The error of content that choline has not written so.
  Error damaged(std::string_view what, const std::string& why, Json fields = {}) const;

 private:
  friend class Query;
  Database(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  Result<sqlite3_stmt*> take(std::string_view sql);
  void give_back(std::string_view sql, sqlite3_stmt* statement);

  sqlite3* handle_;
  std::string path_;
  std::multimap<std::string, sqlite3_stmt*, std::less<>> idle_;  // prepared and not in use
};

// One statement being executed. Errors are kept and asked for at the end, by status().
class Query {
 public:
  template <class... Args>
  Query(Database& db, std::string_view sql, const Args&... args) : Query(db, sql, Prepare{}) {
    int index = 0;
    (bind(++index, args), ...);
  }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query();

  bool next();      // a row is there to read
  Status status();  // of all that happened
  Status run();     // for statements without rows: executes

  // Of the current row, columns from 0. A NULL is "", 0 or null.
  std::string text(int column) const;
  int64_t integer(int column) const;
  double real(int column) const;
  bool is_null(int column) const;
  std::optional<double> maybe_real(int column) const;
  std::optional<int64_t> maybe_integer(int column) const;
  Json json(int column);  // parsed; a text that is no JSON fails the query

 private:
  struct Prepare {};
  Query(Database& db, std::string_view sql, Prepare);
  void bind(int index, std::string_view value);
  void bind(int index, const std::string& value) { bind(index, std::string_view(value)); }
  void bind(int index, const char* value) { bind(index, std::string_view(value)); }
  void bind(int index, int64_t value);
  void bind(int index, int value) { bind(index, static_cast<int64_t>(value)); }
  void bind(int index, double value);
  void bind(int index, std::nullptr_t);
  void bind(int index, const Json& value);  // null becomes NULL
  template <class T>
  void bind(int index, const std::optional<T>& value) {
    if (value)
      bind(index, *value);
    else
      bind(index, nullptr);
  }
  void fail(int code);

  Database& db_;
  std::string_view sql_;  // a literal: outlives the query
  sqlite3_stmt* statement_ = nullptr;
  std::optional<Error> error_;
};

}  // namespace choline
