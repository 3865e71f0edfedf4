// What is true outside choline in a simulation, and survives its crashes: a cloud with instances
// and the commands on them, a bill, and the invariants that are watched while all this changes.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "sim/random.h"

namespace choline::sim {

// How bad the world of one seed is. All times in seconds.
struct Weather {
  double latency = 1;     // of a request, at most, most of the time
  double flight = 8;      // of a request, ever
  double lag = 8;         // of a list, ever
  double settle = 20;     // what the provider declares: more than both together
  double lost = 0;        // probabilities for a launch: its request is lost,
  double lost_reply = 0;  // its reply is lost,
  double refused = 0;     // it is refused for want of capacity,
  double doubled = 0;     // and two are made when the reply is lost
  double failing = 0;     // any other request fails
  bool together = false;  // both are seen at once
  double partial = 0;     // lists begin to be incomplete, for up to a minute
  double preempted = 0;   // an instance is taken away within `life`
  double life = 300;
  double broken_link = 0;  // a link dies within a minute
  double crashing = 0;     // a command ends with an error
};
Weather weather_of(uint64_t seed);

struct Command {
  std::string key;
  double started = 0, seconds = 0;
  int code = 0, signal = 0;
  bool oom = false;
  std::vector<std::pair<double, std::string>> lines;  // of its log, by seconds since its start
  size_t applied = 0;                                 // lines whose effects have happened

  double ends() const { return started + seconds; }
  std::string log(double now) const;
  std::optional<double> next_change(double now) const;  // the time of the next line, or of its end
};

struct Server {
  std::string id, tag;
  double created = 0, runs_at = 0, seen_at = 0;  // seen_at: when lists begin to show it
  double preempted_at = 0, ended = 0;            // 0: not
  double gone_at = 0;                            // when the end is complete
  double price = 0;
  std::map<std::string, Command> commands;
  std::set<std::string> checkpoints;

  bool taken(double now) const { return preempted_at > 0 && preempted_at <= now; }
  // Does it cost money now?
  bool alive(double now) const { return ended == 0 && !taken(now); }
};

class World {
 public:
  explicit World(uint64_t seed);

  double now() const { return now_; }
  // Time moves on; whatever was due meanwhile has happened.
  void advance(double to);

  // A launch on its way: it arrives whether or not anybody waits for the reply.
  // One whose reply will not be heard may be made twice, by whatever repeats requests on the way.
  int send_launch(const std::string& tag, double price, double arrives, bool unheard);
  struct Arrival {
    bool arrived = false, refused = false;
    std::string id;
  };
  Arrival arrival(int ticket) const;
  Server* find(const std::string& id);
  std::vector<const Server*> list(const std::string& prefix, bool exact) const;
  bool lists_are_partial();
  void terminate(Server& server, double until_gone);

  // An agent's view: the command, and whether it was there before.
  std::pair<Command*, bool> start(Server& server, const std::string& key, const Json& command,
                                  const Json& info);
  void signal(Command& command, int number);

  // A crash of choline, or another reason why nothing from it may have effects any more.
  Dice& dice() { return dice_; }
  const Weather& weather() const { return weather_; }
  uint64_t seed() const { return seed_; }
  std::vector<std::string> alive() const;  // told in words
  double bill() const;                     // USD
  size_t launches() const { return servers_.size(); }

  void violate(const std::string& what);
  const std::vector<std::string>& violations() const { return violations_; }
  // While set, whatever would touch the cloud is a violation: a replay must need nothing.
  bool sealed = false;
  void touch(const char* what) {
    if (sealed) violate(std::string("a replay of the finished run did: ") + what);
  }

  std::set<std::string> checkpoints_here;
  std::map<std::string, int> starts;  // of each key of a command, over all instances
  int clock_jumps = 0;

 private:
  struct Flight {
    std::string tag;
    double price = 0, arrives = 0;
    bool refused = false, doubled = false;
    Arrival arrival;
  };
  void arrive(Flight& flight);
  Server& make(Flight& flight);
  void check_single(const std::string& tag);

  uint64_t seed_;
  Dice dice_;
  Weather weather_;
  double now_ = 0;
  double partial_until_ = 0;
  std::vector<Flight> flights_;
  std::map<std::string, Server> servers_;
  std::vector<std::string> violations_;
};

}  // namespace choline::sim
