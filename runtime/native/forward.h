// Local ports that lead through the link of an instance; they stay while links come and go.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "durable/instances.h"
#include "link/relay.h"
#include "loop/await.h"

namespace choline {

class Forwards {
 public:
  struct Listen {
    std::string address = "127.0.0.1";  // numbers
    int port = 0;                       // 0: any that is free
    int tries = 1;                      // so many ports, one after the other
  };

  Forwards(Instances& instances, std::string tag);
  Forwards(const Forwards&) = delete;
  Forwards& operator=(const Forwards&) = delete;
  ~Forwards();

  // Gives the port. Kind conflict when it is taken.
  Result<int> listen(const Listen& where, RelayTarget target);
  // What happened next: {event = "linked" | "lost" | "refused", text, target}. An error when the
  // instance is no more, or cannot be reached.
  Co<Result<Json>> next();

 private:
  struct Door;
  struct Visit;
  Co<Status> keep_link();
  Co<Status> accept_all(Door& door);
  Co<Status> serve(UniqueFd near, RelayTarget target);
  void tell(Json event);

  Instances& instances_;
  std::string tag_;
  std::deque<Json> events_;
  size_t left_out_ = 0;  // events that nobody has asked for in time
  std::optional<Error> failed_;
  Event changed_;     // an event, or the failure
  Event visit_over_;  // there is room for another connection
  Event link_lost_;
  std::list<std::unique_ptr<Door>> doors_;
  std::map<uint64_t, std::unique_ptr<Visit>> visits_;
  uint64_t last_visit_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with posts, weakly
  Started keeping_;
};

}  // namespace choline
