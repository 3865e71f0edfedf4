#include "agent/notifier.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace choline {

Notifier::~Notifier() {
  if (watch_) reactor_.unwatch(watch_);
}

Notifier::Id Notifier::watch(const std::string& folder, std::function<void(bool)> fn) {
  if (!inotify_) {
    inotify_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!inotify_) return 0;
    watch_ = reactor_.watch(inotify_.get(), POLLIN, [this](short) { read(); });
  }
  int number =
      ::inotify_add_watch(inotify_.get(), folder.c_str(), IN_MODIFY | IN_MOVED_TO | IN_CREATE);
  if (number < 0) return 0;
  Id id = ++last_id_;
  watches_.emplace(id, Watch{number, std::move(fn)});
  by_number_[number].insert(id);
  return id;
}

void Notifier::unwatch(Id id) {
  auto found = watches_.find(id);
  if (found == watches_.end()) return;
  auto numbered = by_number_.find(found->second.number);
  numbered->second.erase(id);
  if (numbered->second.empty()) {
    ::inotify_rm_watch(inotify_.get(), numbered->first);
    by_number_.erase(numbered);
  }
  watches_.erase(found);
}

void Notifier::read() {
  std::map<Id, bool> told;  // many changes are one
  alignas(inotify_event) char buffer[16384];
  ssize_t got = 0;
  while ((got = ::read(inotify_.get(), buffer, sizeof buffer)) > 0) {
    for (ssize_t at = 0; at < got;) {
      auto* event = reinterpret_cast<inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof *event + event->len);
      bool moved = (event->mask & (IN_MOVED_TO | IN_IGNORED)) != 0;
      if (event->mask & IN_Q_OVERFLOW) {
        for (const auto& entry : watches_) told[entry.first] = true;
      }
      auto numbered = by_number_.find(event->wd);
      if (numbered == by_number_.end()) continue;
      for (Id id : numbered->second) told[id] = told[id] || moved;
    }
  }
  for (const auto& [id, moved] : told) {
    auto found = watches_.find(id);
    if (found == watches_.end()) continue;  // one of the others has unwatched it
    std::function<void(bool)> fn = found->second.fn;
    fn(moved);
  }
}

}  // namespace choline
