// Turns at a service, on virtual time; two of them stand for two processes.
#include "io/pacer.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "io/files.h"
#include "loop/await.h"
#include "loop/gather.h"
#include "loop/sim_loop.h"

namespace choline {
namespace {

struct Service {
  static std::string place() {
    char name[] = "/tmp/choline-pace-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    return std::string(name) + "/pace";
  }
  ~Service() { std::filesystem::remove_all(std::filesystem::path(folder).parent_path()); }

  Co<double> one(std::string name, double interval, bool other) {
    Pacer& pacer = other ? second : first;
    Status turn = co_await pacer.turn(std::move(name), interval);
    CHECK_MESSAGE(turn.ok(), (turn.ok() ? std::string() : turn.error().message));
    co_return loop.ticks();
  }
  // When each of `count` callers, who ask at the same moment, has had its turn.
  std::vector<double> ask(int count, double interval) {
    double began = loop.ticks();
    std::vector<Co<double>> works;
    for (int i = 0; i < count; ++i) works.push_back(one("create", interval, i % 2 == 1));
    std::optional<std::vector<double>> times;
    Started started(gather(loop, std::move(works)),
                    std::function<void(std::vector<double>)>([&](std::vector<double> got) {
                      times.emplace(std::move(got));
                      loop.stop();
                    }));
    if (!times) loop.run();
    REQUIRE(times.has_value());
    for (double& each : *times) each -= began;
    return *times;
  }

  std::string folder = place();
  SimLoop loop;
  Pacer first{loop, folder}, second{loop, folder};
};

TEST_CASE("turns are as far apart as the service wants, whoever takes them") {
  Service service;
  std::vector<double> times = service.ask(4, 4.5);
  for (size_t i = 0; i < times.size(); ++i) {
    CHECK(times[i] == doctest::Approx(4.5 * static_cast<double>(i)).epsilon(0.001));
  }
  // The last one's interval is still to pass.
  CHECK(service.ask(1, 4.5)[0] == doctest::Approx(4.5).epsilon(0.001));
}

TEST_CASE("after too much nobody calls for a while") {
  Service service;
  CHECK(service.ask(1, 1)[0] == doctest::Approx(0));
  REQUIRE(service.second.hold("create", 30).ok());
  CHECK(service.ask(1, 1)[0] == doctest::Approx(30).epsilon(0.001));
}

TEST_CASE("what was written under another clock, or is no time, stops nobody") {
  Service service;
  REQUIRE(make_folders(service.folder).ok());
  for (const char* text : {"99999999999.0\n", "soon", "", "nan"}) {
    std::ofstream(service.folder + "/create", std::ios::trunc) << text;
    CHECK(service.ask(1, 0)[0] == doctest::Approx(0));
  }
}

TEST_CASE("a folder that cannot be made is an error") {
  Service service;
  Pacer nowhere(service.loop, "/proc/none/pace");
  CHECK_FALSE(nowhere.hold("create", 1).ok());
}

}  // namespace
}  // namespace choline
