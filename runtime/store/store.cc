#include "store/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/random.h"
#include "base/unique_fd.h"
#include "store/crash.h"
#include "store/database.h"
#include "store/metrics.h"
#include "store/runs.h"
#include "store/schema.h"

namespace choline {

namespace {

constexpr double kShownSeconds = 0.25;

Status make_folder(const std::string& folder) {
  std::error_code code;
  std::filesystem::path path(folder);
  std::filesystem::create_directories(path.parent_path(), code);
  if (::mkdir(folder.c_str(), 0700) != 0) {
    if (errno == EEXIST) return done();
    Error error = errno_error("make the state folder '" + folder + "'", errno);
    error.message += "; make its parent writable, or choose another one with XDG_STATE_HOME";
    return error;
  }
  // A power cut must not take the folder with what the first run was about to rent.
  UniqueFd parent(::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent) ::fsync(parent.get());  // some file systems cannot
  return done();
}

Result<std::string> journal_mode(Database& db) {
  Query mode(db, "PRAGMA journal_mode");
  std::string now = mode.next() ? mode.text(0) : "";
  if (Status read = mode.status(); !read) return read.error();
  return now;
}

// WAL is a property of the file; asking for it again would cost a lock. Of processes that make the
// same store at once all but one are refused without a wait by SQLite, so they wait here.
Status enter_wal(Database& db) {
  constexpr uint64_t kMostPause = 10;  // ms; random, so that two do not meet again
  auto last = std::chrono::steady_clock::now() + std::chrono::milliseconds(kBusyMilliseconds);
  while (true) {
    Result<std::string> mode = journal_mode(db);
    if (!mode) return mode.error();
    if (*mode == "wal") return done();
    Status set = db.script("PRAGMA journal_mode=WAL");
    bool is_busy = !set && set.error().kind == ErrorKind::transient;
    if (!is_busy || std::chrono::steady_clock::now() > last) return set;
    std::this_thread::sleep_for(std::chrono::milliseconds(1 + random_u64() % kMostPause));
  }
}

Status set_up(Database& db) {
  if (Status entered = enter_wal(db); !entered) return entered;
  return db.script("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;");
}

Result<std::unique_ptr<Database>> open_for_writing(const std::string& path) {
  Result<std::unique_ptr<Database>> db = Database::open(path, Database::Access::write);
  if (!db) return db;
  if (Status ready = set_up(**db); !ready) return ready.error();
  if (Status migrated = migrate(**db); !migrated) return migrated.error();
  return db;
}

// In a folder that cannot be written to, a database without a log beside it has no writer.
Result<std::unique_ptr<Database>> open_for_reading(const std::string& path) {
  std::error_code code;
  bool has_log = std::filesystem::exists(path + "-wal", code);
  return Database::open(path, has_log ? Database::Access::read : Database::Access::still);
}

Result<std::unique_ptr<Database>> try_reading(const std::string& path, Database::Access access) {
  Result<std::unique_ptr<Database>> db = Database::open(path, access);
  if (!db) return db;
  if (Status good = check_schema(**db); !good) return good.error();
  return db;
}

// On a full disk not even the small files can be made that writing needs beside the database. What
// is there can be read without them.
Result<std::unique_ptr<Database>> open_on_full_disk(const std::string& path) {
  Result<std::unique_ptr<Database>> db = try_reading(path, Database::Access::read);
  if (db) return db;
  std::error_code code;
  bool has_log = std::filesystem::file_size(path + "-wal", code) > 0 && !code;
  return try_reading(path, has_log ? Database::Access::alone : Database::Access::still);
}

bool is_disk_full(const Error& error) {
  return error.fields.is_object() && error.fields.value("errno", "") == "ENOSPC";
}

// SQLite opens a file without write permission read-only without a word, so ask.
bool can_write(const std::string& path) {
  return ::access(path.c_str(), W_OK) == 0 || errno == ENOENT;
}

}  // namespace

std::optional<std::string> network_file_system(const std::string& folder) {
  struct statfs facts {};
  if (::statfs(folder.c_str(), &facts) != 0) return std::nullopt;
  switch (static_cast<unsigned long>(facts.f_type) & 0xffffffffUL) {
    case 0x6969:
      return "NFS";
    case 0x517B:
    case 0xFE534D42:
    case 0xFF534D42:
      return "SMB";
    case 0x5346414F:
    case 0x6B414653:
      return "AFS";
    case 0x73757245:
      return "Coda";
    case 0x00C36400:
      return "Ceph";
    case 0x0BD00BD0:
      return "Lustre";
    case 0x47504653:
      return "GPFS";
    case 0x19830326:
      return "BeeGFS";
    default:
      return std::nullopt;
  }
}

Status Txn::fence(const std::string& run, int64_t epoch) {
  return check_epoch(db_, run, epoch);
}

Status Txn::try_change(const std::function<Status(Txn&)>& change) {
  if (Status marked = Query(db_, "SAVEPOINT part").run(); !marked) return marked;
  Status changed = change(*this);
  if (!db_.in_transaction()) return changed;  // the disk failed and SQLite has undone everything
  if (!changed) {
    if (Status undone = Query(db_, "ROLLBACK TO part").run(); !undone) return undone;
  }
  if (Status released = Query(db_, "RELEASE part").run(); !released) return released;
  return changed;
}

// One change that waits for the next commit.
struct Store::Pending {
  Change change;  // empty once it was dropped
  std::function<void(Status)> then;
  Status status = done();
};

class Store::Wait {
 public:
  Wait(Store& store, Change change) : pending_(std::make_shared<Pending>()) {
    pending_->change = std::move(change);
    store.add(pending_);
  }
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;
  ~Wait() {
    pending_->change = nullptr;
    pending_->then = nullptr;
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    pending_->then = [caller](Status) { caller.resume(); };
  }
  Status await_resume() { return std::move(pending_->status); }

 private:
  std::shared_ptr<Pending> pending_;  // shared with the queue
};

Store::Store(Loop& loop, std::string folder, std::unique_ptr<Database> db)
    : loop_(loop),
      folder_(std::move(folder)),
      db_(std::move(db)),
      self_(std::make_shared<Store*>(this)) {}

Store::~Store() {
  *self_ = nullptr;
  if (shown_timer_) loop_.cancel(shown_timer_);
}

Result<std::unique_ptr<Store>> Store::open(Loop& loop, const std::string& folder) {
  if (Status made = make_folder(folder); !made) return made.error();
  if (std::optional<std::string> kind = network_file_system(folder)) {
    return Error(ErrorKind::unsupported,
                 "the state folder '" + folder + "' is on a network file system (" + *kind +
                     "), where locks cannot be trusted; choose a folder on a local disk with "
                     "XDG_STATE_HOME");
  }
  std::string path = folder + "/store.db";
  std::optional<Error> read_only;
  Result<std::unique_ptr<Database>> db = Error(ErrorKind::io, "");
  if (can_write(folder) && can_write(path)) {
    db = open_for_writing(path);
    if (!db && is_disk_full(db.error())) {
      read_only = db.error();
      db = open_on_full_disk(path);
      if (!db) return *read_only;  // nothing there to read either
    }
    if (!db) return db.error();
  } else {
    read_only = errno_error("write to the store '" + path + "'", errno);
    read_only->message +=
        "; make the folder and its files writable for this user, or choose "
        "another one with XDG_STATE_HOME";
    db = open_for_reading(path);
    if (!db) return *read_only;  // nothing there to read either
    if (Status good = check_schema(**db); !good) return good.error();
  }
  std::unique_ptr<Store> store(new Store(loop, folder, std::move(*db)));
  store->read_only_ = std::move(read_only);
  Query install(*store->db_, "SELECT value FROM meta WHERE key='install'");
  if (install.next()) store->install_ = install.text(0);
  if (Status read = install.status(); !read) return read.error();
  return store;
}

Co<Status> Store::commit(Change change) {
  Wait wait(*this, std::move(change));
  Status status = co_await wait;
  co_return status;
}

void Store::enqueue(Change change, std::function<void(Status)> then) {
  auto pending = std::make_shared<Pending>();
  pending->change = std::move(change);
  pending->then = std::move(then);
  add(std::move(pending));
}

Status Store::write(Change change) {
  auto pending = std::make_shared<Pending>();
  pending->change = std::move(change);
  queue_.push_back(pending);
  flush();
  return pending->status;
}

void Store::add(std::shared_ptr<Pending> pending) {
  queue_.push_back(std::move(pending));
  if (std::exchange(flush_posted_, true)) return;
  loop_.post([self = self_] {
    if (!*self) return;
    (*self)->flush_posted_ = false;
    (*self)->flush();
  });
}

void Store::flush() {
  std::vector<std::shared_ptr<Pending>> batch;
  for (auto& pending : queue_) {
    if (pending->change) batch.push_back(std::move(pending));
  }
  queue_.clear();
  if (batch.empty()) return;
  Status committed = read_only_ ? Status(*read_only_) : transact(batch);
  for (auto& pending : batch) {
    pending->change = nullptr;
    if (!committed) pending->status = committed.error();
  }
  settle(std::move(batch));
}

// Waiters go on in a later turn, in order: a synchronous write must not run them on its own stack.
void Store::settle(std::vector<std::shared_ptr<Pending>> batch) {
  for (auto& pending : batch) {
    if (!pending->then) continue;
    loop_.post([pending] {
      if (!pending->then) return;  // its waiter has gone meanwhile
      auto then = std::exchange(pending->then, nullptr);
      then(pending->status);
    });
  }
}

namespace {

// Rolls back unless told otherwise, also when a change throws.
class Rollback {
 public:
  explicit Rollback(Database& db) : db_(db) {}
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  ~Rollback() {
    if (!db_.in_transaction()) return;
    // Fails only when SQLite has rolled back by itself, or will at the next open.
    if (Status undone = db_.script("ROLLBACK"); !undone) return;
  }

 private:
  Database& db_;
};

}  // namespace

Status Store::transact(std::vector<std::shared_ptr<Pending>>& batch) {
  if (Status begun = db_->script("BEGIN IMMEDIATE"); !begun) return begun;
  Rollback rollback(*db_);
  Txn txn(*db_);
  bool alone = batch.size() == 1;
  for (auto& pending : batch) {
    pending->status = alone ? pending->change(txn) : txn.try_change(pending->change);
    if (!pending->status && (alone || !db_->in_transaction())) return pending->status;
  }
  crash_point("store.before_commit");
  Status committed = Query(*db_, "COMMIT").run();
  if (committed) crash_point("store.after_commit");
  return committed;
}

void Store::show(const std::string& run, const std::string& key, Json value) {
  shown_[{run, key}] = std::move(value);
  if (shown_timer_) return;
  shown_timer_ = loop_.timer(kShownSeconds, [this] {
    shown_timer_ = 0;
    write_shown();
  });
}

void Store::write_shown() {
  auto shown = std::make_shared<decltype(shown_)>(std::exchange(shown_, {}));
  enqueue([shown](Txn& txn) {
    for (const auto& [name, value] : *shown) {
      if (Status put = put_shown(txn, name.first, name.second, value); !put) return put;
    }
    return done();
  });
}

}  // namespace choline
