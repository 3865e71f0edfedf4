// A folder as an instance, a real loop, and real agents over pipes to /bin/sh.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "../build_folder.h"
#include "base/random.h"
#include "link/agent_client.h"
#include "link/bootstrap.h"
#include "link/pipe_link.h"
#include "loop/await.h"
#include "loop/epoll_loop.h"

namespace choline {

struct World {
  World() : home("/tmp/choline-link-" + random_id(10)) {
    std::filesystem::create_directories(home);
    home = std::filesystem::canonical(home);
  }
  ~World() {
    // What a failed case has left running.
    std::string mark = "CHOLINE_INSTANCE=" + tag;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      int pid = std::atoi(entry.path().filename().c_str());
      if (pid <= 1 || pid == ::getpid()) continue;
      std::ifstream file(entry.path() / "environ", std::ios::binary);
      std::string env((std::istreambuf_iterator<char>(file)), {});
      if (env.find(mark) != std::string::npos) ::kill(pid, 9);
    }
    std::error_code ignored;
    std::filesystem::remove_all(home, ignored);
  }

  // Runs the loop until `work` has ended.
  template <class T>
  T run(Co<T> work) {
    std::optional<T> got;
    Started started(std::move(work), std::function<void(T)>([&](T result) {
                      got.emplace(std::move(result));
                      loop.stop();
                    }));
    if (!got) loop.run();
    started.check();
    REQUIRE(got);
    return std::move(*got);
  }
  // A turn of the loop until `done` says so.
  void run_until(std::function<bool()> done) {
    while (!done()) {
      TimerId id = loop.timer(0.005, [&] { loop.stop(); });
      loop.run();
      loop.cancel(id);
    }
  }

  std::unique_ptr<Link> shell(std::vector<std::string> argv = {"/bin/sh"}) {
    PipeLinkOptions options;
    options.argv = std::move(argv);
    options.env = {{"HOME", home}, {"CHOLINE_INSTANCE", tag}};
    Result<std::unique_ptr<Link>> link = open_pipe_link(loop, std::move(options));
    REQUIRE(link.ok());
    return std::move(*link);
  }
  static std::shared_ptr<const AgentPrograms> agents(std::map<std::string, std::string> paths) {
    Result<std::shared_ptr<const AgentPrograms>> loaded = load_agents(paths);
    REQUIRE(loaded.ok());
    return *loaded;
  }
  BootstrapOptions bootstrap_options() {
    BootstrapOptions options;
    options.agents = agents({{"x86_64", agent_program()}, {"aarch64", agent_program()}});
    options.tag = tag;
    return options;
  }
  std::unique_ptr<AgentClient> connect(BootstrapOptions options,
                                       ClientOptions client_options = {}) {
    Result<Bootstrapped> there = run(bootstrap(loop, shell(), std::move(options)));
    INFO((there ? "" : there.error().message));
    REQUIRE(there.ok());
    was_sent = there->sent;
    agent_path = there->path;
    Result<std::unique_ptr<AgentClient>> client =
        run(AgentClient::open(loop, std::move(there->link), client_options));
    INFO((client ? "" : client.error().message));
    REQUIRE(client.ok());
    return std::move(*client);
  }
  std::unique_ptr<AgentClient> connect() { return connect(bootstrap_options()); }

  Result<ExecResult> exec(AgentClient& client, const std::string& script) {
    ExecRequest request;
    request.command.shell = script;
    return run(client.exec(std::move(request)));
  }
  StartRequest command(const std::string& key, const std::string& script) {
    StartRequest request;
    request.key = key;
    request.command.shell = script;
    return request;
  }
  void start(AgentClient& client, const std::string& key, const std::string& script) {
    Result<StartResult> started = run(client.start(command(key, script)));
    INFO((started ? "" : started.error().message));
    REQUIRE(started.ok());
    CHECK(!started->already);
  }
  struct Followed {
    CommandStatus end;
    std::string log;
  };
  Followed follow(AgentClient& client, const std::string& key, uint64_t offset = 0) {
    Followed followed;
    Result<CommandStatus> end =
        run(client.follow(key, offset, [&](std::string_view bytes, uint64_t at) {
          CHECK(at == offset + followed.log.size());
          followed.log += bytes;
        }));
    INFO((end ? "" : end.error().message));
    REQUIRE(end.ok());
    followed.end = *end;
    return followed;
  }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(home + "/" + name, std::ios::binary) << text;
  }
  std::string read(const std::string& name) {
    std::ifstream file(home + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  bool has(const std::string& name) { return std::filesystem::exists(home + "/" + name); }

  EpollLoop loop;
  std::string home;
  std::string tag = "cho-test-" + random_id(10);
  bool was_sent = false;
  std::string agent_path;
};

}  // namespace choline
