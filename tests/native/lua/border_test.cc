// The rules of the border: values, failures, waits that end at once and later.
#include "harness.h"

using namespace choline;

TEST_CASE("arguments and results keep integers, floats, lists and objects apart") {
  LuaTest test(test_options());
  CHECK(
      test.value("return test.echo(1, 1.0, 'x', true, {}, {1,2}, {a=1}, native.json.array({}))") ==
      R"([1,1.0,"x",true,{},[1,2],{"a":1},[]])");
}

TEST_CASE("a missing argument is null, and a null field is no field") {
  LuaTest test(test_options());
  CHECK(test.value("local r = test.echo(nil, {a = native.null, b = 1}); "
                   "return {r[1] == native.null, r[2].a == nil, r[2].b}") == "[true,true,1]");
}

TEST_CASE("what cannot be passed is refused with its place") {
  LuaTest test(test_options());
  Outcome outcome = test.run("test.echo({a = {1, {b = type}}})");
  CHECK(outcome.kind == "invalid");
  CHECK(outcome.message ==
        "test.lua:1: native.test.echo: argument 1: field 'a[2].b': a function cannot be passed");
  for (const char* text : {"local t = {}; t.t = t; test.echo(t)", "test.echo({1, nil, 3})",
                           "test.echo({1, x = 2})", "test.echo({[true] = 1})"}) {
    LuaTest fresh(test_options());
    CHECK(fresh.run(text).kind == "invalid");
  }
}

TEST_CASE("a failure has kind, message, fields and the place of the user's line") {
  LuaTest test(test_options());
  CHECK(test.value(
            "local ok, f = pcall(test.refuse)\n"
            "return {ok, f.kind, f.message, f.where, getmetatable(f) == native.failure_meta}") ==
        R"([false,"refused","no","test.lua:1",true])");
}

TEST_CASE("a wait gives its result whether it ends at once or later") {
  for (const char* name : {"at_once", "later"}) {
    CAPTURE(name);
    LuaTest test(test_options());
    std::string call = std::string("test.") + name;
    CHECK(test.value("return {" + call + "(1), " + call + "('x'), " + call + "({a = {1}})}") ==
          R"([1,"x",{"a":[1]}])");
  }
}

TEST_CASE("a wait raises its failure whether it ends at once or later") {
  for (const char* later : {"false", "true"}) {
    CAPTURE(later);
    LuaTest test(test_options());
    CHECK(test.value(std::string("local ok, f = pcall(test.fail, 'preempted', 'gone', ") + later +
                     "); return {ok, f.kind, f.message, f.fields.code}") ==
          R"([false,"preempted","gone",7])");
  }
}

TEST_CASE("what a native coroutine throws becomes a failure") {
  LuaTest test(test_options());
  Outcome outcome = test.run("test.throws()");
  CHECK(outcome.message.find("a broken promise") != std::string::npos);
  CHECK(outcome.kind == "invalid");
}

TEST_CASE("a wait passes through user coroutines, metamethods, iterators and sort") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    local out = {}
    local inner = coroutine.wrap(function()
      local nested = coroutine.wrap(function() coroutine.yield(test.later(1)); return test.at_once(2) end)
      coroutine.yield(nested()); coroutine.yield(nested())
      return test.later(3)
    end)
    for i = 1, 3 do out[#out + 1] = inner() end
    local t = setmetatable({}, {__index = function(_, k) return test.later(k) end})
    out[#out + 1] = t.key
    for v in function(_, last) if not last then return test.later(5) end end do out[#out + 1] = v end
    local list = {3, 1, 2}
    table.sort(list, function(a, b) test.later(); return a < b end)
    out[#out + 1] = table.concat(list)
    return out)") == R"([1,2,3,"key",5,"123"])");
}

TEST_CASE("coroutines keep Lua's meaning: values, errors, status, close") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    local co = coroutine.create(function(a, b)
      local c = coroutine.yield(a + b)
      error({c})
    end)
    local _, sum = coroutine.resume(co, 1, 2)
    local before = coroutine.status(co)
    local ok, err = coroutine.resume(co, 'c')
    local closed = {}
    local other = coroutine.create(function()
      local x <close> = setmetatable({}, {__close = function() closed[1] = 'closed' end})
      coroutine.yield()
    end)
    coroutine.resume(other)
    local did = coroutine.close(other)
    local dead, why = coroutine.resume(other)
    return {sum, before, ok, err[1], coroutine.status(co), did, closed[1], dead, why,
            pcall(coroutine.yield)})") ==
        R"([3,"suspended",false,"c","dead",true,"closed",false,"cannot resume dead coroutine",)"
        R"(false,"attempt to yield from outside a coroutine"])");
}

TEST_CASE("where nothing can wait the error says so") {
  LuaTest test(test_options());
  CHECK(test.run("local s = ('x'):gsub('x', function() test.later() end)")
            .message.find("cannot wait here") != std::string::npos);
  LuaTest other(test_options());
  CHECK(other.value("local ok, f = pcall(task.forbid_waiting, 'a policy may not wait', function() "
                    "local w = coroutine.wrap(function() test.later() end); w() end)\n"
                    "return {ok, f.message, task.forbid_waiting('x', function(a) return a end, 5), "
                    "test.later(6)}") == R"([false,"a policy may not wait",5,6])");
}

TEST_CASE("a <close> handler may wait, in the body and in a user coroutine") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    local out = {}
    local function closing(name)
      return setmetatable({}, {__close = function() test.later(); out[#out + 1] = name end})
    end
    pcall(function() local a <close> = closing 'body'; error 'x' end)
    pcall(coroutine.wrap(function() local b <close> = closing 'coroutine'; test.later(); error 'y' end))
    return out)") == R"(["body","coroutine"])");
}

TEST_CASE("require runs stdlib modules once, with the native table, and lets them wait") {
  LuaTest test(test_options());
  test.files["core/x.lua"] =
      "local native, name = ...; native.test.log(name); "
      "return {v = native.test.later(4), n = require 'native' == native}";
  CHECK(test.value("local a, b = require 'core.x', require 'core.x'; return {a == b, a.v, a.n}") ==
        "[true,4,true]");
  CHECK(test.lines == std::vector<std::string>{"core.x"});
  LuaTest other(test_options());
  CHECK(other.run("require 'core.y'").message.find("no module 'core.y'") != std::string::npos);
}

TEST_CASE("a plain Lua error of the main task keeps its text and a traceback") {
  LuaTest test(test_options());
  Outcome outcome = test.run(
      "\nlocal function f() local x; return x.y end\nlocal t = "
      "task.spawn('a', f); task.join(t)");
  CHECK(outcome.kind.empty());
  CHECK(outcome.message.find("test.lua:2: attempt to index a nil value") == 0);
  CHECK(outcome.traceback.find("test.lua:2") != std::string::npos);
}

TEST_CASE("memory over the limit is an error of Lua, not the end of the process") {
  HostOptions options = test_options();
  options.memory = 8 << 20;
  LuaTest test(options);
  CHECK(test.value("local ok, why = pcall(string.rep, 'x', 1 << 30); local ok2 = pcall(function() "
                   "local t = {} for i = 1, 1e8 do t[i] = i end end); return {ok, why, ok2}") ==
        R"([false,"not enough memory",false])");
}
