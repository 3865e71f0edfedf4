#include "harness.h"

#include "base/error.h"

namespace choline {

namespace {

struct Counted {
  explicit Counted(int& count) : count_(count) { ++count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --count_; }
  int& count_;
};

Co<Result<Json>> sleep(LuaTest& test, Json args) {
  Counted alive(test.sleeping);
  co_await Sleep(test.loop, args[0].get<double>());
  co_return Json("slept");
}

Co<Result<Json>> at_once(Json args) {
  co_return args.empty() ? Json() : args[0];
}

Co<Result<Json>> later(LuaTest& test, Json args) {
  co_await Sleep(test.loop, 0.25);
  co_return args.empty() ? Json() : args[0];
}

Co<Result<Json>> fail(LuaTest& test, Json args) {
  if (args.size() > 2 && args[2] == true) co_await Sleep(test.loop, 0.25);
  co_return Error(error_kind(args[0].get<std::string>()).value_or(ErrorKind::invalid),
                  args[1].get<std::string>(), Json{{"code", 7}});
}

Co<Result<Json>> throws(LuaTest& test, Json) {
  co_await Sleep(test.loop, 0.25);
  throw std::runtime_error("a broken promise");
}

}  // namespace

HostOptions test_options() {
  HostOptions options = HostOptions::from_environment();
  options.runaway = 0;
  return options;
}

LuaTest::LuaTest(HostOptions options) : host(loop, options) {
  add_natives();
}

void LuaTest::add_natives() {
  auto wait = [&](const char* name, std::function<Co<Result<Json>>(Json)> fn) {
    Binding binding;
    binding.name = name;
    binding.wait = std::move(fn);
    host.add("test", std::move(binding));
  };
  auto call = [&](const char* name, std::function<Result<Json>(const Json&)> fn) {
    Binding binding;
    binding.name = name;
    binding.call = std::move(fn);
    host.add("test", std::move(binding));
  };
  wait("sleep", [this](Json args) { return sleep(*this, std::move(args)); });
  wait("at_once", [](Json args) { return at_once(std::move(args)); });
  wait("later", [this](Json args) { return later(*this, std::move(args)); });
  wait("fail", [this](Json args) { return fail(*this, std::move(args)); });
  wait("throws", [this](Json args) { return throws(*this, std::move(args)); });
  call("echo", [](const Json& args) -> Result<Json> { return args; });
  call("refuse", [](const Json&) -> Result<Json> { return Error(ErrorKind::refused, "no"); });
  call("log", [this](const Json& args) -> Result<Json> {
    lines.push_back(args[0].is_string() ? args[0].get<std::string>() : to_text(args[0]));
    return Json();
  });
  host.find_source = [this](std::string_view path) -> std::optional<std::string> {
    auto found = files.find(std::string(path));
    if (found == files.end()) return std::nullopt;
    return found->second;
  };
}

Outcome LuaTest::run(const std::string& text) {
  std::optional<Outcome> outcome;
  host.start_text(
      "local native, argv, modules = ...; local test, task = native.test, native.task; " + text,
      "@test.lua", {"one", "two"}, [&](Outcome ended) {
        outcome = std::move(ended);
        loop.stop();
      });
  loop.run();
  if (!outcome) {
    Outcome stuck;
    stuck.message = "the main task never ended";
    return stuck;
  }
  return *outcome;
}

std::string LuaTest::value(const std::string& text) {
  Outcome outcome = run(text);
  CHECK_MESSAGE(outcome.ok, outcome.message, " ", outcome.traceback);
  return to_text(outcome.value);
}

}  // namespace choline
