// The provider of the model: whatever may go either way is asked of a chooser, so that all ways
// can be tried one after the other.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "loop/sim_loop.h"
#include "provider/contract.h"

namespace choline::sim {

constexpr double kFlight = 4, kLag = 4;  // seconds: of a request, and of a list, at most

// Goes through all sequences of choices, depth first. Beside the first way each costs one fault.
// Of several that share the work each takes its part of the places and ways of the first fault.
class Chooser {
 public:
  explicit Chooser(int faults, int share = 0, int shares = 1)
      : faults_(faults), share_(share), shares_(shares) {}

  int choose(int ways, const char* what);
  void begin();  // of the next history
  bool next();   // false when all were tried
  std::string told() const;

 private:
  struct Choice {
    int taken, ways;
    const char* what;
  };
  std::vector<Choice> path_;
  size_t at_ = 0;
  bool skips() const;
  int faults_, share_, shares_, left_ = 0;
};

struct ModelServer {
  std::string id, tag;
  double created = 0, seen_at = 0, ended = 0;
  bool second = false;  // made by the provider itself beside the one that was asked for
};

// What is outside choline in one history.
struct ModelCloud {
  explicit ModelCloud(Chooser& the_chooser) : chooser(the_chooser) {}

  void advance(double to);
  void launch(const std::string& tag, double arrives, bool twice, bool lag);
  void violate(const std::string& what) {
    if (violation.empty()) violation = what;
  }
  std::vector<std::string> alive() const;

  struct Flight {
    std::string tag;
    double arrives = 0;
    bool twice = false, lag = false, arrived = false;
  };
  Chooser& chooser;
  double now = 0;
  double partial_until = 0;
  std::vector<Flight> flights;
  std::vector<ModelServer> servers;
  std::string violation;
  std::function<void()> die;  // ends the present process

 private:
  void arrive(const Flight& flight);
};

// A process's line to it. Nothing that it sends when it is dead arrives.
class ModelProvider : public Provider {
 public:
  ModelProvider(ModelCloud& cloud, SimLoop& loop, double base, const bool& dead, double settle);

  const Caps& caps() const override { return caps_; }
  Co<Result<std::string>> check(Json settings) override;
  Co<Result<Offers>> offers(OfferQuery query) override;
  Co<Launched> launch(Spec spec, Offer offer, std::string token) override;
  Co<Result<Found>> find(std::string tag) override;
  Co<Result<std::optional<Instance>>> get(Handle handle) override;
  Co<Result<Terminated>> terminate(Handle handle) override;
  Co<Result<Found>> list_all(std::string owner_prefix) override;

 private:
  double catch_up();
  static Instance instance_of(const ModelServer& server);

  ModelCloud& cloud_;
  SimLoop& loop_;
  double base_;
  const bool& dead_;
  Caps caps_;
};

}  // namespace choline::sim
