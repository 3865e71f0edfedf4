// Commits of the journal, next to what the disk itself takes for a write that must last.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "bench/benches.h"
#include "bench/measure.h"
#include "durable/steps.h"
#include "loop/epoll_loop.h"
#include "store/runs.h"
#include "store/steps.h"
#include "store/store.h"

namespace choline {
namespace {

constexpr int kCommits = 3'000;
constexpr int kTogether = 100;
constexpr int kRuns = 12'500;

struct Folder {
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "choline-bench-XXXXXX";
    path = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

RunRow make_run(const std::string& id) {
  RunRow row;
  row.id = id;
  row.name = "bench";
  row.created = 1;
  return row;
}

Status write_event(Txn& txn, const std::string& run, int index) {
  StepRow row;
  row.key = "main/bench#" + std::to_string(index);
  row.verb = "bench";
  row.cls = "query";
  row.args = "[\"a place on an instance\",\"a command with some arguments\"]";
  row.args_hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  row.intent_at = 1;
  return insert_step(txn, run, row);
}

Co<Status> one_by_one(Store& store) {
  for (int index = 0; index < kCommits; ++index) {
    Change change = [index](Txn& txn) { return write_event(txn, "r1", index); };
    Status status = co_await store.commit(std::move(change));
    if (!status) co_return status;
  }
  co_return done();
}

void report_peer(const std::string& folder) {
  const std::string path = folder + "/peer";
  const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const std::string page(4096, 'x');
  const double began = wall_seconds();
  for (int index = 0; index < kCommits; ++index) {
    if (::write(fd, page.data(), page.size()) < 0 || ::fdatasync(fd) < 0) break;
  }
  report("commit.peer", (wall_seconds() - began) / kCommits * 1e6, "us");
  ::close(fd);
}

}  // namespace

bool bench_commits() {
  Folder folder;
  EpollLoop loop;
  auto opened = Store::open(loop, folder.path + "/state");
  if (!opened) return false;
  Store& store = **opened;
  if (!store.write([](Txn& txn) { return insert_run(txn, make_run("r1"), {}); })) return false;
  bool good = false;
  double began = wall_seconds();
  Started work(one_by_one(store), std::function<void(Status)>([&](Status status) {
                 good = static_cast<bool>(status);
                 loop.post([&] { loop.stop(); });
               }));
  loop.run();
  report("commit.one", (wall_seconds() - began) / kCommits * 1e6, "us");
  int left = kCommits;
  began = wall_seconds();
  for (int index = 0; index < kCommits; ++index) {
    store.enqueue([index](Txn& txn) { return write_event(txn, "r1", kCommits + index); },
                  [&](Status) {
                    if (--left == 0) loop.stop();
                  });
    if (index % kTogether == 0) loop.post([] {});
  }
  loop.run();
  report("commit.together", (wall_seconds() - began) / kCommits * 1e6, "us");
  report_peer(folder.path);
  return good;
}

// Fills a state folder with many ended runs, for the time that a list of them takes.
bool bench_fill(const std::string& folder) {
  EpollLoop loop;
  auto opened = Store::open(loop, folder);
  if (!opened) return false;
  const Status status = (*opened)->write([](Txn& txn) -> Status {
    for (int index = 0; index < kRuns; ++index) {
      RunRow row = make_run("r" + std::to_string(100'000 + index));
      row.state = "done";
      row.finished = 2;
      row.created = 1 + index;
      Status inserted = insert_run(txn, row, {});
      if (!inserted) return inserted;
    }
    return done();
  });
  return static_cast<bool>(status);
}

}  // namespace choline
