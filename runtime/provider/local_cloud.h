// The cloud behind the `local` provider: instances are folders, with books of its own that know
// nothing of choline's store and so can prove what was really rented, and for how long. Blocking;
// safe between processes (one lock file).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "provider/contract.h"

namespace choline {

// What this machine has to offer.
struct HostFacts {
  std::string host;
  int cpus = 0;
  int64_t memory = 0;
  std::vector<Gpu> gpus;  // one entry for each kind
};
// Blocking: asks nvidia-smi where there is one.
HostFacts read_host_facts();

// The provider's settings in a cholfile: here { price = …, capacity = … }.
struct LocalSettings {
  double price = 0;   // USD per hour
  int capacity = -1;  // instances alive at once; below 0: no limit
  bool spot = false;
  double delay = 0;     // seconds until an instance is running
  double lifetime = 0;  // seconds after which the provider takes it away, 0: never
};
Result<LocalSettings> local_settings(const Json& settings);

struct LocalLaunch {
  std::string tag;
  std::string name;
  double price = 0;
  int capacity = -1;
  bool spot = false;
  double delay = 0;
  double lifetime = 0;
  double lease = 0;
  bool preempts = false;  // a spot instance whose lifetime is over was taken away
};

class LocalCloud {
 public:
  explicit LocalCloud(std::string root) : root_(std::move(root)) {}

  Launched launch(const LocalLaunch& launch, double now);
  Result<std::optional<Instance>> get(const std::string& id, double now);
  // All that are listed now: the drill's list lag hides the newest.
  Result<Found> list(const std::string& tag_prefix, double now);
  Result<Terminated> terminate(const std::string& id, double now);
  Result<Json> drill(const Json& fault, double now);
  Result<Json> bill(double now) const;

  // Longest lag of the list that a drill may cause.
  static constexpr double kMostLag = 2;

 private:
  class Lock;
  struct Book;  // one instance's meta.json

  Result<std::optional<Book>> read_book(const std::string& id) const;
  Status write_book(const Book& book) const;
  Result<std::vector<Book>> books() const;
  Status append_bill(const Json& entry) const;
  Status end(Book& book, const std::string& state, const std::string& reason, double now);
  struct Due;
  Result<std::optional<Due>> due(const Book& book, double now) const;
  Status expire(double now);
  Instance instance_of(const Book& book, double now) const;
  Result<Json> read_faults() const;
  Status write_faults(const Json& faults) const;
  Result<Json> take_fault(const std::string& action);
  Result<Json> drill_instance(const std::string& action, const std::string& which, double now);
  Launched create(const LocalLaunch& launch, const Json& delayed, double now);
  std::string folder(const std::string& id) const { return root_ + "/instances/" + id; }

  std::string root_;
};

}  // namespace choline
