#include "sim/model_cloud.h"

#include <algorithm>

#include "loop/await.h"

namespace choline::sim {

namespace {

constexpr double kDelay = 0.1;   // seconds of a request or a reply that is not late
constexpr double kPartial = 12;  // seconds that lists stay incomplete: beyond the time to settle
constexpr double kPatience = 1;  // until the reply to a launch is given up
const std::string kNoAnswer = "model: no answer";

}  // namespace

int Chooser::choose(int ways, const char* what) {
  if (at_ < path_.size()) {
    int taken = path_[at_++].taken;
    if (taken > 0) --left_;
    return taken;
  }
  path_.push_back({0, left_ > 0 ? ways : 1, what});
  ++at_;
  return 0;
}

void Chooser::begin() {
  at_ = 0;
  left_ = faults_;
}

bool Chooser::next() {
  do {
    while (!path_.empty() && path_.back().taken + 1 >= path_.back().ways) path_.pop_back();
    if (path_.empty()) return false;
    ++path_.back().taken;
  } while (skips());
  return true;
}

// Is the last choice the first fault, and another's?
bool Chooser::skips() const {
  for (size_t at = 0; at + 1 < path_.size(); ++at) {
    if (path_[at].taken > 0) return false;
  }
  size_t place = path_.size() + static_cast<size_t>(path_.back().taken);
  return place % static_cast<size_t>(shares_) != static_cast<size_t>(share_);
}

std::string Chooser::told() const {
  std::string text;
  for (const Choice& choice : path_) {
    if (choice.taken > 0)
      text +=
          std::string(text.empty() ? "" : ", ") + choice.what + " " + std::to_string(choice.taken);
  }
  return text;
}

void ModelCloud::launch(const std::string& tag, double arrives, bool twice, bool lag) {
  flights.push_back({tag, arrives, twice, lag, false});
}

void ModelCloud::advance(double to) {
  for (Flight& flight : flights) {
    if (flight.arrived || flight.arrives > to) continue;
    flight.arrived = true;
    now = std::max(now, flight.arrives);
    arrive(flight);
  }
  now = std::max(now, to);
}

void ModelCloud::arrive(const Flight& flight) {
  for (const ModelServer& other : servers) {
    if (other.ended == 0) violate("two live instances: " + other.tag + " and " + flight.tag);
  }
  for (int copy = 0; copy < (flight.twice ? 2 : 1); ++copy) {
    ModelServer server;
    server.id = "i" + std::to_string(servers.size() + 1);
    server.tag = flight.tag;
    server.created = now;
    server.seen_at = now + (flight.lag ? kLag : 0);
    server.second = copy > 0;
    servers.push_back(server);
  }
}

std::vector<std::string> ModelCloud::alive() const {
  std::vector<std::string> told;
  for (const ModelServer& server : servers) {
    if (server.ended == 0) told.push_back(server.id + " " + server.tag);
  }
  return told;
}

ModelProvider::ModelProvider(ModelCloud& cloud, SimLoop& loop, double base, const bool& dead,
                             double settle)
    : cloud_(cloud), loop_(loop), base_(base), dead_(dead) {
  caps_.name = "local";  // takes the place of the embedded one
  caps_.settle = settle;
  caps_.poll = 5;
}

double ModelProvider::catch_up() {
  cloud_.advance(base_ + loop_.ticks());
  return cloud_.now;
}

Co<Result<std::string>> ModelProvider::check(Json) {
  co_return std::string("model");
}

Co<Result<Offers>> ModelProvider::offers(OfferQuery) {
  co_return Offers();
}

Co<Launched> ModelProvider::launch(Spec, Offer, std::string token) {
  ProviderError doubt;
  doubt.message = kNoAnswer;
  double now = catch_up();
  // 0 well, 1 its reply is lost, 2 it comes late, 3 it is lost, 4 refused, 5 refused and the reply
  // lost, 6 made twice and the reply lost
  int way = dead_ ? 3 : cloud_.chooser.choose(7, "launch");
  bool made = way == 0 || way == 1 || way == 2 || way == 6;
  bool lag = made && cloud_.chooser.choose(2, "lag") == 1;
  if (made) cloud_.launch(token, now + (way == 2 ? kFlight : kDelay), way == 6, lag);
  if (!dead_ && cloud_.chooser.choose(2, "crash in flight") == 1) cloud_.die();
  bool heard = way == 0 || way == 4;
  Sleep wait(loop_, heard ? 2 * kDelay : kPatience);
  co_await wait;
  catch_up();
  if (!heard) co_return doubt;
  if (way == 4) {
    ProviderError refusal;
    refusal.kind = ErrorKind::no_capacity;
    refusal.scope = Scope::offer;
    refusal.sent = Sent::rejected;
    refusal.message = "model: no capacity";
    co_return refusal;
  }
  for (const ModelServer& server : cloud_.servers) {
    if (server.tag == token) co_return instance_of(server).handle;
  }
  co_return doubt;
}

Co<Result<Found>> ModelProvider::find(std::string tag) {
  Sleep wait(loop_, kDelay);
  co_await wait;
  double now = catch_up();
  Found found;
  for (const ModelServer& server : cloud_.servers) {
    bool seen = server.tag == tag && server.seen_at <= now && server.ended == 0;
    if (seen) found.instances.push_back(instance_of(server));
  }
  bool partial = now < cloud_.partial_until;
  int way = dead_ ? 0 : cloud_.chooser.choose(partial ? 2 : 3, "list");
  if (way == 1) co_return Error(ErrorKind::transient, kNoAnswer);
  if (way == 2) cloud_.partial_until = now + kPartial;
  if (partial || way == 2) {
    found.complete = false;
    found.instances.clear();
  }
  co_return found;
}

Co<Result<std::optional<Instance>>> ModelProvider::get(Handle handle) {
  Sleep wait(loop_, kDelay);
  co_await wait;
  catch_up();
  for (const ModelServer& server : cloud_.servers) {
    if (server.id == handle.id && server.ended == 0) {
      co_return std::optional<Instance>(instance_of(server));
    }
  }
  co_return std::optional<Instance>();
}

Co<Result<Terminated>> ModelProvider::terminate(Handle handle) {
  double now = catch_up();
  bool lost = dead_ || cloud_.chooser.choose(2, "terminate") == 1;
  for (ModelServer& server : cloud_.servers) {
    if (!lost && server.id == handle.id && server.ended == 0) server.ended = now;
  }
  Sleep wait(loop_, kDelay);
  co_await wait;
  catch_up();
  if (lost) co_return Error(ErrorKind::transient, kNoAnswer);
  co_return Terminated::accepted;
}

Co<Result<Found>> ModelProvider::list_all(std::string) {
  co_return Error(ErrorKind::unsupported, "the model does not reap");
}

Instance ModelProvider::instance_of(const ModelServer& server) {
  Instance instance;
  instance.handle.provider = "local";
  instance.handle.id = server.id;
  instance.handle.tag = server.tag;
  instance.host = "model/" + server.id;
  instance.state = InstanceState::running;
  return instance;
}

}  // namespace choline::sim
