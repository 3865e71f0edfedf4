#include "link/agent_client.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "link/agent_session.h"

namespace choline {

namespace {

// An agent may lie about the type of a field too; each read says what it expected.
class Reader {
 public:
  explicit Reader(const Json& value) : value_(value) {}

  std::string text(const char* name) {
    const Json* field = find(name);
    if (field && field->is_string()) return field->get<std::string>();
    if (field) wrong(name, "a string");
    return {};
  }
  int64_t integer(const char* name, int64_t least, int64_t most) {
    const Json* field = find(name);
    if (!field) return std::clamp<int64_t>(0, least, most);
    if (field->is_number_integer()) {
      bool huge = field->is_number_unsigned() && field->get<uint64_t>() > INT64_MAX;
      int64_t value = huge ? INT64_MAX : field->get<int64_t>();
      if (value >= least && value <= most) return value;
    }
    wrong(name, "an integer in its range");
    return least;
  }
  double number(const char* name) {
    const Json* field = find(name);
    if (field && field->is_number()) return field->get<double>();
    if (field) wrong(name, "a number");
    return 0;
  }
  bool flag(const char* name) {
    const Json* field = find(name);
    if (field && field->is_boolean()) return field->get<bool>();
    if (field) wrong(name, "true or false");
    return false;
  }
  Json list(const char* name) {
    const Json* field = find(name);
    if (field && field->is_array()) return *field;
    if (field) wrong(name, "a list");
    return Json::array();
  }
  template <class T>
  Result<T> finish(T value) {
    if (problem_) return *problem_;
    return value;
  }
  std::optional<Error> problem() const { return problem_; }

 private:
  const Json* find(const char* name) {
    if (!value_.is_object()) {
      wrong(name, "an object around it");
      return nullptr;
    }
    auto found = value_.find(name);
    return found == value_.end() || found->is_null() ? nullptr : &*found;
  }
  void wrong(const char* name, const char* expected) {
    problem_ = Error(ErrorKind::refused, std::string("the agent's answer is malformed: ") + name +
                                             ": expected " + expected);
  }
  const Json& value_;
  std::optional<Error> problem_;
};

Result<CommandStatus> read_status(const Json& value) {
  Reader reader(value);
  CommandStatus status;
  std::string state = reader.text("state");
  if (state == "running") {
    status.state = CommandState::running;
  } else if (state == "finished") {
    status.state = CommandState::finished;
  } else if (state == "lost") {
    status.state = CommandState::lost;
  } else if (state != "unknown") {
    return Error(ErrorKind::refused,
                 "the agent tells an unknown state of a command: " + choline::quoted(state));
  }
  status.code = static_cast<int>(reader.integer("code", 0, 255));
  status.signal = static_cast<int>(reader.integer("signal", 0, 127));
  status.oom = reader.flag("oom");
  status.started = reader.number("started");
  status.seconds = reader.number("seconds");
  status.ending = reader.text("ending");
  status.log_size = static_cast<uint64_t>(reader.integer("log_size", 0, INT64_MAX));
  return reader.finish(std::move(status));
}

}  // namespace

Json to_json(const AgentCommand& command) {
  if (command.list.empty()) return Json{{"shell", command.shell}};
  return Json{{"list", command.list}};
}

Json to_json(const AgentFacts& facts) {
  Json gpus = Json::array();
  for (const AgentFacts::Gpu& gpu : facts.gpus) {
    gpus.push_back({{"name", gpu.name}, {"memory", gpu.memory}, {"driver", gpu.driver}});
  }
  return Json{{"home", facts.home},     {"root", facts.root},         {"jail", facts.jail},
              {"os", facts.os},         {"arch", facts.arch},         {"kernel", facts.kernel},
              {"agent", facts.agent},   {"hostname", facts.hostname}, {"user", facts.user},
              {"cpus", facts.cpus},     {"memory", facts.memory},     {"disk", facts.disk},
              {"gpus", std::move(gpus)}};
}

Co<Result<std::unique_ptr<AgentClient>>> AgentClient::open(Loop& loop, std::unique_ptr<Link> link,
                                                           ClientOptions options) {
  auto session = std::make_shared<AgentSession>(loop, std::move(link), options);
  auto client = std::make_unique<AgentClient>(session);
  session->start();
  while (session->alive() && !session->greeted()) {
    session->changed().clear();
    co_await session->changed().wait();
  }
  if (!session->alive()) co_return session->death();
  co_return std::move(client);
}

AgentClient::AgentClient(std::shared_ptr<AgentSession> session) : session_(std::move(session)) {}
AgentClient::~AgentClient() {
  session_->close();
}

bool AgentClient::alive() const {
  return session_->alive();
}
Error AgentClient::death() const {
  return session_->death();
}
void AgentClient::close() {
  session_->close();
}
const Json& AgentClient::hello() const {
  return session_->hello();
}

void AgentClient::on_death(std::function<void(Error)> fn) {
  if (session_->alive()) {
    session_->on_death = std::move(fn);
    return;
  }
  session_->loop().post([fn = std::move(fn), why = session_->death()] { fn(why); });
}

std::string AgentClient::true_path(const std::string& path) const {
  Reader hello(session_->hello());
  std::string root = hello.text("root");
  bool jail = hello.flag("jail");
  if (path.empty() || path == "~") return root;
  if (path[0] == '/' && !jail) return path;
  std::string_view rest(path);
  if (rest.starts_with("~/")) rest.remove_prefix(2);
  if (!jail) return root + "/" + std::string(rest);
  std::vector<std::string> kept;  // ".." stops at the root of the jail
  for (std::string& part : split(rest, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      kept.push_back(std::move(part));
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  return kept.empty() ? root : root + "/" + join(kept, "/");
}

Result<std::unique_ptr<AgentChannel>> AgentClient::open_channel(std::string verb, Json args,
                                                                uint32_t window) {
  if (!args.is_object()) args = Json::object();
  args["verb"] = std::move(verb);
  Result<std::shared_ptr<AgentChannel::State>> state =
      session_->open(std::move(args), std::min(window, static_cast<uint32_t>(kMaxCredit)));
  if (!state) return state.error();
  return std::make_unique<AgentChannel>(session_, std::move(*state));
}

Co<Result<Json>> AgentClient::call(std::string verb, Json args) {
  Result<std::unique_ptr<AgentChannel>> channel = open_channel(std::move(verb), std::move(args));
  if (!channel) co_return channel.error();
  Result<Json> answer = co_await (*channel)->answer();
  co_return answer;
}

Co<Result<AgentFacts>> AgentClient::facts() {
  Result<Json> answer = co_await call("facts", Json::object());
  if (!answer) co_return answer.error();
  Reader reader(*answer);
  AgentFacts facts;
  facts.home = reader.text("home");
  facts.root = reader.text("root");
  facts.os = reader.text("os");
  facts.arch = reader.text("arch");
  facts.kernel = reader.text("kernel");
  facts.hostname = reader.text("hostname");
  facts.user = reader.text("user");
  facts.agent = reader.text("agent");
  facts.jail = reader.flag("jail");
  facts.cpus = static_cast<int>(reader.integer("cpus", 0, 1 << 20));
  facts.memory = reader.integer("memory", 0, INT64_MAX);
  facts.disk = reader.integer("disk", 0, INT64_MAX);
  const Json gpus = reader.list("gpus");
  for (const Json& entry : gpus) {
    Reader gpu(entry);
    facts.gpus.push_back(
        {gpu.text("name"), gpu.text("driver"), gpu.integer("memory", 0, INT64_MAX)});
    if (gpu.problem()) co_return *gpu.problem();
  }
  co_return reader.finish(std::move(facts));
}

Co<Result<std::optional<double>>> AgentClient::renew(LeaseRequest request) {
  Json args{{"lease", request.lease}, {"lifetime", request.lifetime}, {"lived", request.lived},
            {"grace", request.grace}, {"keep", request.keep},         {"end", request.end}};
  Result<Json> answer = co_await call("renew", std::move(args));
  if (!answer) co_return answer.error();
  Reader reader(*answer);
  std::optional<double> left;
  if (answer->is_object() && answer->contains("left")) left = reader.number("left");
  co_return reader.finish(left);
}

Result<ExecResult> read_exec_result(const Json& answer) {
  Reader reader(answer);
  ExecResult result;
  result.code = static_cast<int>(reader.integer("code", 0, 255));
  result.signal = static_cast<int>(reader.integer("signal", 0, 127));
  result.out_cut = reader.flag("out_cut");
  result.err_cut = reader.flag("err_cut");
  result.timed_out = reader.flag("timed_out");
  result.seconds = reader.number("seconds");
  return reader.finish(std::move(result));
}

Co<Result<ExecResult>> AgentClient::exec(ExecRequest request) {
  Json args{{"command", to_json(request.command)},
            {"dir", request.dir},
            {"env", request.env},
            {"timeout", request.timeout},
            {"limit", request.on_output ? 0 : request.limit}};
  Result<std::unique_ptr<AgentChannel>> channel = open_channel("exec", std::move(args));
  if (!channel) co_return channel.error();
  auto result = std::make_unique<ExecResult>();
  std::function<void(const AgentChannel::Chunk&)> take =
      [&out = *result, show = request.on_output,
       limit = request.limit](const AgentChannel::Chunk& chunk) {
        if (chunk.stream == 0) return;
        if (show) return show(chunk.stream, chunk.bytes);
        std::string& into = chunk.stream == 2 ? out.err : out.out;
        into.append(chunk.bytes, 0, limit - std::min(limit, into.size()));
      };
  Result<Json> answer = co_await (*channel)->exchange(std::move(request.input), std::move(take));
  if (!answer) co_return answer.error();
  Result<ExecResult> ended = read_exec_result(*answer);
  if (!ended) co_return ended.error();
  ended->out = std::move(result->out);
  ended->err = std::move(result->err);
  co_return ended;
}

Co<Result<StartResult>> AgentClient::start(StartRequest request) {
  Json args{{"key", request.key},
            {"command", to_json(request.command)},
            {"dir", request.dir},
            {"env", request.env},
            {"info", request.info.is_object() ? request.info : Json::object()}};
  Result<Json> answer = co_await call("start", std::move(args));
  if (!answer) co_return answer.error();
  Reader reader(*answer);
  StartResult result;
  result.already = reader.flag("already");
  result.pid = reader.integer("pid", 0, INT32_MAX);
  co_return reader.finish(result);
}

Co<Result<CommandStatus>> AgentClient::status(std::string key) {
  Json args{{"key", std::move(key)}};
  Result<Json> answer = co_await call("status", std::move(args));
  if (!answer) co_return answer.error();
  co_return read_status(*answer);
}

Co<Result<CommandStatus>> AgentClient::follow(
    std::string key, uint64_t offset, std::function<void(std::string_view, uint64_t)> on_bytes) {
  Result<std::unique_ptr<AgentChannel>> channel =
      open_channel("follow", Json{{"key", std::move(key)}, {"offset", offset}});
  if (!channel) co_return channel.error();
  while (true) {
    Result<std::optional<AgentChannel::Chunk>> chunk = co_await (*channel)->read();
    if (!chunk) co_return chunk.error();
    if (!*chunk) break;
    if ((*chunk)->stream == 0) {  // the log was emptied and begins again
      Reader note((*chunk)->note);
      offset = static_cast<uint64_t>(note.integer("offset", 0, INT64_MAX));
      continue;
    }
    on_bytes((*chunk)->bytes, offset);
    offset += (*chunk)->bytes.size();
  }
  Result<Json> answer = co_await (*channel)->answer();
  if (!answer) co_return answer.error();
  co_return read_status(*answer);
}

Co<Status> AgentClient::signal(std::string key, int number) {
  Json args{{"key", std::move(key)}, {"signal", number}};
  Result<Json> answer = co_await call("signal", std::move(args));
  co_return answer ? done() : Status(answer.error());
}

Co<Result<std::vector<CommandInfo>>> AgentClient::list() {
  Result<Json> answer = co_await call("list", Json::object());
  if (!answer) co_return answer.error();
  Reader reader(*answer);
  const Json commands = reader.list("commands");
  std::vector<CommandInfo> found;
  for (const Json& entry : commands) {
    Reader command(entry);
    CommandInfo info;
    info.key = command.text("key");
    if (command.problem()) co_return *command.problem();
    Result<CommandStatus> status = read_status(entry.value("status", Json()));
    if (!status) co_return status.error();
    info.status = *status;
    info.info = entry.value("info", Json());
    found.push_back(std::move(info));
  }
  co_return reader.finish(std::move(found));
}

Co<Status> AgentClient::remove(std::string key) {
  Json args{{"key", std::move(key)}};
  Result<Json> answer = co_await call("remove", std::move(args));
  co_return answer ? done() : Status(answer.error());
}

}  // namespace choline
