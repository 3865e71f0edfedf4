// The store: one SQLite database for each state folder, with runs, journals, instances and what
// they showed. Only the files of store/ speak SQL. One process has one connection; many processes
// may read while one writes. See docs/design/state.md.
#pragma once

#include <coroutine>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

class Database;
class Store;

// A write transaction. Everything done with it is committed together or not at all.
class Txn {
 public:
  Txn(const Txn&) = delete;
  Txn& operator=(const Txn&) = delete;
  Database& db() const { return db_; }
  // A conflict when another process has taken `run` since `epoch`; the writer must then stop at
  // once. To be called by every change made on behalf of an owned run.
  Status fence(const std::string& run, int64_t epoch);
  // Runs `change`; when it answers with an error, what it did is undone and the rest stays.
  Status try_change(const std::function<Status(Txn&)>& change);

 private:
  friend class Store;
  explicit Txn(Database& db) : db_(db) {}
  Database& db_;
};

using Change = std::function<Status(Txn&)>;

class Store {
 public:
  // Makes the folder and the database where they are absent. A store that can only be read opens
  // too; its writes then answer with the reason.
  static Result<std::unique_ptr<Store>> open(Loop& loop, const std::string& folder);
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  ~Store();

  // Group commit: the changes of one turn of the loop share one transaction and one fsync, in the
  // order they were given. A change that fails is undone alone. Resolves after the fsync. When the
  // Co is destroyed before its change ran, the change is dropped.
  Co<Status> commit(Change change);
  // The same for a change that nobody waits for or cancels; it must own what it touches.
  void enqueue(Change change, std::function<void(Status)> then = {});
  // At once: this change, after those that were waiting.
  Status write(Change change);

  // For reading. Never inside a transaction, so what is read is committed.
  Database& db() { return *db_; }
  const std::string& folder() const { return folder_; }
  std::string run_folder(const std::string& run) const { return folder_ + "/runs/" + run; }
  // Random name of this state folder; part of every instance's tag.
  const std::string& install() const { return install_; }
  bool writable() const { return !read_only_; }

  // What views show of a run while it lives; written a few times a second at most, never awaited.
  void show(const std::string& run, const std::string& key, Json value);

 private:
  struct Pending;
  class Wait;
  Store(Loop& loop, std::string folder, std::unique_ptr<Database> db);
  void add(std::shared_ptr<Pending> pending);
  void flush();
  Status transact(std::vector<std::shared_ptr<Pending>>& batch);
  void settle(std::vector<std::shared_ptr<Pending>> batch);
  void write_shown();

  Loop& loop_;
  std::string folder_;
  std::unique_ptr<Database> db_;
  std::string install_;
  std::optional<Error> read_only_;
  std::vector<std::shared_ptr<Pending>> queue_;
  bool flush_posted_ = false;
  std::map<std::pair<std::string, std::string>, Json> shown_;  // not yet written
  TimerId shown_timer_ = 0;
  std::shared_ptr<Store*> self_;  // for posted work, which may come after the store has gone
};

// Network file systems lose locks and shared memory: their f_type is refused at open.
std::optional<std::string> network_file_system(const std::string& folder);

}  // namespace choline
