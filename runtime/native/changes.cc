// native.fs.changed: waits for files that grow, without looking at them again and again.
#include "native/changes.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "loop/await.h"

namespace choline {

namespace {

constexpr uint32_t kGrown = IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF | IN_ATTRIB;
constexpr uint32_t kAppeared = IN_CREATE | IN_MOVED_TO;

// Waits for one of the watches; the watches of files are in `files`.
Co<std::string> wait_for_event(Loop& loop, int notify, const std::map<int, bool>& files) {
  std::string seen;
  while (seen.empty()) {
    co_await FdReady(loop, notify, kReadable);
    alignas(inotify_event) char buffer[4096];
    ssize_t got = ::read(notify, buffer, sizeof buffer);
    if (got <= 0) continue;
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<inotify_event*>(buffer + at);
      auto found = files.find(event->wd);
      bool is_file = found != files.end() && found->second;
      if (is_file || seen.empty()) seen = is_file ? "files" : "others";
      at += static_cast<ssize_t>(sizeof *event + event->len);
    }
  }
  co_return seen;
}

bool differs(const std::string& path, const Json& size) {
  struct stat facts {};
  int64_t now = ::stat(path.c_str(), &facts) == 0 ? facts.st_size : 0;
  return now != (size.is_number() ? size.get<int64_t>() : 0);
}

}  // namespace

Co<Result<Json>> fs_changed(Services& services, Json args) {
  const Json& sizes = arg(args, 0);
  Result<std::vector<std::string>> others = texts_arg(args, 1, "fs.changed");
  if (!others) co_return others.error();
  Result<double> seconds = number_arg(args, 2, "fs.changed");
  if (!seconds) co_return seconds.error();
  UniqueFd notify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  std::map<int, bool> files;  // by watch
  for (auto each = sizes.begin(); notify && each != sizes.end(); ++each) {
    int id = ::inotify_add_watch(notify.get(), each.key().c_str(), kGrown);
    if (id >= 0) files[id] = true;
  }
  for (const std::string& path : *others) {
    if (!notify) break;
    int id = ::inotify_add_watch(notify.get(), path.c_str(), kGrown | kAppeared);
    if (id >= 0) files.emplace(id, false);
  }
  // After the watches are set: what changes from here on is an event.
  for (auto each = sizes.begin(); each != sizes.end(); ++each) {
    if (differs(each.key(), *each)) co_return Json("files");
  }
  // Where there are no more watches to be had, it is looked at often instead.
  constexpr double kWithout = 0.2;
  if (!notify || files.empty()) {
    Sleep pause(services.loop, std::min(*seconds, kWithout));
    co_await pause;
    co_return Json("files");
  }
  Co<std::string> waiting = wait_for_event(services.loop, notify.get(), files);
  std::optional<std::string> seen =
      co_await WithTimeout<std::string>(services.loop, *seconds, std::move(waiting));
  co_return seen ? Json(*seen) : Json();
}

}  // namespace choline
