#include "io/process.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "io/fd.h"
#include "io/files.h"
#include "loop/await.h"
#include "loop/epoll_loop.h"
#include "loop/sim_loop.h"

using namespace choline;

namespace {

Result<RunResult> run_with(Loop& loop, RunOptions options) {
  std::optional<Result<RunResult>> got;
  Started work(run_process(loop, std::move(options)),
               std::function<void(Result<RunResult>)>(
                   [&](Result<RunResult> result) { got.emplace(std::move(result)); }));
  loop.run();
  work.check();
  REQUIRE(got);
  return std::move(*got);
}

RunOptions shell(std::string script) {
  RunOptions options;
  options.spawn.argv = {"/bin/sh", "-c", std::move(script)};
  return options;
}

bool is_gone(pid_t pid) {
  return kill(pid, 0) != 0 && errno == ESRCH;
}

}  // namespace

TEST_CASE_TEMPLATE("a program's output, errors and exit code come back", L, EpollLoop, SimLoop) {
  L loop;
  RunOptions options = shell("cat; echo oops >&2; exit 7");
  options.input = "hello";
  Result<RunResult> result = run_with(loop, std::move(options));
  REQUIRE(result.ok());
  CHECK(result->status.code == 7);
  CHECK(result->out == "hello");
  CHECK(result->err == "oops\n");
  CHECK(!result->out_cut);
}

TEST_CASE("much input and output flow both ways at once") {
  EpollLoop loop;
  RunOptions options = shell("cat");
  options.input = std::string(3 << 20, 'x');
  options.output_limit = 8 << 20;
  size_t seen = 0;
  options.on_output = [&](int stream, std::string_view bytes) {
    CHECK(stream == 1);
    seen += bytes.size();
  };
  Result<RunResult> result = run_with(loop, std::move(options));
  REQUIRE(result.ok());
  CHECK(result->out.size() == 3 << 20);
  CHECK(seen == 3 << 20);
}

TEST_CASE("the end of output beyond the limit is kept, and memory stays bounded") {
  EpollLoop loop;
  RunOptions options = shell("head -c 3000000 /dev/zero; echo the end");
  options.output_limit = 1000;
  Result<RunResult> result = run_with(loop, std::move(options));
  REQUIRE(result.ok());
  CHECK(result->out.size() == 1000);
  CHECK(result->out.ends_with("the end\n"));
  CHECK(result->out_cut);
}

TEST_CASE("a program that does not read its input, or closes it, is no fault") {
  signal(SIGPIPE, SIG_IGN);
  EpollLoop loop;
  RunOptions options = shell("exec 0<&-; echo fine");
  options.input = std::string(1 << 20, 'x');
  Result<RunResult> result = run_with(loop, std::move(options));
  REQUIRE(result.ok());
  CHECK(result->out == "fine\n");
}

TEST_CASE("a timeout ends the whole group, by force when it must") {
  EpollLoop loop;
  RunOptions options = shell("trap '' TERM; sleep 3600 & echo $!; wait; sleep 3600");
  options.timeout = 0.1;
  options.grace = 0.1;
  Result<RunResult> result = run_with(loop, std::move(options));
  REQUIRE(result.ok());
  CHECK(result->timed_out);
  CHECK(result->status.signal == SIGKILL);
}

TEST_CASE("what cannot be started is said with its name") {
  EpollLoop loop;
  RunOptions options;
  options.spawn.argv = {"no-such-program-anywhere"};
  Result<RunResult> result = run_with(loop, options);
  REQUIRE(!result.ok());
  CHECK(result.error().kind == ErrorKind::not_found);
  CHECK(result.error().message ==
        "start 'no-such-program-anywhere': No such file or directory (ENOENT)");
  options.spawn.argv = {"true"};
  options.spawn.folder = "/no/such/folder";
  result = run_with(loop, options);
  REQUIRE(!result.ok());
  CHECK(result.error().message ==
        "start in folder '/no/such/folder': No such file or directory (ENOENT)");
  options.spawn.argv = {"/etc/passwd"};
  options.spawn.folder.clear();
  CHECK(run_with(loop, options).error().fields["errno"] == "EACCES");
  options.spawn.argv.clear();
  CHECK(!run_with(loop, options).ok());
  CHECK(waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("a child inherits the environment it was given and no descriptor of ours") {
  EpollLoop loop;
  UniqueFd leak(open("/dev/null", O_RDONLY));  // not close-on-exec, on purpose
  REQUIRE(leak);
  REQUIRE(leak.get() < 200);
  UniqueFd high(fcntl(leak.get(), F_DUPFD, 200));
  RunOptions options = shell("ls /proc/self/fd; echo $A-$B-$HOME; kill -PIPE $$; echo alive");
  options.spawn.env = std::map<std::string, std::string>{{"A", "1"}, {"PATH", "/usr/bin:/bin"}};
  options.spawn.extra_env = {{"B", "2"}};
  Result<RunResult> result = run_with(loop, std::move(options));
  REQUIRE(result.ok());
  // ls itself holds 0, 1, 2 and the folder; SIGPIPE is no longer ignored.
  CHECK(result->out == "0\n1\n2\n3\n1-2-\n");
  CHECK(result->status.signal == SIGPIPE);
}

TEST_CASE("a destroyed run leaves neither a process nor a zombie") {
  EpollLoop loop;
  pid_t leader = 0;
  {
    Result<Spawned> spawned = spawn(shell("sleep 3600 & sleep 3600; true").spawn);
    REQUIRE(spawned.ok());
    leader = spawned->pid;
    Child child(loop, std::move(spawned).value(), false, 0.05);
    CHECK(!child.status());
  }
  loop.run();
  CHECK(is_gone(leader));
  CHECK(waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("a loop that goes while a child lives takes it along") {
  pid_t pid = 0;
  {
    EpollLoop loop;
    Result<Spawned> spawned = spawn(shell("trap '' TERM; sleep 3600; sleep 3600").spawn);
    REQUIRE(spawned.ok());
    pid = spawned->pid;
    Child child(loop, std::move(spawned).value());
  }
  CHECK(is_gone(pid));
}

namespace {
Co<int> wait_twice(Loop& loop, Child* child) {
  std::optional<ExitStatus> early = co_await WithTimeout<ExitStatus>(loop, 0.001, child->wait());
  CHECK(!early);
  child->signal(SIGKILL);
  ExitStatus status = co_await child->wait();
  CHECK(status.signal == SIGKILL);
  ExitStatus again = co_await child->wait();
  co_return again.code;
}
}  // namespace

TEST_CASE("the end of a child can be waited for again, and a wait given up") {
  EpollLoop loop;
  Result<Spawned> spawned = spawn(shell("sleep 3600").spawn);
  REQUIRE(spawned.ok());
  Child child(loop, std::move(spawned).value());
  int code = 0;
  Started work(wait_twice(loop, &child), std::function<void(int)>([&](int got) { code = got; }));
  loop.run();
  work.check();
  CHECK(code == 128 + SIGKILL);
  CHECK(!child.signal(SIGTERM));
}

TEST_CASE("a child dies with the process that started it, a detached one lives on") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  pid_t middle = fork();
  if (middle == 0) {
    RunOptions options = shell("exec sleep 3600");
    options.spawn.out = options.spawn.err = Stdio::null;
    Result<Spawned> bound = spawn(options.spawn);
    options.spawn.detached = true;
    Result<Spawned> loose = spawn(options.spawn);
    pid_t pids[2] = {bound.ok() ? bound->pid : 0, loose.ok() ? loose->pid : 0};
    ssize_t put = write(ends[1], pids, sizeof pids);
    _exit(put == sizeof pids ? 0 : 1);
  }
  close(ends[1]);
  pid_t pids[2] = {0, 0};
  REQUIRE(read(ends[0], pids, sizeof pids) == sizeof pids);
  close(ends[0]);
  waitpid(middle, nullptr, 0);
  REQUIRE(pids[0] > 0);
  REQUIRE(pids[1] > 0);
  // The kernel kills it as its parent dies; its zombie belongs to init, who may be slow to reap.
  auto is_running = [](pid_t pid) {
    Result<std::string> stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    return stat.ok() && stat->find(") Z") == std::string::npos &&
           stat->find(") X") == std::string::npos;
  };
  while (is_running(pids[0])) sched_yield();
  CHECK(is_running(pids[1]));
  kill(pids[1], SIGKILL);
}

namespace {
Co<Status> relay(Loop& loop, int from, int to) {
  for (;;) {
    Result<std::string> bytes = co_await read_some(loop, from, 1000);
    if (!bytes.ok()) co_return bytes.error();
    if (bytes->empty()) co_return done();
    Status status = co_await write_all(loop, to, std::move(bytes).value());
    if (!status.ok()) co_return status;
  }
}
}  // namespace

TEST_CASE_TEMPLATE("bytes are relayed through full pipes, and a lost reader is an error", L,
                   EpollLoop, SimLoop) {
  signal(SIGPIPE, SIG_IGN);
  L loop;
  RunOptions options = shell("head -c 1000000 /dev/zero");
  Result<Spawned> source = spawn(options.spawn);
  options = shell("wc -c");
  options.spawn.in = Stdio::pipe;
  Result<Spawned> sink = spawn(options.spawn);
  REQUIRE(source.ok());
  REQUIRE(sink.ok());
  Child from(loop, std::move(source).value());
  Child to(loop, std::move(sink).value());
  std::optional<Status> outcome;
  Started work(
      relay(loop, from.out.get(), to.in.get()),
      std::function<void(Status)>([&](Status status) { outcome.emplace(std::move(status)); }));
  while (!outcome) {
    loop.timer(0.01, [&] { loop.stop(); });
    loop.run();
  }
  CHECK(outcome->ok());
  to.in.reset();
  std::optional<Result<std::string>> count;
  Started reading(read_some(loop, to.out.get(), 100),
                  std::function<void(Result<std::string>)>(
                      [&](Result<std::string> text) { count.emplace(std::move(text)); }));
  loop.run();
  REQUIRE(count);
  CHECK(count->value() == "1000000\n");

  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  close(ends[0]);
  std::optional<Status> lost;
  Started writing(write_all(loop, ends[1], "x"), std::function<void(Status)>([&](Status status) {
                    lost.emplace(std::move(status));
                  }));
  loop.run();
  REQUIRE(lost);
  CHECK(lost->error().fields["errno"] == "EPIPE");
  close(ends[1]);
}
