#include "sim/agent.h"

#include <map>

#include "base/error.h"
#include "link/protocol.h"

namespace choline::sim {

namespace {

constexpr double kNoticed = 0.2;  // seconds until a link learns that its instance has gone

// Both ends of a link and the agent behind it. Shared with what is posted to the loop, which may
// come after the client has gone.
class Agent : public MuxHandler, public std::enable_shared_from_this<Agent> {
 public:
  Agent(Line& line, std::string server)
      : line_(line), server_id_(std::move(server)), mux_(Side::agent, *this) {
    Dice& dice = line.world.dice();
    if (dice.chance(line.world.weather().broken_link)) {
      dies_at_ = line.now() + dice.between(0, 60);
    }
    latency_ = dice.between(0.001, 0.1);
  }

  void listen(Link::Handlers handlers) {
    handlers_ = std::move(handlers);
    if (std::exchange(heard_, true)) return;
    watch();
  }

  void receive(std::string bytes) {
    after(latency_, [self = shared_from_this(), bytes = std::move(bytes)] {
      if (!self->open()) return;
      Status fed = self->mux_.feed(bytes);
      if (!fed) self->line_.world.violate("the client broke the protocol: " + fed.error().message);
      self->flush();
    });
  }

  void close() { closed_ = true; }

  void on_hello(Json) override {
    mux_.hello(Json{{"protocol", kProtocol},
                    {"oldest", kProtocolOldest},
                    {"agent", "sim"},
                    {"root", "/home"},
                    {"jail", false}});
  }

  void on_open(uint32_t channel, Json request) override {
    Server* server = line_.world.find(server_id_);
    std::string verb = request.value("verb", "");
    std::string key = request.value("key", "");
    if (verb == "facts") return mux_.answer(channel, facts());
    if (verb == "exec") return mux_.answer(channel, Json{{"code", 0}, {"seconds", 0.1}});
    if (verb == "start") {
      auto [command, already] =
          line_.world.start(*server, key, request.value("command", Json::object()),
                            request.value("info", Json::object()));
      return mux_.answer(channel, Json{{"already", already}, {"pid", 100}});
    }
    if (verb == "follow") {
      follows_[channel] = Follow{key, request.value("offset", size_t{0})};
      return follow(channel);
    }
    auto found = server->commands.find(key);
    bool runs = found != server->commands.end() && found->second.ends() > line_.world.now();
    if (verb == "status") return mux_.answer(channel, status(*server, key));
    if (verb == "signal") {
      if (runs) line_.world.signal(found->second, request.value("signal", 15));
      Error absent(ErrorKind::not_found, "it does not run");
      return mux_.answer(channel, runs ? Json::object() : error_answer(absent));
    }
    mux_.answer(channel, error_answer(Error(ErrorKind::unsupported, "no verb " + verb)));
  }

  void on_data(uint32_t channel, int, std::string_view bytes) override {
    mux_.consumed(channel, bytes.size());
  }
  void on_end(uint32_t) override {}
  void on_room(uint32_t) override {}
  void on_cancel(uint32_t channel) override {
    follows_.erase(channel);
    mux_.answer(channel, error_answer(Error(ErrorKind::cancelled, "cancelled")));
  }

 private:
  struct Follow {
    std::string key;
    size_t offset = 0;
  };

  void after(double seconds, std::function<void()> fn) { line_.loop.timer(seconds, std::move(fn)); }

  // Is anybody there on both sides?
  bool open() {
    line_.catch_up();
    if (closed_ || line_.dead) return false;
    Server* server = line_.world.find(server_id_);
    bool gone = !server || !server->alive(line_.world.now());
    if (!gone && (dies_at_ == 0 || line_.now() < dies_at_)) return true;
    closed_ = true;
    if (handlers_.closed) handlers_.closed(Error(ErrorKind::lost, "the link broke"));
    return false;
  }

  // Finds out when the link has died although nobody says anything.
  void watch() {
    Server* server = line_.world.find(server_id_);
    double next = 5;
    if (dies_at_ > 0) next = std::min(next, dies_at_ - line_.now());
    if (server && server->preempted_at > 0) {
      next = std::min(next, server->preempted_at - line_.now() + kNoticed);
    }
    after(std::max(next, 0.1), [weak = weak_from_this()] {
      std::shared_ptr<Agent> self = weak.lock();
      if (self && self->open()) self->watch();
    });
  }

  void flush() {
    std::string bytes;
    mux_.fill(bytes, size_t{1} << 20);
    if (bytes.empty()) return;
    after(latency_, [self = shared_from_this(), bytes = std::move(bytes)] {
      if (self->open() && self->handlers_.bytes) self->handlers_.bytes(bytes);
    });
  }

  // What there is of the log; the rest when there is more, and the end when the command has ended.
  void follow(uint32_t channel) {
    auto known = follows_.find(channel);
    if (known == follows_.end()) return;
    Follow& wanted = known->second;
    Server* server = line_.world.find(server_id_);
    auto found = server->commands.find(wanted.key);
    if (found != server->commands.end()) {
      std::string text = found->second.log(line_.world.now());
      if (text.size() > wanted.offset) {
        mux_.send(channel, std::string_view(text).substr(wanted.offset));
        wanted.offset = text.size();
      }
      if (found->second.next_change(line_.world.now())) {
        // Looks again soon, since a signal may end the command before its time.
        double next = *found->second.next_change(line_.world.now()) - line_.world.now();
        after(std::min(next + 0.001, 2.0), [weak = weak_from_this(), channel] {
          std::shared_ptr<Agent> self = weak.lock();
          if (!self || !self->open()) return;
          self->follow(channel);
          self->flush();
        });
        return;
      }
    }
    std::string key = wanted.key;
    follows_.erase(channel);
    mux_.answer(channel, status(*server, key));
  }

  Json status(const Server& server, const std::string& key) const {
    auto found = server.commands.find(key);
    if (found == server.commands.end()) return Json{{"state", "unknown"}};
    const Command& command = found->second;
    double now = line_.world.now();
    bool over = command.ends() <= now;
    Json told{{"state", over ? "finished" : "running"},
              {"seconds", over ? command.seconds : now - command.started},
              {"started", command.started},
              {"log_size", command.log(now).size()}};
    if (over) {
      told["code"] = command.code;
      told["signal"] = command.signal;
      told["oom"] = command.oom;
    }
    return told;
  }

  static Json facts() {
    return Json{{"home", "/home"},      {"root", "/home"}, {"jail", false},     {"os", "linux"},
                {"arch", "x86_64"},     {"agent", "sim"},  {"hostname", "sim"}, {"user", "sim"},
                {"kernel", "6"},        {"cpus", 8},       {"memory", 1 << 30}, {"disk", 1 << 30},
                {"gpus", Json::array()}};
  }

  Line& line_;
  std::string server_id_;
  Mux mux_;
  Link::Handlers handlers_;
  std::map<uint32_t, Follow> follows_;
  double dies_at_ = 0;
  double latency_ = 0;
  bool closed_ = false;
  bool heard_ = false;
};

class AgentLink : public Link {
 public:
  explicit AgentLink(std::shared_ptr<Agent> agent) : agent_(std::move(agent)) {}
  ~AgentLink() override { agent_->close(); }
  void listen(Handlers handlers) override { agent_->listen(std::move(handlers)); }
  size_t write(std::string_view bytes) override {
    agent_->receive(std::string(bytes));
    return bytes.size();
  }
  void close() override { agent_->close(); }
  std::string name() const override { return "simulated link"; }

 private:
  std::shared_ptr<Agent> agent_;
};

}  // namespace

std::unique_ptr<Link> open_agent_link(Line& line, const std::string& server) {
  return std::make_unique<AgentLink>(std::make_shared<Agent>(line, server));
}

}  // namespace choline::sim
