#include "durable/commands.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "base/digest.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/text.h"
#include "durable/commands_log.h"
#include "loop/await.h"
#include "store/crash.h"

namespace choline {
namespace {

// A name that is safe as one part of a path on any side, and stays different for different keys.
std::string safe_name(const std::string& text) {
  std::string name;
  for (char c : text) {
    bool safe = std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
    name += safe ? c : '-';
  }
  if (name == text && name.size() <= 100 && !name.empty() && name[0] != '.') return name;
  return "k" + name.substr(0, 80) + "-" + sha256_hex(text).substr(0, 10);
}

// The agent knows commands of all runs by one space of names.
std::string agent_key(const std::string& run, const std::string& key) {
  return safe_name(run.empty() || key.starts_with(run + ".") ? key : run + "." + key);
}

std::string text_of(const Json& fields, const char* key) {
  return fields.is_object() && fields.contains(key) && fields[key].is_string()
             ? fields[key].get<std::string>()
             : std::string();
}

Json value_of(const Json& fields, const char* key) {
  return fields.is_object() && fields.contains(key) ? fields[key] : Json(nullptr);
}

// <state>/runs/<run>/logs/<key without the run>.log
std::string log_path(Instances& instances, const ProcRow& row) {
  std::string name =
      row.key.starts_with(row.run + ".") ? row.key.substr(row.run.size() + 1) : row.key;
  return instances.store().run_folder(row.run) + "/logs/" + safe_name(name) + ".log";
}

// Commands belong to the run of their instance, whichever process asks.
Result<std::string> run_of(Instances& instances, const std::string& tag) {
  Result<std::optional<ResourceRow>> row = find_resource(instances.store().db(), tag);
  if (!row) return row.error();
  if (!*row) return Error(ErrorKind::not_found, "there is no instance " + choline::quoted(tag));
  return (*row)->run;
}

Result<ProcRow> command_row(Instances& instances, const std::string& run, const std::string& key) {
  Result<std::optional<ProcRow>> found = find_proc(instances.store().db(), run, key);
  if (!found) return found.error();
  if (!*found) return Error(ErrorKind::not_found, "there is no command " + choline::quoted(key));
  return std::move(**found);
}

Co<Result<ProcRow>> begin_row(Instances& instances, std::string tag, Json fields,
                              StepContext context) {
  std::string key = text_of(fields, "key");
  Result<std::string> run = run_of(instances, tag);
  if (!run) co_return run.error();
  Result<std::optional<ProcRow>> found = find_proc(instances.store().db(), *run, key);
  if (!found) co_return found.error();
  if (*found) co_return std::move(**found);
  ProcRow row;
  row.run = *run;
  row.key = key;
  row.tag = tag;
  row.task = text_of(fields, "task");
  Json attempt = value_of(fields, "attempt");
  row.attempt = attempt.is_number() ? static_cast<int>(attempt.get<double>()) : 1;
  row.cmd = {{"command", value_of(fields, "command")},
             {"dir", text_of(fields, "dir")},
             {"env", value_of(fields, "env")},
             {"metrics", value_of(fields, "metrics")}};
  row.log = log_path(instances, row);
  Change change = fenced(context, [row](Txn& txn) { return insert_proc(txn, row); });
  Status written = co_await instances.store().commit(std::move(change));
  if (!written) co_return written.error();
  co_return row;
}

// Ends when the instance is no more, or the log can no longer be written here.
Co<Error> watch_over(Instances& instances, std::string tag, const CommandLog& log) {
  double every = instances.poll(tag);
  double next_look = instances.loop().ticks() + every;
  for (;;) {
    Sleep pause(instances.loop(), std::min(1.0, every));
    co_await pause;
    if (log.fault()) co_return *log.fault();
    if (instances.loop().ticks() < next_look) continue;
    next_look = instances.loop().ticks() + every;
    Status stands = co_await instances.standing(tag);
    if (!stands) co_return stands.error();
  }
}

struct Followed {
  std::optional<Result<CommandStatus>> status;  // of the agent, or why the link broke
  std::optional<Error> gone;                    // found by watching
};

Co<Followed> follow(Instances& instances, std::string tag, Instances::Client agent, std::string key,
                    CommandLog& log) {
  Followed followed;
  Event over(instances.loop());
  std::function<void(std::string_view, uint64_t)> take =
      [&log](std::string_view bytes, uint64_t offset) { log.append(bytes, offset); };
  std::function<void(Result<CommandStatus>)> ended = [&](Result<CommandStatus> status) {
    followed.status.emplace(std::move(status));
    over.set();
  };
  std::function<void(Error)> gone = [&](Error error) {
    followed.gone.emplace(std::move(error));
    over.set();
  };
  Started following(agent->follow(key, log.wanted(), std::move(take)), std::move(ended));
  Started watching(watch_over(instances, tag, log), std::move(gone));
  Event::Waiter waiter(over);
  co_await waiter;
  co_return followed;
}

Result<std::unique_ptr<CommandLog>> open_log(Instances& instances, const ProcRow& row,
                                             const StepContext& context) {
  Result<std::vector<MetricSpec>> specs = metric_specs(value_of(row.cmd, "metrics"));
  if (!specs) return specs.error();
  Result<MetricTaker> taker = MetricTaker::make(std::move(*specs));
  if (!taker) return taker.error();
  // A secret that is no longer set cannot be masked, and is no reason to leave the log where it is.
  Result<SecretSource::Environment> env = instances.secrets().environment(value_of(row.cmd, "env"));
  CommandLog::Options options{row, context, std::move(*taker), {}};
  if (env) {
    options.secrets = std::move(env->secrets);
  } else {
    log_warning("log of " + row.key + ": " + env.error().message);
  }
  return CommandLog::open(instances.loop(), instances.store(), instances.hearing(),
                          std::move(options));
}

std::string own_end_words(const std::string& why) {
  if (why == "lease")
    return "heard nothing from choline for the time of its lease, and ended itself";
  return "ended itself, as its " + why + " was over";
}

// Only what the agent says of a finished command is an end; all else is a loss or is tried again.
Co<Result<CommandStatus>> follow_to_end(Instances& instances, const ProcRow& row, CommandLog& log) {
  std::string key = agent_key(row.run, row.key);
  for (;;) {
    Result<Instances::Client> agent = co_await instances.reach(row.tag);
    if (!agent) co_return agent.error();
    log.set_linked(true);
    Followed followed = co_await follow(instances, row.tag, *agent, key, log);
    log.set_linked(false);
    if (followed.gone) co_return *followed.gone;
    if (log.fault()) co_return *log.fault();
    Result<CommandStatus>& status = *followed.status;
    if (status) {
      bool its_own = status->ending.empty() || status->code == 0;
      if (status->state == CommandState::finished && its_own) co_return *status;
      if (!its_own) {
        Json fields = {{"tag", row.tag}, {"ending", status->ending}};
        co_return Error(ErrorKind::lost,
                        "instance " + row.tag + " " + own_end_words(status->ending) + "; command " +
                            row.key + " ended with it",
                        std::move(fields));
      }
      std::string why =
          status->state == CommandState::unknown ? " is unknown on " : " vanished from ";
      co_return Error(ErrorKind::lost, "command " + row.key + why + "instance " + row.tag);
    }
    Error broken = status.error();
    Status stands = co_await instances.standing(row.tag);
    if (!stands) co_return stands.error();
    if ((*agent)->alive() && broken.kind != ErrorKind::lost) co_return broken;
    Sleep pause(instances.loop(), 0.2);
    co_await pause;
  }
}

int signal_number(const Json& signal) {
  constexpr std::array<std::pair<const char*, int>, 9> kNames = {{{"TERM", SIGTERM},
                                                                  {"KILL", SIGKILL},
                                                                  {"INT", SIGINT},
                                                                  {"HUP", SIGHUP},
                                                                  {"USR1", SIGUSR1},
                                                                  {"USR2", SIGUSR2},
                                                                  {"QUIT", SIGQUIT},
                                                                  {"STOP", SIGSTOP},
                                                                  {"CONT", SIGCONT}}};
  if (signal.is_number()) return static_cast<int>(signal.get<double>());
  if (!signal.is_string()) return signal.is_null() ? SIGTERM : -1;
  std::string name = signal.get<std::string>();
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (const auto& [known, number] : kNames) {
    if (name == known) return number;
  }
  return -1;
}

}  // namespace

Result<AgentCommand> agent_command(const Json& command) {
  AgentCommand result;
  Json shell = value_of(command, "shell");
  Json list = value_of(command, "list");
  if (shell.is_string() && list.is_null()) {
    result.shell = shell.get<std::string>();
    return result;
  }
  bool words = list.is_array() && !list.empty() && shell.is_null();
  for (const Json& word : words ? list : Json::array()) {
    if (word.is_string()) {
      result.list.push_back(word.get<std::string>());
    } else if (word.is_number()) {
      result.list.push_back(to_text(word));
    } else {
      words = false;
    }
  }
  if (words) return result;
  return Error(ErrorKind::invalid, "command: expected { shell = \"…\" } or { list = { \"…\" } }");
}

Co<Result<Json>> start_command(Instances& instances, std::string tag, Json fields,
                               StepContext context) {
  std::string key = text_of(fields, "key");
  if (key.empty()) co_return Error(ErrorKind::invalid, "native.instance.start: key is missing");
  Result<AgentCommand> command = agent_command(value_of(fields, "command"));
  if (!command) co_return command.error();
  Result<SecretSource::Environment> env = instances.secrets().environment(value_of(fields, "env"));
  if (!env) co_return env.error();
  Result<ProcRow> begun = co_await begin_row(instances, tag, fields, context);
  if (!begun) co_return begun.error();
  ProcRow row = std::move(*begun);
  StartRequest request;
  request.key = agent_key(row.run, key);
  if (mutant("no-keyed-start") && context.resumed) request.key += "-again";
  request.command = std::move(*command);
  request.dir = text_of(fields, "dir");
  request.env = std::move(env->values);
  request.info = {{"run", row.run}, {"task", row.task}, {"attempt", row.attempt}, {"key", key}};
  for (;;) {
    Result<Instances::Client> agent = co_await instances.reach(tag);
    if (!agent) co_return agent.error();
    Result<StartResult> started = co_await (*agent)->start(request);
    crash_point("agent.start");
    if (started) {
      row.state = "running";
      row.started = instances.loop().wall();
      row.facts = {{"pid", started->pid}};
      if (!started->already) {
        context.with_result([row](Txn& txn) { return update_proc(txn, row); });
      }
      co_return Json{{"key", key}, {"already", started->already}};
    }
    // The key makes it safe to ask again over a new link.
    if (started.error().kind != ErrorKind::lost || is_ending(started.error())) {
      co_return started.error();
    }
    Sleep pause(instances.loop(), 0.2);
    co_await pause;
  }
}

Co<Result<Json>> wait_command(Instances& instances, std::string tag, std::string key,
                              StepContext context) {
  Result<std::string> run = run_of(instances, tag);
  if (!run) co_return run.error();
  Result<ProcRow> found = command_row(instances, *run, key);
  if (!found) co_return found.error();
  ProcRow row = std::move(*found);
  if (row.tag != tag) {
    co_return Error(ErrorKind::invalid,
                    "command " + choline::quoted(key) + " runs on " + row.tag + ", not on " + tag);
  }
  Result<std::unique_ptr<CommandLog>> log = open_log(instances, row, context);
  if (!log) co_return log.error();
  Result<CommandStatus> status = co_await follow_to_end(instances, row, **log);
  Status kept = co_await (*log)->finish();
  if (status && !kept) co_return kept.error();
  row.ended = instances.loop().wall();
  row.state = status ? "done" : "lost";
  if (status) {
    row.code = status->code;
    row.signal = status->signal;
    Json facts = row.facts.is_object() ? row.facts : Json::object();
    facts["seconds"] = status->seconds;
    facts["oom"] = status->oom;
    row.facts = std::move(facts);
    if (!row.started) row.started = *row.ended - status->seconds;
  }
  Change rows = (*log)->rows();
  context.with_result([row, rows = std::move(rows)](Txn& txn) {
    Status put = rows(txn);
    if (!put) return put;
    return update_proc(txn, row);
  });
  if (!status) co_return status.error();
  co_return Json{{"code", status->code},
                 {"signal", status->signal},
                 {"seconds", status->seconds},
                 {"oom", status->oom},
                 {"metrics", (*log)->metrics()}};
}

Co<Result<Json>> exec_command(Instances& instances, std::string tag, Json command, Json options,
                              StepContext context) {
  if (context.resumed && text_of(options, "interrupted") == "fail") {
    co_return Error(ErrorKind::crashed,
                    "the command was interrupted by a crash of choline; whether it ran is unknown");
  }
  Result<AgentCommand> read = agent_command(command);
  if (!read) co_return read.error();
  Result<SecretSource::Environment> env = instances.secrets().environment(value_of(options, "env"));
  if (!env) co_return env.error();
  ExecRequest request;
  request.command = std::move(*read);
  request.dir = text_of(options, "dir");
  request.env = std::move(env->values);
  request.input = text_of(options, "input");
  Json timeout = value_of(options, "timeout");
  if (timeout.is_number()) request.timeout = timeout.get<double>();
  Result<Instances::Client> agent = co_await instances.reach(tag);
  if (!agent) co_return agent.error();
  Result<ExecResult> result = co_await (*agent)->exec(std::move(request));
  crash_point("agent.exec");
  if (!result) {
    Status stands = co_await instances.standing(tag);
    if (!stands) co_return stands.error();
    co_return result.error();
  }
  if (result->timed_out) {
    co_return Error(ErrorKind::timeout, "the command took longer than " + to_text(timeout) + " s",
                    {{"out", result->out}, {"err", result->err}});
  }
  Masker masker(env->secrets);
  std::string out = masker.feed(result->out);
  out += masker.finish();
  Masker second(env->secrets);
  std::string err = second.feed(result->err);
  err += second.finish();
  co_return Json{{"code", result->code}, {"out", std::move(out)}, {"err", std::move(err)}};
}

Co<Status> signal_command(Instances& instances, std::string tag, std::string key, Json signal) {
  Result<std::string> run = run_of(instances, tag);
  if (!run) co_return run.error();
  int number = signal_number(signal);
  if (number <= 0 || number > 64) {
    co_return Error(ErrorKind::invalid,
                    "unknown signal " + to_text(signal) + "; TERM, INT, KILL, … are known");
  }
  for (;;) {
    Result<Instances::Client> agent = co_await instances.reach(tag);
    if (!agent) co_return agent.error();
    Status sent = co_await (*agent)->signal(agent_key(*run, key), number);
    crash_point("agent.signal");
    if (sent || sent.error().kind == ErrorKind::not_found) co_return done();
    if (sent.error().kind != ErrorKind::lost) co_return sent;
    Sleep pause(instances.loop(), 0.2);
    co_await pause;
  }
}

}  // namespace choline
