// native.instance.attach: a command or a shell on an instance with the input and output of this
// process.
#include <csignal>
#include <memory>
#include <string>

#include "durable/commands.h"
#include "durable/instances.h"
#include "link/attach.h"
#include "native/attach.h"
#include "native/signals.h"

namespace choline {
namespace {

// Signals of the loop that an attached terminal minds while it is there; a handler of the loop
// stays for good.
class TerminalSignals {
 public:
  TerminalSignals(Loop& loop, Attached& attached) : attached_(std::make_shared<Attached*>()) {
    *attached_ = &attached;
    loop.on_signal(SIGWINCH, [at = attached_](int) {
      if (*at) (*at)->resized();
    });
    loop.on_signal(SIGCONT, [at = attached_](int) {
      if (*at) (*at)->continued();
    });
    loop.on_signal(SIGTSTP, [at = attached_](int) {
      if (*at) (*at)->suspend();
    });
  }
  TerminalSignals(const TerminalSignals&) = delete;
  TerminalSignals& operator=(const TerminalSignals&) = delete;
  ~TerminalSignals() { *attached_ = nullptr; }

 private:
  std::shared_ptr<Attached*> attached_;  // shared with the handlers, which stay
};

Co<Status> pass_signals(Signals& signals, Attached& attached) {
  for (;;) {
    while (signals.empty()) co_await signals.wait();
    std::string name = signals.take();
    attached.signal(name == "INT" ? SIGINT : name == "TERM" ? SIGTERM : SIGHUP);
  }
}

Result<AttachRequest> attach_request(Instances& instances, const Json& command,
                                     const Json& options) {
  AttachRequest request;
  if (!command.is_null()) {
    Result<AgentCommand> read = agent_command(command);
    if (!read) return read.error();
    request.command = std::move(*read);
  }
  Result<SecretSource::Environment> env = instances.secrets().environment(field(options, "env"));
  if (!env) return env.error();
  request.env = std::move(env->values);
  request.dir = text_field(options, "dir");
  request.terminal = field(options, "terminal") == true;
  request.input = field(options, "input") != false;
  return request;
}

}  // namespace

Co<Result<Json>> instance_attach(Services& services, Json args) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<std::string> tag = string_arg(args, 0, "native.instance.attach");
  if (!tag) co_return tag.error();
  Result<AttachRequest> request = attach_request(**instances, arg(args, 1), arg(args, 2));
  if (!request) co_return request.error();
  Result<Instances::Client> agent = co_await (*instances)->reach(*tag);
  if (!agent) co_return agent.error();
  Result<std::unique_ptr<Attached>> attached =
      Attached::open(services.loop, **agent, std::move(*request));
  if (!attached) co_return attached.error();
  TerminalSignals minding(services.loop, **attached);
  std::function<void(Status)> never = [](Status) {};
  Started passing(pass_signals(services.signals(), **attached), std::move(never));
  Result<int> code = co_await (*attached)->run();
  if (code) co_return Json(int64_t{*code});
  Status stands = co_await (*instances)->standing(*tag);
  Error why = stands ? code.error() : stands.error();
  if (!why.fields.is_object()) why.fields = Json::object();
  why.fields["began"] = true;
  co_return why;
}

}  // namespace choline
