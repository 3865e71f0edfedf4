// The Vast.ai driver against tests/fakes/vast.py: a real HTTP server with offers, containers that
// run, faults and a bill. Its JSON by itself too, where the fake does not go.
#include "provider/vast.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "../build_folder.h"
#include "base/text.h"
#include "loop/await.h"
#include "loop/epoll_loop.h"
#include "provider/vast_json.h"

namespace choline {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFakeFakeFake choline";

class FakeVast {
 public:
  FakeVast() {
    char name[] = "/tmp/choline-vast-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    folder = name;
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      std::string program = source_folder() + "/tests/fakes/vast.py";
      std::string place = folder + "/fake";
      dup2(ends[1], 1);
      execlp("python3", "python3", program.c_str(), place.c_str(), nullptr);
      _exit(127);
    }
    close(ends[1]);
    std::unique_ptr<FILE, int (*)(FILE*)> out(fdopen(ends[0], "r"), fclose);
    char line[200] = {};
    REQUIRE(std::fgets(line, sizeof line, out.get()) != nullptr);
    url = std::string(trim(line));
  }
  ~FakeVast() {
    kill(pid_, SIGINT);  // it ends its containers
    waitpid(pid_, nullptr, 0);
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
  std::string folder, url;

 private:
  pid_t pid_ = -1;
};

struct VastHere {
  FakeVast fake;
  EpollLoop loop;
  Http http{loop};
  std::string key = "vast-account-key";
  VastProvider vast{loop, world()};

  VastWorld world() {
    VastWorld made;
    made.url = fake.url;
    made.folder = fake.folder + "/pace";
    made.pace = 0.001;
    made.api_key = [this] { return Result<std::string>(key); };
    made.public_key = [] { return Result<std::string>(kKey); };
    return made;
  }

  template <class T>
  T finish(Co<T> work) {
    std::optional<T> result;
    Started started(std::move(work), std::function<void(T)>([&](T value) {
                      result.emplace(std::move(value));
                      loop.stop();
                    }));
    if (!result) loop.run();
    started.check();
    REQUIRE(result.has_value());
    return std::move(*result);
  }

  // A method of the fake itself.
  Json control(const std::string& name, Json arguments = Json::object()) {
    HttpRequest request;
    request.method = "POST";
    request.url = fake.url + "/fake/" + name;
    request.body = to_text(arguments);
    Result<HttpResponse> response = finish(http.fetch(std::move(request)));
    REQUIRE(response.ok());
    REQUIRE(response->status == 200);
    Result<Json> told = parse_json(response->body);
    REQUIRE(told.ok());
    return *told;
  }
  void cause(const std::string& fault, Json more = Json::object()) {
    more["fault"] = fault;
    control("cause", more);
  }
  size_t alive() { return control("alive").size(); }

  Offer offer(bool spot = false, Json settings = Json::object()) {
    OfferQuery query;
    query.gpu = {"RTX 4090"};
    query.disk = 20'000'000'000;
    query.spot = spot;
    query.settings = std::move(settings);
    Result<Offers> found = finish(vast.offers(query));
    REQUIRE(found.ok());
    REQUIRE(!found->offers.empty());
    return found->offers.front();
  }
  Launched launch(const std::string& tag, bool spot = false, Json settings = Json::object()) {
    Spec spec;
    spec.name = "gpu";
    spec.disk = 20'000'000'000;
    spec.spot = spot;
    return finish(vast.launch(spec, offer(spot, std::move(settings)), tag));
  }
  Instance instance(const Handle& handle) {
    Result<std::optional<Instance>> found = finish(vast.get(handle));
    REQUIRE(found.ok());
    REQUIRE(found->has_value());
    return **found;
  }
  Instance wait_for(const Handle& handle, InstanceState state) {
    for (;;) {
      Instance now = instance(handle);
      if (now.state == state) return now;
      std::function<Co<bool>()> nap = [this]() -> Co<bool> {
        Sleep pause(loop, 0.02);
        co_await pause;
        co_return true;
      };
      finish(nap());
    }
  }
};

Handle handle_of(const Launched& launched) {
  REQUIRE(std::holds_alternative<Handle>(launched));
  return std::get<Handle>(launched);
}
ProviderError error_of(const Launched& launched) {
  REQUIRE(std::holds_alternative<ProviderError>(launched));
  return std::get<ProviderError>(launched);
}

TEST_CASE("an instance is found, launched, told, and ended for good") {
  VastHere world;
  Offer offer = world.offer();
  CHECK(offer.gpu->name == "RTX 4090");
  // The GPU by the hour and 20 GB of disk, which is paid by the month.
  CHECK(offer.price == doctest::Approx(0.40 + 0.144 * 20 / 720));
  CHECK(offer.region == "DE");
  Handle handle = handle_of(world.launch("cho-a-1"));
  Instance running = world.wait_for(handle, InstanceState::running);
  CHECK(running.handle.tag == "cho-a-1");
  CHECK(running.endpoint.kind == Endpoint::Kind::ssh);
  CHECK(running.endpoint.ssh.user == "root");
  CHECK(running.expires > running.created);
  Result<Found> found = world.finish(world.vast.find("cho-a-1"));
  REQUIRE(found.ok());
  CHECK(found->complete);
  REQUIRE(found->instances.size() == 1);
  CHECK(found->instances.front().handle.id == handle.id);
  CHECK(world.finish(world.vast.find("cho-a-2"))->instances.empty());
  CHECK(world.finish(world.vast.list_all("cho-a-"))->instances.size() == 1);
  CHECK(world.finish(world.vast.list_all("cho-b-"))->instances.empty());
  CHECK(*world.finish(world.vast.terminate(handle)) == Terminated::accepted);
  CHECK_FALSE(world.finish(world.vast.get(handle))->has_value());
  CHECK(*world.finish(world.vast.terminate(handle)) == Terminated::gone);
  CHECK(world.alive() == 0);
}

TEST_CASE("the key that may log in is there, and the account's is nowhere") {
  VastHere world;
  Handle handle = handle_of(world.launch("cho-a-1"));
  world.wait_for(handle, InstanceState::running);
  std::string home = world.fake.folder + "/fake/" + handle.id + "/home";
  std::ifstream keys(home + "/.ssh/authorized_keys");
  std::string line;
  REQUIRE(std::getline(keys, line));
  CHECK(line == kKey);
  for (const Json& request : world.control("asked")) {
    CHECK(request.dump().find(world.key) == std::string::npos);  // of bodies and paths
  }
}

TEST_CASE("a reply that is lost leaves a doubt, and the instance is found by its tag") {
  VastHere world;
  Offer offer = world.offer();
  world.cause("lose_reply");
  Spec spec;
  ProviderError lost = error_of(world.finish(world.vast.launch(spec, offer, "cho-a-1")));
  CHECK(lost.sent == Sent::unknown);
  CHECK(world.finish(world.vast.find("cho-a-1"))->instances.size() == 1);
  // The offer is taken by it: the same one cannot be rented again by mistake.
  ProviderError taken = error_of(world.finish(world.vast.launch(spec, offer, "cho-a-1")));
  CHECK(taken.kind == ErrorKind::no_capacity);
  CHECK(taken.sent == Sent::rejected);
  CHECK(taken.scope == Scope::offer);
}

TEST_CASE("an instance that lists do not show yet comes later, and a partial list says so") {
  VastHere world;
  world.cause("hide", {{"seconds", 0.5}});
  handle_of(world.launch("cho-a-1"));
  CHECK(world.finish(world.vast.find("cho-a-1"))->instances.empty());
  while (world.finish(world.vast.find("cho-a-1"))->instances.empty()) continue;
  world.cause("partial_list");
  Result<Found> partial = world.finish(world.vast.list_all("cho-"));
  REQUIRE(partial.ok());
  CHECK_FALSE(partial->complete);
}

TEST_CASE("a bid that is too low is refused and names what was made in spite of it") {
  VastHere world;
  Offer offer = world.offer(true);
  CHECK(offer.price == doctest::Approx(0.20 + 0.144 * 20 / 720));
  offer.raw["bid"] = 0.01;
  Spec spec;
  spec.spot = true;
  ProviderError low = error_of(world.finish(world.vast.launch(spec, offer, "cho-a-1")));
  CHECK(low.kind == ErrorKind::price);
  REQUIRE(low.created_id.has_value());
  CHECK(world.alive() == 1);
  Handle handle;
  handle.id = *low.created_id;
  CHECK(*world.finish(world.vast.terminate(handle)) == Terminated::accepted);
  CHECK(world.alive() == 0);
}

TEST_CASE("outbid is preempted, and back by itself when the bid wins again") {
  VastHere world;
  Handle handle = handle_of(world.launch("cho-a-1", true));
  world.wait_for(handle, InstanceState::running);
  world.control("outbid", {{"number", std::stoi(handle.id)}});
  Instance outbid = world.instance(handle);
  CHECK(outbid.state == InstanceState::preempted);
  CHECK(outbid.reason.find("outbid (others bid more)") == 0);
  world.control("bid_wins_again", {{"number", std::stoi(handle.id)}});
  CHECK(world.instance(handle).state == InstanceState::running);
}

TEST_CASE("a host without connection is in no state that is known") {
  VastHere world;
  Handle handle = handle_of(world.launch("cho-a-1"));
  world.wait_for(handle, InstanceState::running);
  world.control("take_offline", {{"number", std::stoi(handle.id)}});
  Instance offline = world.instance(handle);
  CHECK_FALSE(offline.state.has_value());
  CHECK(offline.state_raw == "offline/running");
}

TEST_CASE("refusals are told by what they mean") {
  VastHere world;
  Offer offer = world.offer();
  Spec spec;
  world.cause("no_such_ask");
  CHECK(error_of(world.finish(world.vast.launch(spec, offer, "t"))).kind == ErrorKind::no_capacity);
  world.cause("insufficient_credit");
  ProviderError poor = error_of(world.finish(world.vast.launch(spec, offer, "t")));
  CHECK(poor.kind == ErrorKind::quota);
  CHECK(poor.scope == Scope::account);
  world.cause("server_error");
  ProviderError broken = error_of(world.finish(world.vast.launch(spec, offer, "t")));
  CHECK(broken.kind == ErrorKind::transient);
  CHECK(broken.sent == Sent::unknown);
  world.cause("rate_limit", {{"retry_after", 0.01}});
  ProviderError limited = error_of(world.finish(world.vast.launch(spec, offer, "t")));
  CHECK(limited.kind == ErrorKind::transient);
  CHECK(limited.sent == Sent::rejected);
  CHECK(limited.retry_after == 0.01);
  world.key = "another";
  Result<std::string> account = world.finish(world.vast.check(nullptr));
  REQUIRE(!account.ok());
  CHECK(account.error().kind == ErrorKind::auth);
  CHECK(account.error().message.find("another") == std::string::npos);
  CHECK(world.alive() == 0);
}

TEST_CASE("an image that does not start is failed, with the host's words") {
  VastHere world;
  world.cause("boot_error");
  Instance failed = world.instance(handle_of(world.launch("cho-a-1")));
  CHECK(failed.state == InstanceState::failed);
  CHECK(failed.reason.find("OCI runtime create failed") != std::string::npos);
}

TEST_CASE("a refused end is no end, and one that takes long is seen to its end") {
  VastHere world;
  Handle handle = handle_of(world.launch("cho-a-1"));
  world.cause("refuse_delete");
  CHECK_FALSE(world.finish(world.vast.terminate(handle)).ok());
  CHECK(world.alive() == 1);
  world.cause("slow_delete", {{"seconds", 0.3}});
  CHECK(*world.finish(world.vast.terminate(handle)) == Terminated::accepted);
  CHECK(world.finish(world.vast.get(handle))->has_value());
  while (world.finish(world.vast.get(handle))->has_value()) continue;
  CHECK(world.alive() == 0);
}

TEST_CASE("the instance can end itself with its own key, and with nothing else") {
  VastHere world;
  Handle handle = handle_of(world.launch("cho-a-1"));
  Instance running = world.wait_for(handle, InstanceState::running);
  // As its agent would run it: by its first process's environment, in its own namespace.
  std::string find =
      "for f in /proc/[0-9]*/environ; do tr '\\0' '\\n' <$f 2>/dev/null | "
      "grep -qx CONTAINER_ID=" +
      handle.id + " && basename $(dirname $f); done 2>/dev/null | sort -n";
  std::string inside = "for pid in $(" + find +
                       "); do nsenter -t $pid -p -m -- \"$@\" && exit 0; "
                       "done; exit 1";
  std::vector<std::string> words = {"sh", "-c", inside, "sh"};
  words.insert(words.end(), running.endpoint.end.begin(), running.endpoint.end.end());
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  while (world.alive() != 0) {
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) == pid) break;
  }
  CHECK(world.alive() == 0);
}

TEST_CASE("searches ask for what the query says, and nothing with another name passes") {
  OfferQuery query;
  query.gpu = {"A100-80GB:2", "RTX 4090"};
  query.cpus = 8;
  query.settings = {{"countries", {"DE", "SE"}}, {"reliability", 0.98}, {"cuda", 12.4}};
  Result<VastSettings> settings = vast_settings(query.settings);
  REQUIRE(settings.ok());
  std::vector<std::string> names = {"A100 PCIE", "A100 SXM4", "RTX 4090", "RTX 4090 D", "H100 SXM"};
  std::vector<Json> searches = vast_searches(query, *settings, names);
  REQUIRE(searches.size() == 2);
  CHECK(searches[0]["num_gpus"]["eq"] == 1);
  CHECK(searches[1]["gpu_name"]["in"] == Json({"A100 PCIE", "A100 SXM4"}));
  CHECK(searches[1]["cuda_max_good"]["gte"] == 12.4);
  CHECK(searches[1]["geolocation"]["in"] == Json({"DE", "SE"}));
  CHECK(searches[1]["type"] == "on-demand");
  Json row = {{"id", 1},           {"gpu_name", "A100 SXM4"}, {"num_gpus", 2},
              {"gpu_ram", 81920},  {"cpu_cores", nullptr},    {"cpu_cores_effective", 32},
              {"cpu_ram", 500000}, {"dph_total", 1.5},        {"geolocation", nullptr}};
  Json small = row;
  small["gpu_ram"] = 40960;
  Result<Offers> offers = vast_offers({{"offers", {row, small}}}, query, *settings);
  REQUIRE(offers.ok());
  CHECK(offers->offers.size() == 1);
  query.gpu = {"MI300X"};
  CHECK(vast_searches(query, *settings, names).empty());
  CHECK_FALSE(vast_settings({{"reliability", 98}}).ok());
  CHECK_FALSE(vast_settings({{"countries", {"Germany"}}}).ok());
}

TEST_CASE("what costs more than is allowed is left out and told") {
  OfferQuery query;
  query.max_price = 1;
  Json rows = Json::array();
  for (double price : {2.0, 0.5, 1.5}) rows.push_back({{"id", 7}, {"dph_total", price}});
  Result<Offers> offers = vast_offers({{"offers", rows}}, query, VastSettings());
  REQUIRE(offers.ok());
  CHECK(offers->offers.size() == 1);
  REQUIRE(offers->reasons.size() == 1);
  CHECK(offers->reasons[0].text == "2 offers cost more than $1.00/h; the cheapest is $1.50/h");
  CHECK_FALSE(vast_offers({{"offers", nullptr}}, query, VastSettings()).ok());
}

}  // namespace
}  // namespace choline
