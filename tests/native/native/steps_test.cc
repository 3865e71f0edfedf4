// The native table as the stdlib meets it: what a run journals, what it does not, and replay.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "durable/owned_run.h"
#include "loop/sim_loop.h"
#include "lua/host.h"
#include "native/module.h"
#include "native/services.h"

using namespace choline;
namespace fs = std::filesystem;

namespace {

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "choline-native-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// One process: its own loop, services and Lua over the same state folder.
Outcome process(const Folder& folder, const std::string& text,
                const std::vector<std::string>& argv = {},
                const std::function<void(SimLoop&)>& meanwhile = nullptr) {
  SimLoop loop;
  if (meanwhile) meanwhile(loop);
  Folders folders;
  folders.state = folder.path() + "/state";
  folders.config = folder.path() + "/config";
  folders.cache = folder.path() + "/cache";
  folders.agent = "/nonexistent/choline-agent";
  Services services(loop, folders);
  Host host(loop, HostOptions{.runaway = 0});
  add_native_modules(host, services);
  std::optional<Outcome> outcome;
  host.start_text("local native, argv = ...; " + text, "@test.lua", argv, [&](Outcome ended) {
    outcome = std::move(ended);
    loop.stop();
  });
  loop.run();
  if (outcome) return *outcome;
  Outcome stuck;
  stuck.message = "the main task never ended";
  return stuck;
}

std::string value(const Outcome& outcome) {
  CHECK_MESSAGE(outcome.ok, outcome.message, " ", outcome.traceback);
  return to_text(outcome.value);
}

constexpr const char* kCreate =
    "return native.run.create{name = 'test', params = {}, env = {}, sources = {}, seed = 7}";

constexpr const char* kBody = R"(
  native.run.own(argv[1])
  local out = {}
  local watch = native.task.spawn('watch', function() while true do native.wait.sleep(0.5) end end,
                                  {outside = true})
  local a = native.task.spawn('a', function()
    native.wait.sleep(2) out[#out + 1] = 'a' .. native.random.integer(1, 1000000)
    native.wait.sleep(1, 'named') out[#out + 1] = 'a ends' end)
  local b = native.task.spawn('b', function() native.wait.sleep(1) out[#out + 1] = 'b'
    native.wait.sleep(5) out[#out + 1] = 'b ends' end)
  native.task.join(a) native.task.join(b)
  out[#out + 1] = native.clock.now()
  native.task.cancel(watch)
  return out)";

}  // namespace

TEST_CASE("waits of durable tasks are steps, those of outside tasks are not") {
  Folder folder;
  Outcome made = process(folder, kCreate);
  REQUIRE_MESSAGE(made.ok, made.message);
  std::string run = made.value.get<std::string>();
  value(process(folder, kBody, {run}));
  CHECK(
      value(process(folder,
                    "local keys = {} for i, s in ipairs(native.store.steps(argv[1])) do "
                    "keys[i] = s.key .. ' ' .. s.state end table.sort(keys) return keys",
                    {run})) ==
      R"(["main.a/named ok","main.a/wait.sleep#0 ok","main.b/wait.sleep#0 ok","main.b/wait.sleep#1 ok"])");
}

TEST_CASE("a replay gives the same order, numbers and times") {
  Folder folder;
  std::string run = process(folder, kCreate).value.get<std::string>();
  std::string first = value(process(folder, kBody, {run}));
  CHECK(first.find("\"b\",\"a") != std::string::npos);
  CHECK(value(process(folder, kBody, {run})) == first);
}

TEST_CASE("a replay that asks for something else is a divergence that user code cannot catch") {
  Folder folder;
  std::string run = process(folder, kCreate).value.get<std::string>();
  value(process(folder, "native.run.own(argv[1]) native.wait.sleep(1)", {run}));
  Outcome other =
      process(folder,
              "native.run.own(argv[1]) local env = native.chunk.sandbox() env.sleep = "
              "native.wait.sleep native.chunk.load('pcall(sleep, 2)', 'x', env)() return 'on'",
              {run});
  CHECK_FALSE(other.ok);
  CHECK(other.kind == "divergence");
}

TEST_CASE("a wait till an instant follows the wall clock wherever it is set") {
  Folder folder;
  std::string run = process(folder, kCreate).value.get<std::string>();
  const char* body = R"(
    native.run.own(argv[1])
    local began, ticks = native.clock.wall(), native.clock.ticks()
    native.wait.till(1800010000, 'ten thousand')
    return {native.clock.wall() >= 1800010000, native.clock.ticks() - ticks})";
  auto set_forward = [](SimLoop& loop) {
    loop.timer(5, [&loop] { loop.jump_wall(-3600); });
    loop.timer(10, [&loop] { loop.jump_wall(20000); });
  };
  CHECK(value(process(folder, body, {run}, set_forward)) == "[true,10.0]");
  CHECK(value(process(folder,
                      "local s = native.store.steps(argv[1])[1] return {s.key, s.args, s.state}",
                      {run})) == R"(["main/ten thousand",[1800010000,"ten thousand"],"ok"])");
}

TEST_CASE("a wait till an instant counts a suspend, and one that is past is over") {
  Folder folder;
  std::string run = process(folder, kCreate).value.get<std::string>();
  const char* body = R"(
    native.run.own(argv[1])
    local ticks = native.clock.ticks()
    native.wait.till(native.clock.wall() + 7200)
    local slept = native.clock.ticks() - ticks
    native.wait.till(5)
    return {slept, native.clock.ticks() - ticks - slept})";
  auto sleeps = [](SimLoop& loop) { loop.timer(10, [&loop] { loop.suspend(9000); }); };
  CHECK(value(process(folder, body, {run}, sleeps)) == "[9010.0,0.0]");
}

TEST_CASE("a run that is made again for the same parent is the same run") {
  Folder folder;
  CHECK(value(process(folder, R"(
    local function make(parent)
      return native.run.create{name = 'n', params = {}, env = {}, sources = {}, parent = parent}
    end
    local first, again, other = make('r/nightly/1'), make('r/nightly/1'), make('r/nightly/2')
    return {first == again, first == other, make() == make(), #native.store.runs(),
            native.store.find(first).parent})")) == R"([true,false,false,4,"r/nightly/1"])");
}

TEST_CASE("plain services work on real files and programs") {
  Folder folder;
  Outcome outcome = process(folder, R"(
    local path = argv[1] .. '/a/b'
    native.fs.make_folder(path)
    native.fs.write(path .. '/f', 'hello', 384)
    local s = native.fs.stat(path .. '/f')
    local missing = native.fs.stat(path .. '/none')
    local ok, f = pcall(native.fs.read, path .. '/none')
    local names = native.fs.list(path)
    local part = native.fs.read_at(path .. '/f', 1, 3) .. native.fs.read_at(path .. '/f', 99, 3)
    local r = native.sys.run({'sh', '-c', 'cat; echo $X >&2; exit 3'}, {input = 'in', env = {X = 'y'}})
    native.fs.remove(argv[1] .. '/a')
    return {s.kind, s.size, s.mode, missing == nil, f.kind, names, part, r.code, r.out, r.err,
            native.fs.stat(path) == nil}
  )",
                            {folder.path()});
  CHECK(value(outcome) == R"(["file",5,384,true,"not_found",["f"],"ell",3,"in","y\n",true])");
}

TEST_CASE("json keeps nulls, marks and numbers through decode and encode") {
  Folder folder;
  CHECK(value(process(folder, R"(
    local j = native.json
    local text = '{"a":[],"b":null,"c":[1,2.0,null],"d":{}}'
    return {j.encode(j.decode(text)) == text, j.encode({a = {1}, b = j.array {}}, true)})")) ==
        R"([true,"{\n  \"a\": [\n    1\n  ],\n  \"b\": []\n}"])");
}

TEST_CASE("a text's width counts columns, not bytes or escapes") {
  Folder folder;
  CHECK(value(process(folder,
                      "local w = native.text.width return {w 'abc', w 'äö', w '日本', w "
                      "'\\27[1mx\\27[0m', w 'e\\u{301}'}")) == "[3,2,4,1,1]");
}

TEST_CASE("a wrong argument is refused by name") {
  Folder folder;
  Outcome outcome = process(folder, "native.fs.read(5)");
  CHECK(outcome.message ==
        "test.lua:1: native.fs.read: argument 1: expected a string, got a number");
}
