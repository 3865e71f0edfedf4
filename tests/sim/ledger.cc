#include "sim/ledger.h"

#include <sqlite3.h>

#include <stdexcept>

namespace choline::sim {

namespace {

constexpr const char* kGuards = R"sql(
CREATE TABLE IF NOT EXISTS sim_violation(what TEXT);
CREATE TRIGGER IF NOT EXISTS sim_rewritten BEFORE UPDATE ON step WHEN OLD.state IN (1, 2)
  BEGIN INSERT INTO sim_violation VALUES('finished step written again: ' || OLD.key); END;
CREATE TRIGGER IF NOT EXISTS sim_stale_end BEFORE UPDATE ON step
  WHEN NEW.state IN (1, 2) AND NEW.epoch < (SELECT epoch FROM run WHERE id = NEW.run)
  BEGIN INSERT INTO sim_violation VALUES('result from a lost epoch: ' || OLD.key); END;
CREATE TRIGGER IF NOT EXISTS sim_stale_begin BEFORE INSERT ON step
  WHEN NEW.epoch < (SELECT epoch FROM run WHERE id = NEW.run)
  BEGIN INSERT INTO sim_violation VALUES('intent from a lost epoch: ' || NEW.key); END;
CREATE TRIGGER IF NOT EXISTS sim_reopened BEFORE UPDATE ON res
  WHEN OLD.state IN ('gone', 'void') AND NEW.state NOT IN ('gone', 'void')
  BEGIN INSERT INTO sim_violation VALUES('ended instance reopened: ' || OLD.tag); END;
)sql";

}  // namespace

Ledger::Ledger(const std::string& state) {
  std::string path = state + "/store.db";
  if (sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) {
    throw std::runtime_error("open " + path);
  }
  sqlite3_busy_timeout(db_, 1000);
}

Ledger::~Ledger() {
  sqlite3_close(db_);
}

std::vector<std::vector<std::string>> Ledger::ask(const std::string& sql) {
  std::vector<std::vector<std::string>> rows;
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
  if (code != SQLITE_OK) return {{std::string("error: ") + sqlite3_errmsg(db_)}};
  while (sqlite3_step(statement) == SQLITE_ROW) {
    std::vector<std::string> row;
    for (int column = 0; column < sqlite3_column_count(statement); ++column) {
      const unsigned char* text = sqlite3_column_text(statement, column);
      row.emplace_back(text ? reinterpret_cast<const char*>(text) : "");
    }
    rows.push_back(std::move(row));
  }
  sqlite3_finalize(statement);
  return rows;
}

std::string Ledger::one(const std::string& sql) {
  std::vector<std::vector<std::string>> rows = ask(sql);
  return rows.empty() || rows[0].empty() ? std::string() : rows[0][0];
}

void Ledger::guard() {
  char* problem = nullptr;
  if (sqlite3_exec(db_, kGuards, nullptr, nullptr, &problem) != SQLITE_OK) {
    std::string text = problem ? problem : "no reason";
    sqlite3_free(problem);
    throw std::runtime_error("guards of the ledger: " + text);
  }
}

}  // namespace choline::sim
