#include "native/direct.h"

#include <memory>
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "base/text.h"
#include "durable/instances.h"
#include "io/ssh_keys.h"
#include "io/ssh_ways.h"
#include "loop/await.h"
#include "provider/providers.h"
#include "transfer/frame.h"
#include "transfer/session.h"

namespace choline {
namespace {

constexpr double kAdmitPatience = 20;           // seconds for the line in authorized_keys
constexpr double kDialPatience = 45;            // for the login; the instance itself waits 30
constexpr double kOtherWord = 5;                // for the other end's last word, after the first
constexpr double kTryAgain = 600;               // after which what has failed may work
constexpr size_t kMostLine = size_t{16} << 20;  // bytes of one line of an end
constexpr size_t kDirectId = 20;
constexpr int kCannotRun = 127;  // exit code of the shell for what is not there

// One end of the transfer: the agent's own program, which speaks in lines of JSON.
class FarEnd {
 public:
  explicit FarEnd(std::unique_ptr<AgentChannel> channel) : channel_(std::move(channel)) {}
  FarEnd(const FarEnd&) = delete;
  FarEnd& operator=(const FarEnd&) = delete;

  Co<Result<Json>> ask(Json job) {
    Status asked = co_await channel_->write(to_text(job) + "\n");
    if (!asked.ok()) co_return asked.error();
    Result<Json> first = co_await next();
    co_return first;
  }

  // From then on, until its last word; `heard` is set then.
  void listen(Event& heard, SyncProgressFn progress) {
    std::function<void(Result<SyncReport>)> finish = [this, &heard](Result<SyncReport> last) {
      word_ = std::move(last);
      heard.set();
    };
    listening_ = Started(hear(std::move(progress)), std::move(finish));
  }
  const std::optional<Result<SyncReport>>& word() const { return word_; }

 private:
  Co<Result<Json>> next() {
    for (;;) {
      size_t end = heard_.find('\n', looked_);
      if (end != std::string::npos) {
        Result<Json> line = parse_json(heard_.substr(0, end));
        heard_.erase(0, end + 1);
        looked_ = 0;
        if (!line.ok() || !line->is_object()) co_return protocol_error("a line that is no object");
        co_return line;
      }
      looked_ = heard_.size();
      if (looked_ > kMostLine) co_return protocol_error("a line that is too long");
      Result<std::optional<AgentChannel::Chunk>> chunk = co_await channel_->read();
      if (!chunk.ok()) co_return chunk.error();
      if (*chunk && (*chunk)->stream == 1) heard_ += (*chunk)->bytes;
      if (*chunk) continue;
      Result<Json> answer = co_await channel_->answer();
      if (!answer.ok()) co_return answer.error();
      co_return Error(ErrorKind::lost, "transfer: an end has gone in the middle of it");
    }
  }

  Co<Result<SyncReport>> hear(SyncProgressFn progress) {
    for (;;) {
      Result<Json> line = co_await next();
      if (!line.ok()) co_return line.error();
      if (line->contains("report")) co_return sync_report_from_json((*line)["report"]);
      if (line->contains("error")) {
        Error said = error_from_json((*line)["error"]);
        co_return said;
      }
      const Json counts = line->value("progress", Json());
      if (!counts.is_array() || counts.size() != 4 || !progress) continue;
      uint64_t numbers[4] = {0, 0, 0, 0};
      for (size_t at = 0; at < 4; ++at) {
        if (counts[at].is_number_unsigned()) numbers[at] = counts[at].get<uint64_t>();
      }
      progress(SyncProgress{numbers[0], numbers[1], numbers[2], numbers[3]});
    }
  }

  std::unique_ptr<AgentChannel> channel_;
  std::string heard_;
  size_t looked_ = 0;  // of heard_, without a line's end
  std::optional<Result<SyncReport>> word_;
  Started listening_;  // ends first
};

// Who logs in to whom, and what each is asked for.
struct Way {
  const TransferSide* dialler = nullptr;
  const TransferSide* desk = nullptr;
  Json dialler_request, desk_request;
  bool dialler_sends = false;
};

Result<std::unique_ptr<FarEnd>> open_end(const TransferSide& side, const std::string& verb) {
  Result<std::unique_ptr<AgentChannel>> channel = side.agent->open_channel(verb, Json::object());
  if (!channel) return channel.error();
  return std::make_unique<FarEnd>(std::move(*channel));
}

// Asks and waits for so long; the answer is an error too when the end says that it is one.
Co<Result<Json>> ask_end(Loop& loop, FarEnd& end, Json job, double patience) {
  WithTimeout<Result<Json>> asking(loop, patience, end.ask(std::move(job)));
  std::optional<Result<Json>> first = co_await asking;
  if (!first) co_return Error(ErrorKind::timeout, "it did not answer");
  if (!first->ok()) co_return first->error();
  if ((*first)->contains("error")) {
    Error said = error_from_json((**first)["error"]);
    co_return said;
  }
  co_return **first;
}

std::string why_unreached(const Way& way, const std::string& address, const Json& told) {
  const std::string& from = way.dialler->label;
  const std::string& to = way.desk->label;
  const Json said = told.value("unreached", Json());
  const Json code = told.value("code", Json());
  std::string complaint = said.is_string() ? said.get<std::string>() : "";
  std::string last = last_line(complaint);
  if (code == kCannotRun) return from + " has no ssh program";
  switch (ssh_complaint(complaint)) {
    case SshComplaint::host_changed:
      return from + " meets a host at " + address + " that does not have the key of " + to;
    case SshComplaint::no_login:
      return to + " does not accept the login that was made for " + from +
             " (its sshd reads another authorized_keys, or is older than 8.2)";
    case SshComplaint::other:
      break;
  }
  return from + " does not reach " + to + " at " + address +
         (last.empty() ? " in time" : ": " + choline::quoted(last));
}

Co<Result<Ssh::Address>> find_address(Services& services, std::string tag, std::string label) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  std::optional<SshTarget> target = (*instances)->ssh_target(tag);
  if (!target) co_return Error(ErrorKind::unsupported, "no ssh leads to " + label);
  Result<Providers*> providers = services.providers();
  if (!providers) co_return providers.error();
  Result<Ssh::Address> address = co_await (*providers)->ssh().address(std::move(*target));
  co_return address;
}

Co<Result<bool>> wait_for_word(Event& heard) {
  co_await heard.wait();
  co_return true;
}

// The receiver's word counts; a failure may be known to the sender alone.
Co<Result<SyncReport>> last_word(Loop& loop, Event& heard, FarEnd& sender, FarEnd& receiver) {
  while (!sender.word() && !receiver.word()) {
    heard.clear();
    Event::Waiter waiter(heard);
    co_await waiter;
  }
  bool is_enough = receiver.word() && receiver.word()->ok();
  if (!is_enough && !(sender.word() && receiver.word())) {
    heard.clear();
    WithTimeout<Result<bool>> waiting(loop, kOtherWord, wait_for_word(heard));
    (void)co_await waiting;
  }
  if (receiver.word() && receiver.word()->ok()) co_return *receiver.word();
  bool sender_knows = sender.word() && !sender.word()->ok() &&
                      (!receiver.word() || receiver.word()->error().kind == ErrorKind::lost);
  if (sender_knows) co_return *sender.word();
  if (receiver.word()) co_return *receiver.word();
  co_return Error(ErrorKind::lost, "transfer: the receiver has gone without a report");
}

// A link that died says nothing about who reaches whom.
bool is_broken(const Error& error) {
  return error.kind == ErrorKind::lost;
}

Co<DirectMove> try_way(Services& services, Way way, SyncProgressFn progress) {
  DirectMove move;
  Loop& loop = services.loop;
  Result<Ssh::Address> address = co_await find_address(services, way.desk->tag, way.desk->label);
  if (!address) {
    move.why = address.error().message;
    co_return move;
  }
  Event heard(loop);
  Result<OneTimeSshKey> key = one_time_ssh_key("choline-direct");
  Result<std::unique_ptr<FarEnd>> desk = open_end(*way.desk, "admit");
  Result<std::unique_ptr<FarEnd>> dialler = open_end(*way.dialler, "dial");
  if (!key || !desk || !dialler) {
    move.why = !key ? key.error().message : !desk ? desk.error().message : dialler.error().message;
    co_return move;
  }
  Json job = {{"id", random_id(kDirectId)}, {"key", key->line}, {"request", way.desk_request}};
  Result<Json> admitted = co_await ask_end(loop, **desk, std::move(job), kAdmitPatience);
  if (!admitted && is_broken(admitted.error())) move.report = admitted.error();
  if (!admitted) {
    move.why = way.desk->label + " admits no login: " + admitted.error().message;
    co_return move;
  }
  Json dial = {{"host", address->host},  {"port", address->port}, {"user", address->user},
               {"known", address->keys}, {"secret", key->secret}, {"request", way.dialler_request}};
  wipe(key->secret);
  Result<Json> begun = co_await ask_end(loop, **dialler, std::move(dial), kDialPatience);
  if (!begun && is_broken(begun.error())) move.report = begun.error();
  if (!begun || !begun->contains("begun")) {
    std::string place = address->host + ":" + std::to_string(address->port);
    move.why = begun ? why_unreached(way, place, *begun)
                     : way.dialler->label + " cannot dial: " + begun.error().message;
    co_return move;
  }
  (*desk)->listen(heard, nullptr);
  (*dialler)->listen(heard, std::move(progress));
  FarEnd& sender = way.dialler_sends ? **dialler : **desk;
  FarEnd& receiver = way.dialler_sends ? **desk : **dialler;
  Result<SyncReport> last = co_await last_word(loop, heard, sender, receiver);
  move.report = std::move(last);
  co_return move;
}

Way make_way(const TransferSide& from, const TransferSide& to, const SyncOptions& options,
             bool receiver_dials) {
  Json send = to_json(TransferRequest{ServeRole::send, from.path, options, {}, {}});
  Json receive = to_json(TransferRequest{ServeRole::receive, to.path, options, {}, {}});
  Way way;
  way.dialler = receiver_dials ? &to : &from;
  way.desk = receiver_dials ? &from : &to;
  way.dialler_request = receiver_dials ? receive : send;
  way.desk_request = receiver_dials ? std::move(send) : std::move(receive);
  way.dialler_sends = !receiver_dials;
  return way;
}

}  // namespace

Co<DirectMove> move_directly(Services& services, const TransferSide& from, const TransferSide& to,
                             SyncOptions options, SyncProgressFn progress) {
  if (!options.outside_links) options.outside_links = false;
  bool both_squeeze = from.squeezes && to.squeezes;
  if (!both_squeeze) options.packing = Packing::never;
  if (!options.packing) options.packing = Packing::when_it_pays;
  DirectMemory& memory = services.direct[from.tag + "\n" + to.tag];
  DirectMove move;
  if (!memory.why.empty() && services.loop.ticks() < memory.until) {
    move.why = memory.why;
    co_return move;
  }
  std::string why;
  bool receiver_dials = memory.receiver_dials;
  for (int tries = 0; tries < 2; ++tries, receiver_dials = !receiver_dials) {
    Way way = make_way(from, to, options, receiver_dials);
    move = co_await try_way(services, std::move(way), progress);
    if (move.report) {
      memory.receiver_dials = receiver_dials;
      memory.why.clear();
      move.why.clear();
      co_return move;
    }
    log_info("direct transfer: " + move.why);
    why += (why.empty() ? "" : "; ") + move.why;
  }
  memory.why = move.why = why;
  memory.until = services.loop.ticks() + kTryAgain;
  co_return move;
}

}  // namespace choline
