// Waits for changes below a place, here or on an instance.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "link/agent_channel.h"
#include "loop/await.h"
#include "loop/co.h"
#include "native/services.h"
#include "transfer/watch_tree.h"

namespace choline {

class AgentClient;  // link/agent_client.h

// Nothing that changes after open() is missed, whether or not somebody waits meanwhile.
class Watching {
 public:
  // `side` as of a transfer; `options`: {exclude, include_ignored}. Kind not_found when nothing is
  // there; unsupported when the agent there is too old to tell.
  static Co<Result<std::unique_ptr<Watching>>> open(Services& services, Json side, Json options);
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;

  // False when nothing changed for `most` seconds. The Co may be destroyed: what it had seen by
  // then is told to the next.
  Co<Result<bool>> changed(double most);
  // Why changes can escape it, or nothing.
  const std::string& limited() const { return tree_ ? tree_->limited() : limited_; }

 private:
  explicit Watching(Loop& loop) : loop_(loop) {}
  Co<Result<bool>> changed_here(double most);
  Co<Result<bool>> changed_there(double most);
  Co<Status> gather();
  Co<Status> hear();

  Loop& loop_;
  std::unique_ptr<TreeWatch> tree_;  // here
  Quiet quiet_;
  std::shared_ptr<AgentClient> agent_;  // there: shared with all who use the link
  std::unique_ptr<AgentChannel> channel_;
  std::string limited_;
  bool watching_ = false, asked_ = false, told_ = false;
};

}  // namespace choline
