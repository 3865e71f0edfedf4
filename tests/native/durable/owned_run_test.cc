// Processes: kill -9 at every crash point, two owners, requests between them.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "loop/epoll_loop.h"
#include "steps_support.h"
#include "store/crash.h"
#include "store/steps.h"

namespace choline {

namespace {

std::string record_run(const std::string& folder) {
  SimLoop loop;
  auto store = open_store(loop, folder);
  add_run(*store, a_run("r1", loop.wall()));
  return folder;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void append_line(const std::string& path, const std::string& line) {
  std::ofstream file(path, std::ios::app);
  file << line << "\n";
}

int wait_for(pid_t child) {
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

enum Exit { finished = 0, diverged = 10, done_twice = 11, not_finished = 12, not_owned = 13 };

// One process working on the run in `folder`; the world it changes is a file that outlives it.
int work(const std::string& folder) {
  SimLoop loop;
  loop.timer(1e9, [] {});
  Result<std::unique_ptr<Store>> store = Store::open(loop, folder);
  if (!store) return not_owned;
  auto owned = OwnedRun::own(loop, **store, "r1", quiet_after_posts(loop));
  if (!owned) return not_owned;
  bool twice = false;
  int number = 0;
  Workflow flow{loop, (*owned)->steps(), {}, {}, {}, {}};
  flow.delay = [&number] { return 0.1 * (++number * 7 % 5); };
  flow.act = [&](const StepContext& context, const Json&) -> Result<Json> {
    auto row = find_step((*store)->db(), "r1", context.key);
    if (!row || !*row || (*row)->state != StepState::intent) twice = true;
    append_line(folder + "/world", context.key + " " + std::to_string(context.attempt));
    return Json(::getpid());  // another process would give another answer
  };
  Started main(main_task(&flow, 2, 2), std::function<void(Done)>([](Done) {}));
  loop.run_for(1000);
  if (twice) return done_twice;
  if (!flow.failure.empty() || (*owned)->steps().broken()) return diverged;
  if (!flow.ended) return not_finished;
  std::ofstream(folder + "/log") << Json(flow.log).dump(1);
  (*owned)->event("ended", {{"steps", flow.log.size()}}, "", "main", false);
  if (!(*owned)->set_state("done", nullptr)) return diverged;
  (*owned)->disown();
  return finished;
}

pid_t start_worker(const std::string& folder, long crash_at, const std::string& count = "") {
  pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::setenv("CHOLINE_CRASH_AT", std::to_string(crash_at).c_str(), 1);
    if (!count.empty()) ::setenv("CHOLINE_CRASH_COUNT", count.c_str(), 1);
    crash_points_on = true;
    ::_exit(work(folder));
  }
  return child;
}

void check_finished(const std::string& folder) {
  SimLoop loop;
  auto store = open_store(loop, folder);
  Result<std::optional<RunRow>> row = get_run(store->db(), "r1", 0);
  REQUIRE_OK(row);
  CHECK((*row)->state == "done");
  CHECK((*row)->owner.is_null());
  Result<std::vector<EventRow>> events = list_events(store->db(), "r1", 0, -1);
  REQUIRE_OK(events);
  CHECK(events->size() == 1);
}

}  // namespace

TEST_CASE("killed at each crash point, a run goes on, does nothing twice, and replays the same") {
  long points = 0;
  {
    TempFolder temp;
    std::string folder = record_run(temp.path());
    CHECK(wait_for(start_worker(folder, 0, temp.path() + "/count")) == 0);
    points = std::stol(read_text(temp.path() + "/count"));
    CHECK(points > 20);
    check_finished(folder);
  }
  for (long first = 1; first <= points; ++first) {
    CAPTURE(first);
    TempFolder temp;
    std::string folder = record_run(temp.path());
    int killed = wait_for(start_worker(folder, first));
    REQUIRE(WIFSIGNALED(killed));
    REQUIRE(WTERMSIG(killed) == SIGKILL);
    int again = wait_for(start_worker(folder, first / 2 + 1));  // and once more on the way
    if (!WIFSIGNALED(again)) REQUIRE(again == 0);
    REQUIRE(wait_for(start_worker(folder, 0)) == 0);
    check_finished(folder);
    std::string log = read_text(folder + "/log"), world = read_text(folder + "/world");
    REQUIRE(wait_for(start_worker(folder, 0)) == 0);
    REQUIRE(read_text(folder + "/log") == log);
    REQUIRE(read_text(folder + "/world") == world);
  }
}

TEST_CASE("a run has one owner, and the second is told who that is") {
  TempFolder temp;
  std::string folder = record_run(temp.path());
  int up[2], down[2];
  REQUIRE(::pipe(up) == 0);
  REQUIRE(::pipe(down) == 0);
  pid_t child = ::fork();
  if (child == 0) {
    SimLoop loop;
    auto store = Store::open(loop, folder);
    auto owned = OwnedRun::own(loop, **store, "r1", quiet_after_posts(loop));
    char byte = owned ? 'y' : 'n';
    if (::write(up[1], &byte, 1) != 1 || ::read(down[0], &byte, 1) != 1) ::_exit(1);
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(up[0], &byte, 1) == 1);
  REQUIRE(byte == 'y');
  SimLoop loop;
  auto store = open_store(loop, folder);
  CHECK(RunLock::is_held(store->run_folder("r1")));
  auto refused = OwnedRun::own(loop, *store, "r1", quiet_after_posts(loop));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().kind == ErrorKind::conflict);
  CHECK(refused.error().fields["pid"] == child);
  CHECK(refused.error().message.find("is owned by process " + std::to_string(child)) !=
        std::string::npos);
  CHECK(refused.error().message.find("choline logs -f r1") != std::string::npos);
  ::kill(child, SIGKILL);
  wait_for(child);
  CHECK_FALSE(RunLock::is_held(store->run_folder("r1")));
  auto taken = OwnedRun::own(loop, *store, "r1", quiet_after_posts(loop));
  REQUIRE_OK(taken);
  CHECK((*taken)->epoch() == 2);
  for (int fd : {up[0], up[1], down[0], down[1]}) ::close(fd);
}

TEST_CASE("a process whose run was taken over writes nothing more and is told to stop") {
  TempFolder temp;
  std::string folder = record_run(temp.path());
  SimLoop loop;
  loop.timer(1e9, [] {});
  auto store = open_store(loop, folder);
  auto owned = OwnedRun::own(loop, *store, "r1", quiet_after_posts(loop));
  REQUIRE_OK(owned);
  std::string broken;
  (*owned)->on_broken = [&](const Error& error) { broken = std::string(to_text(error.kind)); };
  // As after a suspend in which the lock was lost: another epoch is in the row.
  REQUIRE_OK(store->write([](Txn& txn) -> Status {
    Result<int64_t> epoch = take_run(txn, "r1", {{"pid", 1}});
    if (!epoch) return epoch.error();
    return done();
  }));
  Workflow flow{loop, (*owned)->steps(), {}, {}, {}, {}};
  int acted = 0;
  flow.delay = [] { return 0.0; };
  flow.act = [&](const StepContext&, const Json&) { return Json(++acted); };
  std::string got;
  Started step(ask(&flow, "main", "act", nullptr),
               std::function<void(Result<Json>)>(
                   [&](Result<Json> answer) { got = answer ? "ok" : answer.error().message; }));
  loop.run_for(1);
  CHECK(acted == 0);
  CHECK(broken == "conflict");
  CHECK(got.find("taken over by another process") != std::string::npos);
  Result<std::vector<StepRow>> rows = list_steps(store->db(), "r1", {});
  REQUIRE_OK(rows);
  CHECK(rows->empty());
  CHECK_FALSE((*owned)->set_state("done", nullptr).ok());
}

namespace {

Co<Done> serve(Loop* loop, std::shared_ptr<RequestServer> server, int count) {
  for (int number = 0; number < count; ++number) {
    Co<Result<Request>> waiting = server->next();
    Result<Request> request = co_await waiting;
    if (!request) break;
    if (request->verb == "silence") continue;
    Json answer = Json::object();
    answer["verb"] = request->verb;
    answer["args"] = request->args;
    answer["pid"] = request->pid;
    if (!server->reply(request->id, answer)) break;
  }
  co_await Sleep(*loop, 0.2);  // until what was sent is on its way
  loop->stop();
  co_return Done{};
}

std::string ask_owner(const std::string& folder, const std::string& verb, const Json& args,
                      double seconds = 20) {
  EpollLoop loop;
  std::string got = "nothing";
  Started asking(
      send_request(loop, folder, verb, args, seconds),
      std::function<void(Result<std::optional<Json>>)>([&](Result<std::optional<Json>> answer) {
        if (!answer)
          got = std::string(to_text(answer.error().kind));
        else
          got = *answer ? to_text(**answer) : "nobody";
        loop.stop();
      }));
  if (asking.active()) loop.run();
  return got;
}

pid_t start_server(const std::string& folder, int count) {
  int up[2];
  REQUIRE(::pipe(up) == 0);
  pid_t child = ::fork();
  if (child == 0) {
    EpollLoop loop;
    auto server = RequestServer::listen(loop, folder);
    char byte = server ? 'y' : 'n';
    if (::write(up[1], &byte, 1) != 1 || !server) ::_exit(1);
    Started serving(serve(&loop, *server, count), std::function<void(Done)>([](Done) {}));
    loop.run();
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(up[0], &byte, 1) == 1);
  REQUIRE(byte == 'y');
  ::close(up[0]);
  ::close(up[1]);
  return child;
}

void check_requests(const std::string& folder) {
  CHECK(ask_owner(folder, "stop", nullptr) == "nobody");
  pid_t child = start_server(folder, 3);
  struct stat facts {};
  REQUIRE(::stat((folder + "/control.sock").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  std::string me = std::to_string(::getpid());
  CHECK(ask_owner(folder, "stop", {{"why", "enough"}}) ==
        "{\"args\":{\"why\":\"enough\"},\"pid\":" + me + ",\"verb\":\"stop\"}");
  std::string large(300'000, 'x');
  CHECK(ask_owner(folder, "echo", large) ==
        "{\"args\":\"" + large + "\",\"pid\":" + me + ",\"verb\":\"echo\"}");
  CHECK(ask_owner(folder, "silence", nullptr) == "nobody");  // it ended before it answered
  CHECK(wait_for(child) == 0);
  child = start_server(folder, 2);
  ::kill(child, SIGKILL);  // leaves its socket behind
  wait_for(child);
  CHECK(ask_owner(folder, "stop", nullptr) == "nobody");
  child = start_server(folder, 2);
  CHECK(ask_owner(folder, "silence", nullptr, 0.05) == "timeout");
  CHECK(ask_owner(folder, "stop", 1) == "{\"args\":1,\"pid\":" + me + ",\"verb\":\"stop\"}");
  CHECK(wait_for(child) == 0);
}

}  // namespace

TEST_CASE("a request of one process is answered by the other, and by nobody once that has gone") {
  TempFolder temp;
  check_requests(temp.path());
}

TEST_CASE("requests reach a run whose path is longer than a socket's name may be") {
  TempFolder temp;
  std::string folder = temp.path() + "/" + std::string(120, 'd');
  REQUIRE(::mkdir(folder.c_str(), 0700) == 0);
  check_requests(folder);
}

TEST_CASE("events are recorded once by task and ordinal, outside tasks by process") {
  TempFolder temp;
  std::string folder = record_run(temp.path());
  auto record = [&](const std::string& kind, const std::string& key, bool outside) {
    SimLoop loop;
    auto store = open_store(loop, folder);
    auto owned = OwnedRun::own(loop, *store, "r1", quiet_after_posts(loop));
    REQUIRE_OK(owned);
    std::string out;
    for (int number = 0; number < 2; ++number) {
      OwnedRun::Recorded got = (*owned)->event(kind, number, key, "main", outside);
      out += std::to_string(got.row.id) + (got.fresh ? "+" : "-") + to_text(got.row.data) + " ";
    }
    (*owned)->disown();
    return out;
  };
  CHECK(record("started", "", false) == "1+0 2+1 ");
  CHECK(record("started", "", false) == "1-0 2-1 ");
  CHECK(record("synced", "sync/code", false) == "3+0 3-0 ");
  CHECK(record("seen", "", true) == "4+0 5+1 ");
  CHECK(record("seen", "", true) == "6+0 7+1 ");
}

}  // namespace choline
