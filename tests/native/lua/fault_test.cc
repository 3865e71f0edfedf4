// Every allocation of Lua fails once (twice, since Lua tries again after a collection), one after
// the other: nothing may leak, abort or hang.
#include "harness.h"

using namespace choline;

namespace {

constexpr const char* kScript = R"lua(
  local env = native.chunk.sandbox()
  local chunk = native.chunk.load("local t = {} for k, v in pairs({a = 1, b = {2}}) do t[#t + 1] = k end " ..
    "table.sort(t) return ('%s'):format(t[1])", 'Cholfile.lua', env)
  local out = { chunk and chunk() }
  local event = task.event()
  local a = task.spawn('a', function()
    local x <close> = setmetatable({}, {__close = function() test.later() end})
    coroutine.wrap(function() test.later({1, {x = 'y'}}) event:set(test.at_once('v')) end)()
    test.fail('crashed', 'boom', true)
  end)
  local b = task.spawn('b', function() return event:wait() end)
  local c = task.spawn('c', function() task.shield(5, function() test.sleep(100) end) end)
  local ok, f = task.try(a)
  task.cancel(c, 'enough')
  task.any({b, c})
  pcall(test.echo, {1, 2.5, {k = native.null}})
  task.cancel(b) task.try(b) task.try(c)
  return 'end')lua";

}  // namespace

TEST_CASE("no failed allocation aborts, leaks or hangs") {
  uint64_t calls = 0;
  {
    LuaTest test(HostOptions{.runaway = 0});
    CHECK(test.value(kScript) == "\"end\"");
    calls = test.host.memory().calls;
  }
  REQUIRE(calls > 500);
  size_t failed = 0;
  for (uint64_t at = 1; at <= calls; ++at) {
    LuaTest test(HostOptions{.runaway = 0, .fail_allocation = at});
    if (!test.host.ok()) {
      CHECK(test.host.problem().find("memory") != std::string::npos);
      continue;
    }
    Outcome outcome = test.run(kScript);
    if (!outcome.ok) {
      ++failed;
      CHECK_MESSAGE(outcome.message.find("memory") != std::string::npos, at, ": ", outcome.message);
    }
    CHECK_MESSAGE(test.sleeping == 0, at);
  }
  CHECK(failed > 0);
}
