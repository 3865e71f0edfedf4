// Keeps instances from ending themselves while this process lives: each is told again and again
// that somebody wants it. See docs/design/leases.md.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "durable/rent.h"
#include "link/agent_client.h"
#include "loop/await.h"

namespace choline {

class Instances;

// Of an instance with this row that its provider shows as `seen`.
LeaseRequest lease_terms(const ResourceRow& row, const Instance& seen, double now);
// Did it say that it is ending itself?
bool is_ending(const Error& error);

class Leases {
 public:
  explicit Leases(Instances& instances) : instances_(instances) {}
  Leases(const Leases&) = delete;
  Leases& operator=(const Leases&) = delete;

  // Seconds between two words to an instance with this lease.
  static double period(double lease);
  // One word over a new link. No word is needed where nothing is limited.
  Co<Status> tell(ResourceRow row, LeaseRequest terms, std::shared_ptr<AgentClient> agent);
  // A word at once and then again and again, for as long as the row lives. Opens the link when
  // there is none.
  void hold(const std::string& tag);
  // The same for all that lives of a run.
  Status hold_run(const std::string& run);
  void drop(const std::string& tag);

 private:
  struct Held {
    LeaseRequest terms;
    double lived_at = 0;  // ticks of loop when terms.lived was right
    double told_at = 0;   // ticks
    Started renewing;
  };
  Co<int> renew_on(std::string tag);
  Co<Status> say(ResourceRow row, LeaseRequest terms, std::shared_ptr<AgentClient> agent);
  void note(const ResourceRow& row, double until, double lease);

  Instances& instances_;
  std::map<std::string, std::shared_ptr<Held>> held_;
};

}  // namespace choline
