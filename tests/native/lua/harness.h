// Runs a piece of Lua as the main task of a host on a virtual clock, with natives made for tests.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "loop/await.h"
#include "loop/sim_loop.h"
#include "lua/host.h"

namespace choline {

// test.sleep(seconds), test.later(value), test.at_once(value), test.fail(kind, text, later),
// test.throws(), test.log(value), test.echo(...): what a native module can do, both ways.
class LuaTest {
 public:
  explicit LuaTest(HostOptions options = {.runaway = 0});

  // `text` sees native, argv, modules as `...` and the globals of the stdlib.
  Outcome run(const std::string& text);
  // The main task's value as JSON text; a failed CHECK when it failed.
  std::string value(const std::string& text);

  std::map<std::string, std::string> files;  // what require finds: "core/x.lua"
  std::vector<std::string> lines;            // of test.log
  int sleeping = 0;                          // native sleeps alive now
  SimLoop loop;
  Host host;

 private:
  void add_natives();
};

// The collector at full pressure when CHOLINE_LUA_STRESS is set.
HostOptions test_options();

}  // namespace choline
