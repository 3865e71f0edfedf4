#include "sim/world.h"

#include <algorithm>

namespace choline::sim {

Weather weather_of(uint64_t seed) {
  Dice dice(derived(seed, "weather"));
  Weather weather;
  if (dice.chance(0.15)) return weather;  // a fine day: only crashes of choline
  auto bad = [&dice](double most) { return dice.chance(0.5) ? dice.between(0, most) : 0.0; };
  weather.latency = dice.between(0.05, 3);
  weather.lost = bad(0.25);
  weather.lost_reply = bad(0.3);
  weather.refused = bad(0.3);
  weather.doubled = bad(0.3);
  weather.together = dice.chance(0.5);
  weather.failing = bad(0.2);
  weather.partial = bad(0.2);
  weather.preempted = bad(0.5);
  weather.life = dice.between(10, 600);
  weather.broken_link = bad(0.4);
  weather.crashing = bad(0.3);
  return weather;
}

std::string Command::log(double now) const {
  std::string text;
  for (const auto& [after, line] : lines) {
    if (started + after > now || after > seconds) break;
    text += line + "\n";
  }
  return text;
}

std::optional<double> Command::next_change(double now) const {
  if (ends() <= now) return std::nullopt;
  for (const auto& [after, line] : lines) {
    if (started + after > now && after <= seconds) return started + after;
  }
  return ends();
}

World::World(uint64_t seed)
    : seed_(seed), dice_(derived(seed, "world")), weather_(weather_of(seed)) {}

void World::advance(double to) {
  for (;;) {  // in the order of their times, so that each sees the world as it was then
    Flight* next = nullptr;
    for (Flight& flight : flights_) {
      bool due = !flight.arrival.arrived && flight.arrives <= to;
      if (due && (!next || flight.arrives < next->arrives)) next = &flight;
    }
    if (!next) break;
    now_ = std::max(now_, next->arrives);
    arrive(*next);
  }
  now_ = std::max(now_, to);
  for (auto& [id, server] : servers_) {
    double until = server.ended > 0 ? server.ended : now_;
    if (server.taken(now_)) until = std::min(until, server.preempted_at);
    for (auto& [key, command] : server.commands) {
      while (command.applied < command.lines.size()) {
        double at = command.started + command.lines[command.applied].first;
        if (at > until || at > command.ends()) break;
        ++command.applied;
        server.checkpoints.insert("step-" + std::to_string(command.applied));
      }
    }
  }
}

int World::send_launch(const std::string& tag, double price, double arrives, bool unheard) {
  touch("launch");
  Flight flight;
  flight.tag = tag;
  flight.price = price;
  flight.arrives = arrives;
  flight.refused = dice_.chance(weather_.refused);
  flight.doubled = dice_.chance(weather_.doubled) && unheard;
  flights_.push_back(flight);
  return static_cast<int>(flights_.size()) - 1;
}

World::Arrival World::arrival(int ticket) const {
  return flights_[static_cast<size_t>(ticket)].arrival;
}

void World::arrive(Flight& flight) {
  flight.arrival.arrived = true;
  flight.arrival.refused = flight.refused;
  if (flight.refused) return;
  double seen_at = make(flight).seen_at;
  if (!flight.doubled) return;
  Server& second = make(flight);
  if (weather_.together) second.seen_at = seen_at;
}

Server& World::make(Flight& flight) {
  Server server;
  server.id = "i" + std::to_string(servers_.size() + 1);
  server.tag = flight.tag;
  server.price = flight.price;
  server.created = now_;
  server.runs_at = now_ + (dice_.chance(0.5) ? 0 : dice_.between(0, 30));
  server.seen_at = now_ + (dice_.chance(0.5) ? 0 : dice_.between(0, weather_.lag));
  if (dice_.chance(weather_.preempted)) {
    server.preempted_at = now_ + dice_.between(0.1, weather_.life);
  }
  if (flight.arrival.id.empty()) flight.arrival.id = server.id;
  Server& made = servers_.emplace(server.id, server).first->second;
  check_single(flight.tag);
  return made;
}

// One living instance for each create step; what the provider doubled by itself has the same tag.
void World::check_single(const std::string& tag) {
  std::string step = tag.substr(0, tag.rfind('-'));
  for (const auto& [id, server] : servers_) {
    bool same_step = server.tag.substr(0, server.tag.rfind('-')) == step && server.tag != tag;
    if (same_step && server.alive(now_)) violate("two live instances: " + server.tag + ", " + tag);
  }
}

Server* World::find(const std::string& id) {
  auto found = servers_.find(id);
  return found == servers_.end() ? nullptr : &found->second;
}

std::vector<const Server*> World::list(const std::string& prefix, bool exact) const {
  std::vector<const Server*> found;
  for (const auto& [id, server] : servers_) {
    bool named = exact ? server.tag == prefix : server.tag.starts_with(prefix);
    bool there = server.seen_at <= now_ && !(server.ended > 0 && server.gone_at <= now_);
    if (named && there) found.push_back(&server);
  }
  std::sort(found.begin(), found.end(),
            [](const Server* a, const Server* b) { return a->created < b->created; });
  return found;
}

bool World::lists_are_partial() {
  if (now_ >= partial_until_ && dice_.chance(weather_.partial)) {
    partial_until_ = now_ + dice_.between(0, 60);
  }
  return now_ < partial_until_;
}

void World::terminate(Server& server, double until_gone) {
  touch("terminate");
  if (server.ended > 0) return;
  server.ended = server.taken(now_) ? server.preempted_at : now_;
  server.gone_at = now_ + until_gone;
}

std::pair<Command*, bool> World::start(Server& server, const std::string& key, const Json& command,
                                       const Json& info) {
  touch("start of a command");
  auto known = server.commands.find(key);
  if (known != server.commands.end()) return {&known->second, true};
  std::string name = info.value("key", key);
  if (++starts[name] > 1) violate("command " + name + " was started twice");
  Command made;
  made.key = key;
  made.started = now_;
  // "work SECONDS": the same command takes the same course, whatever the run is called.
  std::string text = command.value("shell", "");
  double planned = text.starts_with("work ") ? std::stod(text.substr(5)) : 1;
  Dice dice(derived(seed_, name.substr(name.find('.') + 1)));
  made.seconds = planned * dice.between(0.5, 1.5);
  if (dice.chance(weather_.crashing)) {
    made.seconds *= dice.part();
    made.code = dice.chance(0.2) ? 137 : 1;
    made.signal = made.code == 137 ? 9 : 0;
    made.oom = made.signal == 9;
  }
  double step = std::max(0.5, planned / 5);
  for (int number = 1; number <= 5; ++number) {
    made.lines.emplace_back(step * number * 0.9, "step=" + std::to_string(number) +
                                                     " loss=" + std::to_string(9 - number));
  }
  auto [place, fresh] = server.commands.emplace(key, std::move(made));
  return {&place->second, false};
}

void World::signal(Command& command, int number) {
  touch("signal");
  if (command.ends() <= now_) return;
  bool obeys = number == 9 || (number == 15 && dice_.chance(0.7));
  if (!obeys) return;
  command.seconds = now_ - command.started;
  command.signal = number;
  command.code = 128 + number;
}

std::vector<std::string> World::alive() const {
  std::vector<std::string> told;
  for (const auto& [id, server] : servers_) {
    if (!server.alive(now_)) continue;
    told.push_back(id + " " + server.tag + " made at " + std::to_string(server.created) +
                   ", listed from " + std::to_string(server.seen_at));
  }
  return told;
}

double World::bill() const {
  double usd = 0;
  for (const auto& [id, server] : servers_) {
    double until = server.ended > 0 ? server.ended : now_;
    if (server.taken(until)) until = server.preempted_at;
    usd += (until - server.created) * server.price / 3600;
  }
  return usd;
}

void World::violate(const std::string& what) {
  if (violations_.size() < 20) violations_.push_back(what);
}

}  // namespace choline::sim
