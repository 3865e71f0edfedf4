// The sandbox: each hole closed, and what must be the same in every run.
#include "harness.h"

using namespace choline;

namespace {

// Runs `text` in a sandbox and gives its value.
std::string in_sandbox(const std::string& text, HostOptions options = test_options()) {
  LuaTest test(options);
  return test.value(
      "local env = native.chunk.sandbox(); env.later = test.later; local f, why = "
      "native.chunk.load([==[" +
      text + "]==], 'Cholfile.lua', env); if not f then return why end return f()");
}

}  // namespace

TEST_CASE("what reaches out of the sandbox is not there") {
  CHECK(
      in_sandbox("local out = {} for _, name in ipairs{'os', 'io', 'debug', 'package', 'require', "
                 "'collectgarbage', 'dofile', 'loadfile', 'native', 'print'} do "
                 "if _G[name] ~= nil then out[#out+1] = name end end "
                 "return {#out, string.dump == nil, ('x').dump == nil}") == "[0,true,true]");
}

TEST_CASE("load sees the sandbox's globals only, and text only") {
  CHECK(in_sandbox(
            "x = 1; local a = load('return x, native, _G == ...')\n"
            "local v, n = a() local b, why = load('\\27Lua') local c = load('return y', 'n', 't', "
            "{y = 2})\n"
            "local parts, i = {'return ', '7'}, 0\n"
            "return {v, n == nil, b == nil, c(), load(function() i = i + 1 return parts[i] end)(), "
            "select('#', load('x', 'n', 'b'))}") == "[1,true,true,2,7,2]");
}

TEST_CASE("metatables of strings and failures cannot be reached") {
  CHECK(in_sandbox("local ok, f = pcall(later, function() end)\n"
                   "return {getmetatable('') == nil or getmetatable('') == false, getmetatable(f) "
                   "== nil, f.kind}") == R"([true,true,"invalid"])");
}

TEST_CASE("changing the string table changes no method of strings elsewhere") {
  CHECK(in_sandbox("string.upper = function() return 'mine' end\nreturn {('a'):upper(), "
                   "string.upper('a')}") == R"(["A","mine"])");
}

TEST_CASE("collector-driven metamethods are refused") {
  CHECK(in_sandbox("return {(pcall(setmetatable, {}, {__gc = function() end})), "
                   "(pcall(setmetatable, {}, {__mode = 'k'})), (pcall(setmetatable, {}, {__index = "
                   "{}}))}") == "[false,false,true]");
}

TEST_CASE("pairs goes numbers ascending, strings bytewise, booleans, and refuses other keys") {
  CHECK(in_sandbox("local out = {} for k in pairs({b=1, a=1, B=1, [3]=1, [1]=1, [2.5]=1, [-1]=1, "
                   "[true]=1, [false]=1}) do "
                   "out[#out+1] = tostring(k) end local ok, why = pcall(pairs, {[{}] = 1})\n"
                   "return {table.concat(out, ' '), ok, next({}) == nil, (next({z=1, y=2})), "
                   "(pcall(next, {1}, 1))}") ==
        R"(["-1 1 2.5 3 B a b false true",false,true,"y",false])");
}

TEST_CASE("pairs honours __pairs and lets the loop take entries out") {
  CHECK(in_sandbox("local t = setmetatable({}, {__pairs = function() return function(_, k) if not "
                   "k then return 1, 2 end end end})\n"
                   "local out = {} for k, v in pairs(t) do out[#out+1] = k + v end\n"
                   "local u = {a=1, b=2, c=3} for k in pairs(u) do out[#out+1] = k; u.b = nil end "
                   "return out") == R"([3,"a","c"])");
}

TEST_CASE("sort is stable and may wait") {
  CHECK(in_sandbox("local t = {} for i = 1, 200 do t[i] = {i % 3, i} end table.sort(t, function(a, "
                   "b) return a[1] < b[1] end)\n"
                   "local good = true for i = 2, 200 do local a, b = t[i-1], t[i] if a[1] > b[1] "
                   "or a[1] == b[1] and a[2] > b[2] then good = false end end\n"
                   "local s = {'b', 'a'} table.sort(s) local n = {1, 3, 2} table.sort(n, "
                   "function(a, b) return a > b end)\n"
                   "return {good, s[1], n[1], n[3]}") == R"([true,"a",3,1])");
}

TEST_CASE("text never holds an address") {
  CHECK(in_sandbox(
            "return {tostring({}), tostring(type), tostring(coroutine.create(type)), ('%s "
            "%5s|%%s'):format({}, type), "
            "tostring(1.5), tostring(nil), tostring(setmetatable({}, {__tostring = function() "
            "return 'me' end})), "
            "tostring(setmetatable({}, {__name = 'thing'})), (pcall(string.format, '%p', {}))}") ==
        R"(["table","function","thread","table function|%s","1.5","nil","me","thing",false])");
}

TEST_CASE("random numbers follow from the run's seed and the task's path") {
  auto draw = [](uint64_t seed, const char* name) {
    LuaTest test(test_options());
    test.host.run_seed = [seed]() -> std::optional<uint64_t> { return seed; };
    return test.value(
        std::string("local env = native.chunk.sandbox() return {task.join(task.spawn('") + name +
        "', function() return {env.math.random(100), env.math.random(), env.math.random(-5, 5)} "
        "end))}");
  };
  CHECK(draw(1, "a") == draw(1, "a"));
  CHECK(draw(1, "a") != draw(2, "a"));
  CHECK(draw(1, "a") != draw(1, "b"));
  CHECK(in_sandbox("math.randomseed(7) local a = math.random(1 << 40) math.randomseed(7) return a "
                   "== math.random(1 << 40)") == "true");
}

TEST_CASE("a syntax error comes with its line and the true name") {
  LuaTest test(test_options());
  std::string name(80, 'd');
  CHECK(test.value("local f, why, line = native.chunk.load('x = 1\\ny = = 2', '" + name +
                   "/Cholfile.lua', {}); return {f == nil, why, line}") ==
        "[true,\"" + name + "/Cholfile.lua:2: unexpected symbol near '='\",2]");
}

TEST_CASE("user code cannot catch a divergence, the engine can") {
  LuaTest test(test_options());
  CHECK(test.value(R"(
    local env = native.chunk.sandbox()
    env.step = function() test.fail('divergence', 'other than before') end
    local user = native.chunk.load('pcall(step) return "went on"', 'Cholfile.lua', env)
    local ok, f = pcall(user)
    return {ok, f.kind})") == R"([false,"divergence"])");
}

TEST_CASE("a loop that never ends is stopped with its line, whatever tries to hold it") {
  for (const char* loop :
       {"while true do end", "repeat pcall(function() while true do end end) until false",
        "coroutine.wrap(function() while true do end end)()",
        "repeat coroutine.resume(coroutine.create(function() while true do end end)) until false",
        "local x <close> = setmetatable({}, {__close = function() while true do end end}) while "
        "true do end",
        "table.sort({3, 2, 1}, function() while true do end end)"}) {
    CAPTURE(loop);
    HostOptions options = test_options();
    options.runaway = 0.1;
    LuaTest test(options);
    Outcome outcome = test.run(
        std::string("local env = native.chunk.sandbox() local f = native.chunk.load([==[\n") +
        loop + "]==], 'Cholfile.lua', env) f()");
    CHECK_FALSE(outcome.ok);
    CHECK(outcome.message.find("Cholfile.lua:1: ran for 0.1 s") == 0);
    CHECK(outcome.message.find("without waiting and was stopped") != std::string::npos);
  }
}

TEST_CASE("after a runaway task the others go on") {
  HostOptions options = test_options();
  options.runaway = 0.1;
  LuaTest test(options);
  CHECK(test.value("local bad = task.spawn('bad', function() while true do end end); local good = "
                   "task.spawn('good', function() test.sleep(1) local n = 0 for i = 1, 1000 do n = "
                   "n + i end return n end)\n"
                   "return {(task.try(bad)), task.join(good)}") == "[false,500500]");
}

TEST_CASE("where names the user's file, not the stdlib's") {
  LuaTest test(test_options());
  test.files["dsl/words.lua"] =
      "local native = ...; return function() local f, l = native.chunk.where(1) return f .. ':' .. "
      "l end";
  CHECK(test.value("local env = native.chunk.sandbox() env.word = require 'dsl.words'\n"
                   "return native.chunk.load('local x = 1\\nlocal where = word()\\nreturn where', "
                   "'a/Cholfile.lua', env)()") == "\"a/Cholfile.lua:2\"");
}
