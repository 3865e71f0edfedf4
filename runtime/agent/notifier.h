// Tells when something in a folder changes: one inotify for all who ask, since the kernel gives
// each user few of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "agent/reactor.h"
#include "base/unique_fd.h"

namespace choline {

class Notifier {
 public:
  using Id = uint64_t;

  explicit Notifier(Reactor& reactor) : reactor_(reactor) {}
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;
  ~Notifier();

  // `fn` gets true when something was moved there, or when that cannot be told. It may unwatch
  // itself and others. 0: the kernel has no watch to give; look by yourself.
  Id watch(const std::string& folder, std::function<void(bool moved)> fn);
  void unwatch(Id id);

 private:
  struct Watch {
    int number;  // the kernel's, which is one for each folder
    std::function<void(bool)> fn;
  };
  void read();

  Reactor& reactor_;
  UniqueFd inotify_;
  Reactor::Id watch_ = 0;
  std::map<Id, Watch> watches_;
  std::map<int, std::set<Id>> by_number_;
  Id last_id_ = 0;
};

}  // namespace choline
