#include "provider/local.h"

#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>

#include "base/text.h"
#include "loop/await.h"

namespace choline {
namespace {

std::vector<Gpu> ask_nvidia_smi() {
  std::vector<Gpu> gpus;
  if (access("/dev/nvidiactl", F_OK) != 0) return gpus;
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      popen("nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits 2>/dev/null",
            "re"),
      pclose);
  if (!pipe) return gpus;
  char line[256];
  while (std::fgets(line, sizeof line, pipe.get())) add_gpu(gpus, line);
  return gpus;
}

int64_t free_disk(const std::string& root) {
  std::error_code ignored;  // the place is only measured here; launch says what is wrong with it
  std::filesystem::create_directories(root, ignored);
  struct statvfs space {};
  if (statvfs(root.c_str(), &space) != 0) return 0;
  return static_cast<int64_t>(space.f_bavail) * static_cast<int64_t>(space.f_frsize);
}

Offers offers_of(const OfferQuery& query, const LocalSettings& settings, const HostFacts& facts,
                 int64_t disk) {
  Offers result;
  Offer offer;
  offer.id = "local";
  offer.provider = "local";
  offer.region = "here";
  offer.type = "folder";
  offer.price = settings.price;
  offer.spot = settings.spot;
  offer.raw = {{"host", facts.host}, {"settings", query.settings}};
  Machine machine{"this machine", facts.cpus, facts.memory, disk, facts.gpus};
  result.reasons = misfits(query, machine, offer);
  if (!query.region.empty() && query.region != offer.region) {
    std::string text = "region " + choline::quoted(query.region) + " wanted; there is only 'here'";
    result.reasons.push_back(Offers::Reason{ErrorKind::no_capacity, std::move(text)});
  }
  if (result.reasons.empty()) result.offers.push_back(std::move(offer));
  return result;
}

}  // namespace

HostFacts read_host_facts() {
  HostFacts facts;
  char name[256] = "";
  if (gethostname(name, sizeof name - 1) == 0) facts.host = name;
  facts.cpus = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  struct sysinfo info {};
  if (sysinfo(&info) == 0) {
    facts.memory = static_cast<int64_t>(info.totalram) * static_cast<int64_t>(info.mem_unit);
  }
  facts.gpus = ask_nvidia_smi();
  return facts;
}

Result<LocalSettings> local_settings(const Json& settings) {
  LocalSettings result;
  if (settings.is_null() || (settings.is_array() && settings.empty())) return result;
  if (!settings.is_object())
    return Error(ErrorKind::invalid, "local: expected a table of settings");
  for (const auto& [key, value] : settings.items()) {
    if (value.is_null()) continue;
    if (key == "spot") {
      if (!value.is_boolean()) return Error(ErrorKind::invalid, "local: spot: expected a boolean");
      result.spot = value.get<bool>();
      continue;
    }
    bool known = key == "price" || key == "capacity" || key == "delay" || key == "lifetime";
    if (!known) continue;  // other keys of the word are the language's business
    if (!value.is_number() || value.get<double>() < 0) {
      return Error(ErrorKind::invalid,
                   "local: " + key + ": expected a number of 0 or more, got " + value.dump());
    }
    if (key == "price") result.price = value.get<double>();
    if (key == "capacity") result.capacity = static_cast<int>(std::min(value.get<double>(), 1e6));
    if (key == "delay") result.delay = value.get<double>();
    if (key == "lifetime") result.lifetime = value.get<double>();
  }
  return result;
}

LocalProvider::LocalProvider(Loop& loop, std::string root) : loop_(loop), root_(std::move(root)) {
  caps_.name = "local";
  caps_.idempotency = Idempotency::lookup;
  caps_.settle = LocalCloud::kMostLag + 1;  // a launch is in flight only while its process lives
  caps_.poll = 1;
  caps_.spot = true;
  caps_.lifetime = true;
  caps_.drill = true;
  caps_.kind = "folder";
}

Co<Result<std::string>> LocalProvider::check(Json settings) {
  Result<LocalSettings> read = local_settings(settings);
  if (!read) co_return read.error();
  HostFacts facts = read_host_facts();
  co_return facts.host;
}

Co<Result<Offers>> LocalProvider::offers(OfferQuery query) {
  Result<LocalSettings> settings = local_settings(query.settings);
  if (!settings) co_return settings.error();
  std::function<Offers()> look = [query, settings = *settings, root = root_] {
    return offers_of(query, settings, read_host_facts(), free_disk(root));
  };
  OnWorker<Offers> work(loop_, std::move(look));
  Offers found = co_await work;
  co_return found;
}

Co<Launched> LocalProvider::launch(Spec spec, Offer offer, std::string token) {
  Json from = spec.settings;
  if (from.is_null() && offer.raw.is_object()) from = offer.raw.value("settings", Json(nullptr));
  Result<LocalSettings> settings = local_settings(from);
  if (!settings) {
    ProviderError error;
    error.kind = ErrorKind::invalid;
    error.sent = Sent::no;
    error.message = settings.error().message;
    co_return error;
  }
  LocalLaunch wanted;
  wanted.tag = token;
  wanted.name = spec.name;
  wanted.price = settings->price;
  wanted.capacity = settings->capacity;
  wanted.spot = settings->spot || spec.spot;
  wanted.delay = settings->delay;
  wanted.lifetime = settings->lifetime;
  wanted.lease = spec.lease;
  wanted.preempts = wanted.spot;
  if (spec.lifetime > 0 && (wanted.lifetime == 0 || spec.lifetime < wanted.lifetime)) {
    wanted.lifetime = spec.lifetime;
    wanted.preempts = false;  // its owner wanted no more
  }
  std::function<Launched()> act = [root = root_, wanted, now = loop_.wall()] {
    return LocalCloud(root).launch(wanted, now);
  };
  OnWorker<Launched> work(loop_, std::move(act));
  Launched launched = co_await work;
  co_return launched;
}

Co<Result<Found>> LocalProvider::find(std::string tag) {
  std::function<Result<Found>()> act = [root = root_, tag, now = loop_.wall()] {
    Result<Found> found = LocalCloud(root).list(tag, now);
    if (found) {
      std::erase_if(found->instances, [&](const Instance& one) { return one.handle.tag != tag; });
    }
    return found;
  };
  OnWorker<Result<Found>> work(loop_, std::move(act));
  Result<Found> found = co_await work;
  co_return found;
}

Co<Result<std::optional<Instance>>> LocalProvider::get(Handle handle) {
  std::function<Result<std::optional<Instance>>()> act =
      [root = root_, id = handle.id, now = loop_.wall()] { return LocalCloud(root).get(id, now); };
  OnWorker<Result<std::optional<Instance>>> work(loop_, std::move(act));
  Result<std::optional<Instance>> found = co_await work;
  co_return found;
}

Co<Result<Terminated>> LocalProvider::terminate(Handle handle) {
  std::function<Result<Terminated>()> act = [root = root_, id = handle.id, now = loop_.wall()] {
    return LocalCloud(root).terminate(id, now);
  };
  OnWorker<Result<Terminated>> work(loop_, std::move(act));
  Result<Terminated> ended = co_await work;
  co_return ended;
}

Co<Result<Found>> LocalProvider::list_all(std::string owner_prefix) {
  std::function<Result<Found>()> act = [root = root_, owner_prefix, now = loop_.wall()] {
    return LocalCloud(root).list(owner_prefix, now);
  };
  OnWorker<Result<Found>> work(loop_, std::move(act));
  Result<Found> found = co_await work;
  co_return found;
}

Co<Result<Json>> LocalProvider::drill(Json fault) {
  std::function<Result<Json>()> act = [root = root_, fault, now = loop_.wall()] {
    return LocalCloud(root).drill(fault, now);
  };
  OnWorker<Result<Json>> work(loop_, std::move(act));
  Result<Json> told = co_await work;
  co_return told;
}

Result<Json> LocalProvider::bill() {
  return LocalCloud(root_).bill(loop_.wall());
}

}  // namespace choline
