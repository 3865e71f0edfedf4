#include "sim/cloud.h"

#include "loop/await.h"

namespace choline::sim {

namespace {

constexpr double kTimeout = 6;  // seconds that a request waits for its reply: shorter than a flight

Error no_answer(const char* what) {
  return Error(ErrorKind::transient, std::string("cloud: no answer to ") + what);
}

}  // namespace

CloudProvider::CloudProvider(Line& line) : line_(line) {
  caps_.name = "local";  // takes the place of the embedded one
  caps_.settle = line.world.weather().settle;
  caps_.poll = 5;
  caps_.spot = true;
}

double CloudProvider::delay() {
  return line_.world.dice().between(0.01, line_.world.weather().latency);
}

bool CloudProvider::fails() {
  line_.catch_up();
  return line_.dead || line_.world.dice().chance(line_.world.weather().failing);
}

Co<Result<std::string>> CloudProvider::check(Json) {
  Sleep wait(line_.loop, delay());
  co_await wait;
  co_return std::string("account");
}

Co<Result<Offers>> CloudProvider::offers(OfferQuery query) {
  Sleep wait(line_.loop, delay());
  co_await wait;
  if (fails()) co_return no_answer("offers");
  Offers found;
  for (int number = 1; number <= 3; ++number) {
    Offer offer;
    offer.id = "o" + std::to_string(number);
    offer.provider = "local";
    offer.region = "here";
    offer.type = "vm";
    offer.cpus = 8;
    offer.memory = int64_t{64} << 30;
    offer.disk = int64_t{1} << 40;
    offer.price = number;
    offer.raw = {{"settings", query.settings}};
    found.offers.push_back(std::move(offer));
  }
  co_return found;
}

Co<Launched> CloudProvider::launch(Spec, Offer offer, std::string token) {
  line_.catch_up();
  World& world = line_.world;
  const Weather& weather = world.weather();
  ProviderError doubt;
  doubt.message = "cloud: no reply to the launch";
  bool lost = line_.dead || world.dice().chance(weather.lost);
  bool mute = world.dice().chance(weather.lost_reply);
  bool slow = world.dice().chance(0.1);
  double there = slow ? world.dice().between(0, weather.flight) : delay() / 2;
  double back = delay() / 2;
  int ticket = -1;
  if (!lost) ticket = world.send_launch(token, offer.price, line_.now() + there, mute);
  if (lost || mute || there + back > kTimeout) {
    Sleep wait(line_.loop, kTimeout);
    co_await wait;
    co_return doubt;
  }
  Sleep wait(line_.loop, there + back);
  co_await wait;
  line_.catch_up();
  World::Arrival arrival = world.arrival(ticket);
  if (!arrival.arrived) co_return doubt;
  if (arrival.refused) {
    ProviderError refusal;
    refusal.kind = ErrorKind::no_capacity;
    refusal.scope = Scope::offer;
    refusal.sent = Sent::rejected;
    refusal.message = "cloud: no capacity";
    co_return refusal;
  }
  Server* server = world.find(arrival.id);
  co_return instance_of(*server).handle;
}

Result<Found> CloudProvider::listed(const std::string& prefix, bool exact) {
  if (fails()) return no_answer("the list");
  Found found;
  for (const Server* server : line_.world.list(prefix, exact)) {
    found.instances.push_back(instance_of(*server));
  }
  if (line_.world.lists_are_partial()) {
    found.complete = false;
    if (!found.instances.empty()) found.instances.pop_back();
  }
  return found;
}

Co<Result<Found>> CloudProvider::find(std::string tag) {
  line_.world.touch("find");
  Sleep wait(line_.loop, delay());
  co_await wait;
  co_return listed(tag, true);
}

Co<Result<Found>> CloudProvider::list_all(std::string owner_prefix) {
  Sleep wait(line_.loop, delay());
  co_await wait;
  co_return listed(owner_prefix, false);
}

Co<Result<std::optional<Instance>>> CloudProvider::get(Handle handle) {
  Sleep wait(line_.loop, delay());
  co_await wait;
  if (fails()) co_return no_answer("get");
  Server* server = line_.world.find(handle.id);
  bool gone = !server || (server->ended > 0 && server->gone_at <= line_.world.now());
  if (gone) co_return std::optional<Instance>();
  co_return std::optional<Instance>(instance_of(*server));
}

Co<Result<Terminated>> CloudProvider::terminate(Handle handle) {
  World& world = line_.world;
  line_.catch_up();
  bool lost = fails();
  bool mute = world.dice().chance(world.weather().failing);
  Server* server = world.find(handle.id);
  double wait_seconds = delay();
  if (!lost && server) {
    world.terminate(*server, world.dice().chance(0.5) ? 0 : world.dice().between(0, 20));
  }
  Sleep wait(line_.loop, wait_seconds);
  co_await wait;
  line_.catch_up();
  if (lost || mute) co_return no_answer("terminate");
  bool gone = !server || (server->ended > 0 && server->gone_at <= world.now());
  co_return gone ? Terminated::gone : Terminated::accepted;
}

Result<Json> CloudProvider::bill() {
  line_.catch_up();
  return Json{{"usd", line_.world.bill()}};
}

Instance CloudProvider::instance_of(const Server& server) const {
  double now = line_.world.now();
  double skew = line_.loop.wall() - line_.now();
  Instance instance;
  instance.handle.provider = "local";
  instance.handle.id = server.id;
  instance.handle.tag = server.tag;
  instance.price = server.price;
  instance.host = "cloud/" + server.id;
  instance.created = server.created + skew;
  instance.state = now < server.runs_at ? InstanceState::starting : InstanceState::running;
  if (server.taken(now)) instance.state = InstanceState::preempted;
  if (server.ended > 0) instance.state = InstanceState::stopping;
  instance.state_raw = to_text(*instance.state);
  return instance;
}

}  // namespace choline::sim
