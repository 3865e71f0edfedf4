// Opening a store: made, found again, refused; and what happens when the disk says no.
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "store/database.h"
#include "store/events.h"
#include "support.h"

namespace choline {

namespace {

// Runs `body` in a child, so that limits and identities end with it; gives what the child printed.
std::string in_child(const std::function<std::string()>& body) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::close(ends[0]);
    std::string said = body();
    ssize_t written = ::write(ends[1], said.data(), said.size());
    ::_exit(written == static_cast<ssize_t>(said.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char space[4096];
  for (ssize_t count; (count = ::read(ends[0], space, sizeof space)) > 0;) {
    text.append(space, static_cast<size_t>(count));
  }
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  return text;
}

std::string describe(const Status& status) {
  return status ? "ok" : std::string(to_text(status.error().kind)) + ": " + status.error().message;
}

Status add_big_event(Store& store, int number) {
  return store.write([&](Txn& txn) -> Status {
    EventRow row;
    row.at = number;
    row.kind = "big";
    row.data = std::string(20'000, 'x');
    Result<EventRow> kept = append_event(txn, "r1", row);
    if (!kept) return kept.error();
    return done();
  });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a store is made where there is none and found again with the same install") {
  TempFolder temp;
  SimLoop loop;
  std::string folder = temp.path() + "/state/choline";
  std::string install;
  {
    auto store = open_store(loop, folder);
    install = store->install();
    CHECK(install.size() == 8);
    add_run(*store, a_run("r1"));
  }
  auto store = open_store(loop, folder);
  CHECK(store->install() == install);
  Result<std::optional<RunRow>> row = get_run(store->db(), "r1", 2000);
  REQUIRE_OK(row);
  CHECK((*row)->name == "demo");
  struct stat facts {};
  REQUIRE(::stat(folder.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0700);
}

TEST_CASE("many who make the same store at once all get it") {
  constexpr int kRounds = 25;
  constexpr int kOpeners = 8;
  for (int round = 0; round < kRounds; ++round) {
    TempFolder temp;
    std::barrier start(kOpeners);
    std::vector<std::string> said(kOpeners);
    std::vector<std::thread> openers;
    for (size_t index = 0; index < kOpeners; ++index) {
      openers.emplace_back([&, index] {
        SimLoop loop;
        start.arrive_and_wait();
        Result<std::unique_ptr<Store>> store = Store::open(loop, temp.path() + "/choline");
        said[index] = store ? (*store)->install() : store.error().message;
      });
    }
    for (std::thread& opener : openers) opener.join();
    CHECK(said[0].size() == 8);
    CHECK(std::count(said.begin(), said.end(), said[0]) == kOpeners);
  }
}

TEST_CASE("a store with a newer schema is refused and left as it is") {
  TempFolder temp;
  SimLoop loop;
  open_store(loop, temp.path());
  {
    auto db = Database::open(temp.path() + "/store.db", Database::Access::write);
    REQUIRE_OK(db);
    REQUIRE_OK((*db)->script("PRAGMA user_version=99"));
  }
  Result<std::unique_ptr<Store>> store = Store::open(loop, temp.path());
  REQUIRE_FALSE(store.ok());
  CHECK(store.error().kind == ErrorKind::unsupported);
  CHECK(contains(store.error().message, "newer choline (schema 99"));
  CHECK(contains(store.error().message, "upgrade choline"));
}

TEST_CASE("a database of another program is refused") {
  TempFolder temp;
  SimLoop loop;
  {
    auto db = Database::open(temp.path() + "/store.db", Database::Access::write);
    REQUIRE_OK(db);
    REQUIRE_OK((*db)->script("CREATE TABLE songs(title TEXT)"));
  }
  Result<std::unique_ptr<Store>> store = Store::open(loop, temp.path());
  REQUIRE_FALSE(store.ok());
  CHECK(contains(store.error().message, "another program"));
}

TEST_CASE("a file that is no database is refused with what to do") {
  TempFolder temp;
  SimLoop loop;
  std::FILE* file = std::fopen((temp.path() + "/store.db").c_str(), "w");
  REQUIRE(file != nullptr);
  for (int line = 0; line < 400; ++line) std::fputs("not a database at all\n", file);
  std::fclose(file);
  Result<std::unique_ptr<Store>> store = Store::open(loop, temp.path());
  REQUIRE_FALSE(store.ok());
  CHECK(store.error().kind == ErrorKind::io);
  CHECK(contains(store.error().message, "not a database"));
}

TEST_CASE("a row that choline has not written so is an error that names the store") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  add_run(*store, a_run("r1"));
  REQUIRE_OK(store->db().script("UPDATE run SET params = 'CHOL'"));
  Result<std::optional<RunRow>> row = get_run(store->db(), "r1", 2000);
  REQUIRE_FALSE(row.ok());
  CHECK(row.error().kind == ErrorKind::io);
  CHECK(contains(row.error().message, temp.path() + "/store.db' failed: it is damaged"));
  CHECK(contains(row.error().message, "choline recover"));
}

TEST_CASE("a full disk lets a store be read, with what is only in its log") {
  TempFolder temp;
  if (::mount("tmpfs", temp.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
    MESSAGE("needs the right to mount");
    return;
  }
  std::string folder = temp.path() + "/state";
  for (bool in_log : {false, true}) {
    std::filesystem::create_directory(folder);
    {
      SimLoop loop;
      TempFolder other;
      auto store = open_store(loop, other.path());
      add_run(*store, a_run("r1"));
      if (!in_log) store.reset();
      for (const char* name : {"/store.db", "/store.db-wal"}) {
        std::error_code absent;
        std::filesystem::copy(other.path() + name, folder + name, absent);
      }
    }
    CHECK(std::filesystem::exists(folder + "/store.db-wal") == in_log);
    std::FILE* ballast = std::fopen((temp.path() + "/ballast").c_str(), "w");
    REQUIRE(ballast != nullptr);
    std::string block(4096, 'x');
    while (std::fwrite(block.data(), 1, block.size(), ballast) == block.size()) continue;
    std::fclose(ballast);  // fails: the last block did not fit
    SimLoop loop;
    Result<std::unique_ptr<Store>> store = Store::open(loop, folder);
    REQUIRE_OK(store);
    CHECK_FALSE((*store)->writable());
    Result<std::optional<RunRow>> row = get_run((*store)->db(), "r1", 2000);
    REQUIRE_OK(row);
    CHECK(row->has_value());
    CHECK(contains(describe(add_big_event(**store, 1)), "the disk is full"));
    store->reset();
    ::unlink((temp.path() + "/ballast").c_str());
    store = Store::open(loop, folder);
    REQUIRE_OK(store);
    CHECK(describe(add_big_event(**store, 1)) == "ok");
    store->reset();
    std::filesystem::remove_all(folder);
  }
  CHECK(::umount(temp.path().c_str()) == 0);
}

TEST_CASE("a read-only folder can be read, and a write to it says why it cannot be made") {
  TempFolder temp("/tmp");
  SimLoop loop;
  {
    auto store = open_store(loop, temp.path());
    add_run(*store, a_run("r1"));
  }
  ::chmod((temp.path() + "/store.db").c_str(), 0444);
  ::chmod(temp.path().c_str(), 0555);
  std::string said = in_child([&]() -> std::string {
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return "setuid failed";
    SimLoop own;
    Result<std::unique_ptr<Store>> store = Store::open(own, temp.path());
    if (!store) return "open: " + store.error().message;
    Result<std::optional<RunRow>> row = get_run((*store)->db(), "r1", 0);
    if (!row) return "read: " + row.error().message;
    Status wrote = (*store)->write([](Txn& txn) { return insert_run(txn, a_run("r2"), {}); });
    return (*row)->name + "; " + describe(wrote);
  });
  ::chmod(temp.path().c_str(), 0700);
  INFO(said);
  CHECK(contains(said, "demo; io: write to the store"));
  CHECK(contains(said, "Permission denied"));
  CHECK(contains(said, "XDG_STATE_HOME"));
}

TEST_CASE("a state folder that cannot be made is an error that says what to do") {
  SimLoop loop;
  Result<std::unique_ptr<Store>> store = Store::open(loop, "/proc/nowhere/choline");
  REQUIRE_FALSE(store.ok());
  CHECK(contains(store.error().message, "make the state folder '/proc/nowhere/choline'"));
  CHECK(contains(store.error().message, "XDG_STATE_HOME"));
}

TEST_CASE("a write that does not fit fails whole, names the disk, and loses nothing from before") {
  TempFolder temp;
  std::string said = in_child([&]() -> std::string {
    ::signal(SIGXFSZ, SIG_IGN);
    SimLoop loop;
    auto store = Store::open(loop, temp.path());
    if (!store) return store.error().message;
    Status added = (*store)->write([](Txn& txn) { return insert_run(txn, a_run("r1"), {}); });
    if (!added) return added.error().message;
    rlimit limit{512 * 1024, 512 * 1024};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return "no limit";
    int kept = 0;
    Status status = done();
    while (kept < 1000) {
      status = add_big_event(**store, kept + 1);
      if (!status) break;
      ++kept;
    }
    return std::to_string(kept) + " " + describe(status);
  });
  INFO(said);
  CHECK(contains(said, "io: "));
  CHECK(contains(said, "the disk is full (or a file size limit was reached)"));
  CHECK(contains(said, "free some space"));
  int kept = std::stoi(said);
  CHECK(kept > 0);
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  Result<std::vector<EventRow>> events = list_events(store->db(), "r1", 0, -1);
  REQUIRE_OK(events);
  CHECK(static_cast<int>(events->size()) == kept);
  CHECK(add_big_event(*store, 0).ok());
}

TEST_CASE("a full file system fails the write whole, and after some space was freed it goes on") {
  TempFolder temp;
  if (::mount("tmpfs", temp.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
    MESSAGE("needs the right to mount; the limit of file sizes above stands for it");
    return;
  }
  {
    SimLoop loop;
    auto store = open_store(loop, temp.path() + "/state");
    add_run(*store, a_run("r1"));
    std::FILE* ballast = std::fopen((temp.path() + "/ballast").c_str(), "w");
    REQUIRE(ballast != nullptr);
    std::string block(300'000, 'x');
    CHECK(std::fwrite(block.data(), 1, block.size(), ballast) == block.size());
    std::fclose(ballast);
    int kept = 0;
    Status status = done();
    while (kept < 1000 && (status = add_big_event(*store, kept + 1))) ++kept;
    CHECK(kept > 0);
    CHECK(contains(describe(status), "io: "));
    CHECK(contains(describe(status), "the disk is full"));
    ::unlink((temp.path() + "/ballast").c_str());
    CHECK(describe(add_big_event(*store, kept + 1)) == "ok");
    Result<std::vector<EventRow>> events = list_events(store->db(), "r1", 0, -1);
    REQUIRE_OK(events);
    CHECK(static_cast<int>(events->size()) == kept + 1);
  }
  CHECK(::umount(temp.path().c_str()) == 0);
}

TEST_CASE("a local folder is no network file system") {
  TempFolder temp;
  CHECK_FALSE(network_file_system(temp.path()).has_value());
}

}  // namespace choline
