// Tasks: the tree, joins, cancellation, shields, events, order.
#include "harness.h"

using namespace choline;

TEST_CASE("join gives results, try gives failures, any the first to end") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    local a = task.spawn('a', function(x, y) test.sleep(2); return x, y end, {args = {1, 2}})
    local b = task.spawn('b', function() test.fail('crashed', 'boom', true) end)
    local c = task.spawn('c', function() test.sleep(1) return 'c' end)
    local first = task.any({a, b, c})
    local ok, f = task.try(b)
    local x, y = task.join(a)
    return {first, ok, f.kind, x, y, task.join(c), a.name, a.path, tostring(a), (task.join(a))})") ==
        R"([2,false,"crashed",1,2,"c","a","main.a","task main.a",1])");
}

TEST_CASE("any of tasks that have ended gives the lowest") {
  LuaTest test(test_options());
  CHECK(
      test.value("local a = task.spawn('a', function() end); local b = task.spawn('b', function() "
                 "end); test.sleep(1); return {task.any({a, b}), (task.any({b, a}))}") == "[1,1]");
}

TEST_CASE("a child's name is new, and a task cannot wait for itself") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    task.join(task.spawn('a', function() end))
    local ok, f = pcall(task.spawn, 'a', function() end)
    local out = task.spawn('o', function() end, {outside = true})
    task.join(out)
    local again = pcall(task.spawn, 'o', function() end, {outside = true})
    local self
    self = task.spawn('self', function() return pcall(task.join, self) end)
    return {ok, f.kind, again, (task.join(self))})") == R"([false,"conflict",true,false])");
}

TEST_CASE("a task's end cancels and joins the children that are left") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    local parent = task.spawn('p', function()
      task.spawn('c', function()
        local x <close> = setmetatable({}, {__close = function()
          task.shield(5, function() test.sleep(1) test.log('released') end) end})
        test.sleep(100)
      end)
      test.sleep(1)
      return 'done'
    end)
    return task.join(parent))") == "\"done\"");
  CHECK(test.lines == std::vector<std::string>{"released"});
  CHECK(test.sleeping == 0);
}

TEST_CASE("a failure that nobody asked about becomes the parent's") {
  LuaTest test(test_options());
  Outcome outcome = test.run(
      "task.spawn('a', function() error({}) end); "
      "task.spawn('b', function() test.fail('oom', 'no memory') end); "
      "task.try(task.spawn('c', function() error('seen') end)) test.sleep(1)");
  CHECK_FALSE(outcome.ok);
  LuaTest other(test_options());
  CHECK(other.run("task.spawn('b', function() test.fail('oom', 'no memory') end) test.sleep(1)")
            .kind == "oom");
}

TEST_CASE("a cancellation is raised at the wait, passes every pcall, and stays") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    local t = task.spawn('t', function()
      local x <close> = setmetatable({}, {__close = function()
        test.log(select(2, pcall(error, 'caught')))
        local ok, f = pcall(test.sleep, 1)
        test.log('not reached')
      end})
      local function body() pcall(test.sleep, 100) test.log('not here') end
      xpcall(coroutine.wrap(body), function(e) return e end)
      test.log('nor here')
    end)
    test.sleep(1)
    task.cancel(t, 'enough')
    local ok, f = task.try(t)
    local ok2, f2 = pcall(task.join, t)
    return {ok, f.kind, f.message, ok2, f2 == f})") ==
        R"([false,"cancelled","cancelled: enough",false,true])");
  CHECK(test.lines == std::vector<std::string>{"caught"});
  CHECK(test.sleeping == 0);
}

TEST_CASE("a task cancelled before it ran never runs") {
  LuaTest test(test_options());
  CHECK(test.value("local t = task.spawn('t', function() test.log('ran') end); task.cancel(t); "
                   "return select(2, task.try(t)).kind") == "\"cancelled\"");
  CHECK(test.lines.empty());
}

TEST_CASE("a result that is already there is delivered before the cancellation") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    local event = task.event()
    local got
    local t = task.spawn('t', function() got = event:wait(); test.sleep(1) end)
    test.sleep(1)
    event:set('value')
    task.cancel(t)
    local ok, f = task.try(t)
    return {got, ok, f.kind})") == R"(["value",false,"cancelled"])");
}

TEST_CASE("a shield holds a cancellation off for its seconds and no longer") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    local t = task.spawn('t', function()
      local r = task.shield(10, function(x) test.sleep(5) test.log('first') return 'kept' end)
      test.log(r)
      test.sleep(1)
    end)
    local u = task.spawn('u', function()
      task.shield(2, function() test.sleep(100) test.log('too long') end)
    end)
    test.sleep(1)
    task.cancel(t) task.cancel(u)
    local a, f = task.try(t)
    local b, g = task.try(u)
    return {a, f.kind, b, g.kind, native.test.echo(1)[1]})") ==
        R"([false,"cancelled",false,"cancelled",1])");
  CHECK(test.lines == std::vector<std::string>{"first", "kept"});
  CHECK(test.loop.ticks() < 1010);
  CHECK(test.loop.timers_waiting() == 0);
}

TEST_CASE("a machine that sleeps does not use up a shield") {
  LuaTest test(test_options());
  test.loop.timer(5, [&test] { test.loop.suspend(3600); });
  CHECK(test.value(R"(
    local t = task.spawn('t', function()
      task.shield(100, function() test.sleep(10) test.sleep(10) test.log('kept') end)
    end)
    test.sleep(1)
    task.cancel(t)
    return {(task.try(t))})") == "[true]");
  CHECK(test.lines == std::vector<std::string>{"kept"});
  CHECK(test.loop.timers_waiting() == 0);
}

TEST_CASE("an event wakes all who wait, and those who come later at once") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    local event = task.event()
    local a = task.spawn('a', function() return event:wait() end)
    local b = task.spawn('b', function() return event:wait() end)
    local c = task.spawn('c', function() return event:wait() end)
    test.sleep(1)
    task.cancel(c)
    local before = event:is_set()
    event:set({1})
    local again, f = pcall(event.set, event, 2)
    return {before, event:is_set(), task.join(a)[1], task.join(b)[1], event:wait()[1], again, f.kind})") ==
        R"([false,true,1,1,1,false,"conflict"])");
}

TEST_CASE("what is asked for quiet runs when every durable task waits, before outside tasks") {
  LuaTest test(test_options());
  test.host.when_quiet([&] { test.lines.push_back("quiet 1"); });
  test.host.when_quiet([&] { test.lines.push_back("quiet 2"); });
  test.value(R"(
    task.spawn('o', function() test.log('outside') end, {outside = true})
    local e = task.event()
    task.spawn('a', function() test.log('a'); e:set(1) end)
    task.spawn('b', function() e:wait() test.log('b') end)
    test.sleep(1))");
  CHECK(test.lines == std::vector<std::string>{"a", "b", "quiet 1", "quiet 2", "outside"});
}

TEST_CASE("three hundred tasks cancelled at random points all run their handlers") {
  LuaTest test(test_options());
  std::string result = test.value(R"(
    native.random.seed(42)
    local closed, tasks = 0, {}
    local function worker(index)
      local x <close> = setmetatable({}, {__close = function()
        task.shield(1000, function() if index % 2 == 0 then test.later() end closed = closed + 1 end)
      end})
      local y <close> = setmetatable({}, {__close = function() pcall(error, 'inside a handler') end})
      while true do
        local kind = index % 4
        if kind == 0 then test.sleep(native.random.integer(1, 50) / 10)
        elseif kind == 1 then coroutine.wrap(function() test.later() test.sleep(1) end)()
        elseif kind == 2 then
          task.join(task.spawn('child' .. native.random.integer(1, 1 << 40), function() test.sleep(3) end))
        else pcall(test.fail, 'lost', 'x', true) test.at_once(1) end
      end
    end
    for i = 1, 300 do tasks[i] = task.spawn('t' .. i, worker, {args = {i}}) end
    test.sleep(0.1)
    local order = {}
    for i = 1, 300 do order[i] = i end
    for i = 300, 2, -1 do local j = native.random.integer(1, i) order[i], order[j] = order[j], order[i] end
    local cancelled = 0
    for _, i in ipairs(order) do
      if native.random.number() < 0.5 then test.sleep(native.random.number()) end
      task.cancel(tasks[i])
    end
    for i = 1, 300 do
      local ok, f = task.try(tasks[i])
      if not ok and f.kind == 'cancelled' then cancelled = cancelled + 1 end
    end
    return {closed, cancelled})");
  CHECK(result == "[300,300]");
  CHECK(test.sleeping == 0);
  CHECK(test.host.tasks_alive() == 0);
}

TEST_CASE("a host that ends early drops its waits without running them") {
  int alive = 0;
  {
    LuaTest test(test_options());
    test.host.start_text(
        "local native = ...; for i = 1, 10 do native.task.spawn('t' .. i, function() "
        "native.test.sleep(1e6) end) end native.test.sleep(1e6)",
        "@x", {}, nullptr);
    test.loop.run_for(1);
    CHECK(test.sleeping == 11);
    alive = test.sleeping;
  }
  CHECK(alive == 11);
}
