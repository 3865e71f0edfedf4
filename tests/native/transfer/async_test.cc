// The face on the loop: here to here, and through a channel to a server, as a link would carry it.
#include "fixture.h"
#include "io/fd.h"
#include "loop/await.h"
#include "loop/epoll_loop.h"
#include "transfer/sync.h"

using namespace choline;

namespace {

// A channel over a socket to a served session on a thread, as an agent's child would be; may break
// off after so many bytes.
class ServedChannel : public Channel {
 public:
  ServedChannel(Loop& loop, std::string root, size_t breaks_after = SIZE_MAX)
      : loop_(loop), left_(breaks_after) {
    REQUIRE(set_nonblocking(sockets_.one.get()).ok());
    server_ = std::thread([this, root] {
      FdStream stream(sockets_.two.get(), sockets_.two.get());
      (void)serve_transfer(stream, ServeOptions{root});
      shutdown(sockets_.two.get(), SHUT_RDWR);
    });
  }
  ~ServedChannel() override {
    shutdown(sockets_.one.get(), SHUT_RDWR);
    server_.join();
  }
  Co<Result<std::string>> read(size_t most) override {
    Result<std::string> bytes =
        co_await read_some(loop_, sockets_.one.get(), std::min(most, left_));
    if (bytes.ok()) left_ -= std::min(left_, bytes->size());
    if (left_ == 0) co_return Error(ErrorKind::lost, "the link broke");
    co_return bytes;
  }
  Co<Status> write(std::string bytes) override {
    if (bytes.size() >= left_) {
      left_ = 0;
      shutdown(sockets_.one.get(), SHUT_RDWR);
      co_return Error(ErrorKind::lost, "the link broke");
    }
    left_ -= bytes.size();
    Status status = co_await write_all(loop_, sockets_.one.get(), std::move(bytes));
    co_return status;
  }

 private:
  Loop& loop_;
  size_t left_;
  SocketPair sockets_;
  std::thread server_;
};

struct Run {
  std::optional<Result<SyncReport>> report;
  std::vector<SyncProgress> seen;
};

SyncEnd here(std::string path) {
  return SyncEnd{std::move(path), nullptr};
}
SyncEnd there(Loop& loop, std::string path, std::string root, size_t breaks_after = SIZE_MAX) {
  return SyncEnd{std::move(path),
                 std::make_unique<ServedChannel>(loop, std::move(root), breaks_after)};
}

Run run_sync(Loop& loop, SyncEnd from, SyncEnd to, SyncOptions options = {}) {
  Run run;
  SyncProgressFn progress = [&](const SyncProgress& seen) { run.seen.push_back(seen); };
  Started work(sync_files(loop, std::move(from), std::move(to), options, std::move(progress)),
               std::function<void(Result<SyncReport>)>(
                   [&](Result<SyncReport> report) { run.report.emplace(std::move(report)); }));
  loop.run();
  work.check();
  REQUIRE(run.report);
  return run;
}

void fill(const TempFolder& temp) {
  temp.put("from/code/train.py", "print(1)", 5, 0755);
  temp.put("from/data", std::string(3'000'000, 'd'));
  for (int number = 0; number < 300; ++number) {
    temp.put("from/many/" + std::to_string(number), std::to_string(number));
  }
}

}  // namespace

TEST_CASE("trees move here, there and back, with progress to the last byte") {
  TempFolder temp;
  fill(temp);
  EpollLoop loop;
  Run local = run_sync(loop, here(temp.from()), here(temp.to()));
  REQUIRE_MESSAGE(local.report->ok(), (local.report->ok() ? "" : local.report->error().message));
  CHECK(picture(temp.from()) == picture(temp.to()));
  Run push = run_sync(loop, here(temp.from()), there(loop, "work/in", temp.path));
  REQUIRE_MESSAGE(push.report->ok(), (push.report->ok() ? "" : push.report->error().message));
  CHECK(picture(temp.from()) == picture(temp.path + "/work/in"));
  Run pull = run_sync(loop, there(loop, "work/in", temp.path), here(temp.path + "/back"));
  REQUIRE_MESSAGE(pull.report->ok(), (pull.report->ok() ? "" : pull.report->error().message));
  CHECK(picture(temp.from()) == picture(temp.path + "/back"));
  for (const Run* run : {&local, &push, &pull}) {
    REQUIRE(!run->seen.empty());
    CHECK(run->seen.back().files_done == 302);
    CHECK(run->seen.back().files_total == 302);
    CHECK(run->seen.back().bytes_done == run->seen.back().bytes_total);
    CHECK((*run->report)->files_moved == 302);
  }
}

TEST_CASE("what a far end says of its failure arrives in its own words") {
  TempFolder temp;
  temp.put("from/a", "x");
  temp.put("file", "x");
  EpollLoop loop;
  Run pull = run_sync(loop, there(loop, "none", temp.path), here(temp.to()));
  REQUIRE(!pull.report->ok());
  CHECK(pull.report->error().kind == ErrorKind::not_found);
  CHECK(pull.report->error().message.find("/none': No such file") != std::string::npos);
  Run push = run_sync(loop, here(temp.from()), there(loop, "file/below", temp.path));
  REQUIRE(!push.report->ok());
  CHECK(push.report->error().message.find("Not a directory") != std::string::npos);
  Run local = run_sync(loop, here(temp.path + "/none"), here(temp.to()));
  REQUIRE(!local.report->ok());
  CHECK(local.report->error().kind == ErrorKind::not_found);
}

TEST_CASE("a link that breaks ends the sync with the link's error, and the next one goes on") {
  TempFolder temp;
  fill(temp);
  EpollLoop loop;
  for (size_t after : {1ul, 200ul, 20'000ul, 1'000'000ul}) {
    CAPTURE(after);
    Run push = run_sync(loop, here(temp.from()), there(loop, "to", temp.path, after));
    REQUIRE(!push.report->ok());
    CHECK(push.report->error().message == "the link broke");
    Run pull = run_sync(loop, there(loop, "from", temp.path, after), here(temp.path + "/back"));
    REQUIRE(!pull.report->ok());
    CHECK(pull.report->error().message == "the link broke");
  }
  CHECK(run_sync(loop, here(temp.from()), there(loop, "to", temp.path)).report->ok());
  CHECK(picture(temp.from()) == picture(temp.to()));
}

TEST_CASE("a sync that is destroyed at any time stops, and leaves whole files only") {
  TempFolder temp;
  fill(temp);
  auto good = picture(temp.from());
  EpollLoop loop;
  for (int round = 0; round < 12; ++round) {
    REQUIRE(remove_tree(temp.to()).ok());
    {
      SyncEnd to = round % 2 == 0 ? here(temp.to()) : there(loop, "to", temp.path);
      Started work(sync_files(loop, here(temp.from()), std::move(to), {}, nullptr),
                   std::function<void(Result<SyncReport>)>([](Result<SyncReport>) {}));
      loop.timer(0.002 * round, [&] { loop.stop(); });
      loop.run();
    }
    loop.run();  // nothing is left to wait for
    for (const auto& entry : picture(temp.to())) {
      if (entry.second.starts_with("1 "))
        CHECK_MESSAGE(good[entry.first] == entry.second, entry.first);
    }
  }
}

TEST_CASE("checkpoints are listed here and there alike") {
  TempFolder temp;
  temp.put("from/step-2", "22");
  temp.put("from/step-10", "x");
  temp.put("from/step-11.tmp", "x");
  EpollLoop loop;
  for (bool remote : {false, true}) {
    SyncEnd at = remote ? there(loop, "from", temp.path) : here(temp.from());
    std::optional<Result<std::vector<Checkpoint>>> got;
    Started work(list_checkpoints(loop, std::move(at)),
                 std::function<void(Result<std::vector<Checkpoint>>)>(
                     [&](Result<std::vector<Checkpoint>> list) { got.emplace(std::move(list)); }));
    loop.run();
    work.check();
    REQUIRE(got);
    REQUIRE(got->ok());
    REQUIRE((*got)->size() == 2);
    CHECK((**got)[0].name == "step-2");
    CHECK((**got)[0].bytes == 2);
    CHECK((**got)[1].step == 10);
  }
}

TEST_CASE("links that lead out of the tree are taken on the way there, not on the way here") {
  TempFolder temp;
  temp.link("from/data", "/mnt/data");
  EpollLoop loop;
  CHECK(run_sync(loop, here(temp.from()), there(loop, "to", temp.path)).report->ok());
  CHECK(temp.has("to/data"));
  Run pull = run_sync(loop, there(loop, "to", temp.path), here(temp.path + "/back"));
  REQUIRE(pull.report->ok());
  CHECK((*pull.report)->skipped.size() == 1);
  CHECK(!temp.has("back/data"));
}
