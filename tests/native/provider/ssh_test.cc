// What the ssh provider has a host's shell do, done by the shells of this machine in a home of its
// own. The whole way over a real sshd is in tests/cases/case_ssh.py.
#include <doctest/doctest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "io/process.h"
#include "loop/epoll_loop.h"
#include "provider/ssh.h"
#include "provider/ssh_script.h"

namespace choline {
namespace {

namespace fs = std::filesystem;

struct Host {
  Host() {
    char name[] = "/tmp/choline-host-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    home = name;
  }
  ~Host() {
    std::error_code ignored;
    fs::remove_all(home, ignored);
  }

  std::string say(const std::string& script) {
    RunOptions options;
    options.spawn.argv = shell;
    options.spawn.extra_env = {{"HOME", home}};
    options.input = script;
    std::optional<Result<RunResult>> ran;
    EpollLoop loop;
    Started started(run_process(loop, options),
                    std::function<void(Result<RunResult>)>([&](Result<RunResult> result) {
                      ran.emplace(std::move(result));
                      loop.stop();
                    }));
    if (!ran) loop.run();
    started.check();
    REQUIRE((ran && ran->ok()));
    CHECK_MESSAGE((*ran)->status.code == 0, (*ran)->err);
    return "Welcome to this host!\n" + (*ran)->out;  // as a login shell may greet
  }
  std::optional<SshPlace> take(const std::string& tag, int places) {
    Result<std::optional<SshPlace>> place = read_taken(say(take_script(tag, places)));
    REQUIRE(place.ok());
    return *place;
  }
  std::string list(const std::string& prefix) {
    Result<std::vector<SshPlace>> places = read_list(say(list_script(prefix)));
    REQUIRE(places.ok());
    std::string out;
    for (const SshPlace& place : *places) out += place.tag + " ";
    return out;
  }
  bool end(const std::string& tag) {
    Result<bool> ended = read_ended(say(end_script(tag)));
    REQUIRE(ended.ok());
    return *ended;
  }

  std::string home;
  std::vector<std::string> shell = {"/bin/sh", "-s"};
};

std::vector<std::vector<std::string>> shells() {
  std::vector<std::vector<std::string>> found = {{"/bin/sh", "-s"}};
  if (fs::exists("/bin/bash")) found.push_back({"/bin/bash", "-s"});
  if (fs::exists("/bin/busybox")) found.push_back({"/bin/busybox", "sh", "-s"});
  return found;
}

pid_t start_marked(const std::string& tag) {
  std::string mark = "CHOLINE_INSTANCE=" + tag;
  pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::array<char*, 2> env = {mark.data(), nullptr};
    execle("/bin/sleep", "sleep", "1000", nullptr, env.data());
    _exit(127);
  }
  return child;
}

}  // namespace

TEST_CASE("a host gives as many places as it has, and the same tag the same place") {
  for (const std::vector<std::string>& shell : shells()) {
    Host host;
    host.shell = shell;
    std::optional<SshPlace> first = host.take("cho-a-1", 2);
    REQUIRE(first.has_value());
    CHECK(first->root == host.home + "/.choline/instances/cho-a-1");
    CHECK(fs::is_directory(first->root));
    CHECK(first->since > 1e9);
    CHECK(host.take("cho-a-1", 2)->tag == "cho-a-1");
    CHECK(host.list("cho-") == "cho-a-1 ");
    CHECK(host.take("cho-b-1", 2).has_value());
    CHECK(!host.take("cho-c-1", 2).has_value());
    CHECK(host.list("cho-b") == "cho-b-1 ");
    CHECK(host.list("") == "cho-a-1 cho-b-1 ");
    CHECK(host.end("cho-a-1"));
    CHECK(!fs::exists(first->root));
    CHECK(host.end("cho-a-1"));  // again
    CHECK(host.take("cho-c-1", 2).has_value());
    CHECK(host.list("cho-a") == "");
  }
}

TEST_CASE("places taken by many at once are each taken by one") {
  Host host;
  std::string script = "unset HOME\nHOME=" + host.home + "\n";
  constexpr int kMany = 20;
  for (int number = 0; number < kMany; ++number) {
    script += "( " + take_script("cho-t-" + std::to_string(number), 3) + " ) &\n";
  }
  std::string answers = host.say(script + "wait\n");
  int taken = 0;
  for (size_t at = 0; (at = answers.find("choline: place ", at)) != std::string::npos; ++at)
    ++taken;
  CHECK(taken == 3);
  CHECK(host.list("cho-t-").size() > 3 * std::string("cho-t-1").size());
}

TEST_CASE(
    "the end of an instance kills what carries its tag and nothing else, and frees the place") {
  Host host;
  host.take("cho-x-1", 1);
  pid_t mine = start_marked("cho-x-1");
  pid_t other = start_marked("cho-x-10");
  fs::create_directories(host.home + "/.choline/instances/cho-x-1/sealed/deep");
  std::ofstream(host.home + "/keep") << "mine";
  fs::create_symlink(host.home, host.home + "/.choline/instances/cho-x-1/out");
  fs::permissions(host.home + "/.choline/instances/cho-x-1/sealed", fs::perms::owner_read);
  CHECK(host.end("cho-x-1"));
  int status = 0;
  CHECK(waitpid(mine, &status, 0) == mine);
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK(waitpid(other, &status, WNOHANG) == 0);
  kill(other, SIGKILL);
  waitpid(other, &status, 0);
  CHECK(!fs::exists(host.home + "/.choline/instances/cho-x-1"));
  CHECK(fs::exists(host.home + "/keep"));
  CHECK(host.list("") == "");
}

TEST_CASE("an answer that was cut off, or makes no sense, is no answer") {
  Host host;
  std::string whole = host.say(take_script("cho-a-1", 1));
  size_t end = whole.find("choline: end");
  REQUIRE(end != std::string::npos);
  CHECK(!read_taken(whole.substr(0, end)).ok());
  CHECK(!read_list("").ok());
  CHECK(!read_ended("choline: gone\n").ok());
  CHECK(!read_list("choline: place x\ncholine: end\n").ok());
  CHECK(!read_list("choline: place cho-a 1 relative\ncholine: end\n").ok());
}

TEST_CASE("a host tells what it has") {
  Host host;
  Result<SshHostFacts> facts = read_facts(host.say(facts_script()));
  REQUIRE(facts.ok());
  CHECK(!facts->name.empty());
  CHECK(facts->cpus >= 1);
  CHECK(facts->memory > int64_t{16} << 20);
  CHECK(facts->disk > 0);
  CHECK(facts->taken == 0);
  Result<SshHostFacts> cards = read_facts(
      "choline: gpu NVIDIA RTX 4090, 24564\ncholine: gpu NVIDIA RTX 4090, 24564\ncholine: end\n");
  REQUIRE(cards.ok());
  REQUIRE(cards->gpus.size() == 1);
  CHECK(cards->gpus[0].count == 2);
  CHECK(cards->gpus[0].memory == int64_t{24564} << 20);
}

TEST_CASE("settings of ssh name hosts, and what is wrong with them is said") {
  Result<SshSettings> good = ssh_settings(
      {{"hosts", {"a", "me@b:22", "a"}}, {"user", "you"}, {"port", 2222}, {"places", 3}});
  REQUIRE(good.ok());
  REQUIRE(good->hosts.size() == 2);
  CHECK(to_text(good->hosts[0]) == "you@a:2222");
  CHECK(to_text(good->hosts[1]) == "me@b:22");
  CHECK(good->places == 3);
  CHECK(!ssh_settings(Json::object()).ok());
  CHECK(!ssh_settings({{"hosts", Json::array()}}).ok());
  CHECK(!ssh_settings({{"hosts", "-oProxyCommand=id"}}).ok());
  CHECK(!ssh_settings({{"hosts", "a"}, {"places", 0}}).ok());
}

}  // namespace choline
