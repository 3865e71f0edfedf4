// What choline's store says, read past choline: for the invariants.
#pragma once

#include <map>
#include <string>
#include <vector>

struct sqlite3;

namespace choline::sim {

class Ledger {
 public:
  explicit Ledger(const std::string& state);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // Rows of text; an error is a row that says so.
  std::vector<std::vector<std::string>> ask(const std::string& sql);
  std::string one(const std::string& sql);  // the first column of the first row, or ""
  // Triggers that note writes which must never be committed.
  void guard();

 private:
  sqlite3* db_ = nullptr;
};

}  // namespace choline::sim
