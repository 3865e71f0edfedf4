// A folder that goes away with the test, and a store in it on virtual time.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "loop/sim_loop.h"
#include "store/runs.h"
#include "store/store.h"

namespace choline {

class TempFolder {
 public:
  // `below` must be open to the users that a test becomes.
  explicit TempFolder(const std::filesystem::path& below = std::filesystem::temp_directory_path()) {
    std::string pattern = (below / "choline-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The error's text, so that a failed check says why.
template <class T>
std::string why(const Result<T>& result) {
  return result ? std::string() : result.error().message;
}
#define REQUIRE_OK(...)                          \
  do {                                           \
    const auto& checked = (__VA_ARGS__);         \
    REQUIRE_MESSAGE(checked.ok(), why(checked)); \
  } while (0)

inline std::unique_ptr<Store> open_store(Loop& loop, const std::string& folder) {
  Result<std::unique_ptr<Store>> store = Store::open(loop, folder);
  REQUIRE_OK(store);
  return std::move(*store);
}

inline RunRow a_run(const std::string& id, double created = 1000) {
  RunRow row;
  row.id = id;
  row.name = "demo";
  row.seed = 7;
  row.created = created;
  return row;
}

inline void add_run(Store& store, const RunRow& row) {
  REQUIRE_OK(store.write([&](Txn& txn) { return insert_run(txn, row, {}); }));
}

}  // namespace choline
