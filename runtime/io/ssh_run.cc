// Scripts on hosts, by either way.
#include <algorithm>
#include <memory>

#include "io/process.h"
#include "io/ssh_ways.h"
#include "loop/await.h"

namespace choline {
namespace {

constexpr int kSshFailed = 255;  // how the program ends when it is not the command that failed
constexpr size_t kMostOutput = size_t{1} << 20;

// What a stream says to a script's reader; shared with its handlers.
struct Talk {
  explicit Talk(Loop& loop) : changed(loop) {}
  std::string heard;
  bool ended = false;
  Event changed;
};

Co<Result<RunResult>> talk(Loop& loop, Ssh2Stream& stream, std::string script) {
  auto talk = std::make_shared<Talk>(loop);
  Ssh2Stream::Handlers handlers;
  handlers.bytes = [talk](std::string_view bytes) {
    talk->heard.append(bytes.substr(0, kMostOutput - std::min(kMostOutput, talk->heard.size())));
  };
  handlers.writable = [talk] { talk->changed.set(); };
  handlers.ended = [talk] {
    talk->ended = true;
    talk->changed.set();
  };
  stream.listen(std::move(handlers));
  std::string_view rest(script);
  while (!talk->ended) {
    talk->changed.clear();
    if (!rest.empty()) {
      rest.remove_prefix(stream.write(rest));
      if (rest.empty()) stream.end_input();
    }
    Event::Waiter waiter(talk->changed);
    co_await waiter;
  }
  stream.listen({});
  if (stream.end().broken) co_return *stream.end().broken;
  RunResult result;
  result.status.code = stream.end().code;
  result.out = std::move(talk->heard);
  result.err = stream.end().complaint;
  co_return result;
}

}  // namespace

Co<Result<std::string>> Ssh::run_now(SshTarget target, std::string script) {
  Result<Way> way = co_await open(target, "exec /bin/sh -s");
  if (!way) co_return way.error();
  Result<RunResult> ran = RunResult();
  if (way->stream) {
    ran = co_await talk(loop_, *way->stream, std::move(script));
    if (ran) give_back(target, std::move(way->stream));
  } else {
    RunOptions options;
    options.spawn.argv = std::move(way->program.argv);
    for (auto& [name, value] : way->program.env) options.spawn.extra_env[name] = value;
    options.spawn.in = Stdio::pipe;
    options.input = std::move(script);
    options.grace = 1;
    ran = co_await run_process(loop_, std::move(options));
    if (ran && ran->status.code == kSshFailed) co_return explain(target, ran->err);
  }
  if (!ran && ran.error().kind == ErrorKind::lost) {
    co_return Error(ErrorKind::transient, ran.error().message, {{"host", to_text(target)}});
  }
  if (!ran) co_return ran.error();
  if (ran->status.code != 0) {
    std::string why = last_line(ran->err.empty() ? ran->out : ran->err);
    co_return Error(ErrorKind::transient,
                    "the shell of " + to_text(target) + " ended with " +
                        std::to_string(ran->status.code) + (why.empty() ? "" : ": " + why),
                    {{"host", to_text(target)}});
  }
  co_return std::move(ran->out);
}

Co<Result<std::string>> Ssh::run(SshTarget target, std::string script, double timeout) {
  const std::string host = to_text(target);
  using Ran = Result<std::string>;
  WithTimeout<Ran> running(loop_, timeout, run_now(std::move(target), std::move(script)));
  std::optional<Ran> ran = co_await running;
  if (ran) co_return std::move(*ran);
  co_return Error(
      ErrorKind::transient,
      "ssh to " + host + " gave no answer for " + std::to_string(static_cast<int>(timeout)) + " s",
      {{"host", host}});
}

}  // namespace choline
