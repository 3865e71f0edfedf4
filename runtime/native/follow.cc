// native.transfer.follow: a transfer again and again, after a time or when something changed.
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "loop/await.h"
#include "native/module.h"
#include "native/transfer.h"
#include "native/watch.h"

namespace choline {
namespace {

// What no watch tells: files mapped into memory, network file systems.
constexpr double kLookAnyway = 300;  // seconds
constexpr double kLookOften = 3;     // where a watch is not possible

bool has_moved(const Json& report) {
  for (const char* count : {"files", "deleted", "again", "conflicts"}) {
    if (report.contains(count) && report[count].is_number() && report[count] > 0) return true;
  }
  for (const char* list : {"sealed", "damaged", "dropped", "conflicts"}) {
    if (report.contains(list) && report[list].is_array() && !report[list].empty()) return true;
  }
  return false;
}

// The places of a sync whose changes matter.
std::vector<Json> watched_sides(const Json& fields) {
  std::vector<Json> sides = {field(fields, "from")};
  if (field(fields, "two_way") == true) sides.push_back(field(fields, "to"));
  return sides;
}

std::string watch_key(const Json& fields) {
  std::string key = text_field(fields, "name");
  for (const char* part : {"from", "to", "exclude", "include_ignored", "two_way"})
    key += "\n" + to_text(field(fields, part));
  return key;
}

}  // namespace

// The watches of one sync. They live on between two steps, so that nothing is missed in between.
struct SyncWatches {
  std::vector<std::unique_ptr<Watching>> sides;
  std::string limited() const {
    for (const std::unique_ptr<Watching>& side : sides) {
      if (!side->limited().empty()) return side->limited();
    }
    return std::string();
  }
};

namespace {

using Watches = std::shared_ptr<SyncWatches>;  // shared with services, where it waits for a step

Co<Result<Watches>> open_watches(Services& services, Json fields) {
  Watches watches = std::make_shared<SyncWatches>();
  for (Json& side : watched_sides(fields)) {
    Result<std::unique_ptr<Watching>> watching =
        co_await Watching::open(services, std::move(side), fields);
    if (!watching) co_return watching.error();
    watches->sides.push_back(std::move(*watching));
  }
  co_return watches;
}

// Until one of them tells a change, for `most` seconds.
Co<Result<bool>> any_changed(Loop& loop, SyncWatches& watches, double most) {
  if (watches.sides.size() == 1) {
    Result<bool> changed = co_await watches.sides[0]->changed(most);
    co_return changed;
  }
  Event heard(loop);
  std::vector<Result<bool>> ends;
  std::vector<Started> waits;
  std::function<void(Result<bool>)> finish = [&heard, &ends](Result<bool> end) {
    ends.push_back(std::move(end));
    heard.set();
  };
  for (std::unique_ptr<Watching>& side : watches.sides)
    waits.push_back(Started(side->changed(most), finish));
  Event::Waiter waiter(heard);
  co_await waiter;
  co_return ends.front();
}

Watches take_watches(Services& services, const std::string& key) {
  auto found = services.watches.find(key);
  if (found == services.watches.end()) return nullptr;
  Watches watches = std::move(found->second);
  services.watches.erase(found);
  return watches;
}

// A failure that is worth a row in the journal: not one that was told, nor an absent source.
bool is_news(const Result<Json>& moved, const std::string& told) {
  if (moved) return has_moved(*moved) || !told.empty();
  return moved.error().kind != ErrorKind::not_found && moved.error().message != told;
}

// Why only a look every few seconds can tell; empty when the watches do, or when one is only
// missing for now.
std::string why_looking(const Result<Watches>& opened) {
  if (opened) return (*opened)->limited();
  return opened.error().kind == ErrorKind::unsupported ? opened.error().message : std::string();
}

Co<Result<Json>> follow_changes(Services& services, Json fields) {
  double every = fields.value("every", 0.0);
  if (every <= 0) every = kLookAnyway;
  std::string told = text_field(fields, "told"), key = watch_key(fields);
  std::string looking = text_field(fields, "looking");
  Watches watches = take_watches(services, key);
  bool look = !watches;
  for (;;) {
    Result<Watches> opened = watches;
    if (!watches) {
      opened = co_await open_watches(services, fields);
      look = look || opened.ok();  // what happened before there was a watch
    }
    watches = opened ? *opened : nullptr;
    std::string why = why_looking(opened);
    if (look) {
      look = false;
    } else if (watches && why.empty()) {
      Result<bool> changed = co_await any_changed(services.loop, *watches, every);
      if (!changed) watches = nullptr;  // its link died, perhaps; the transfer finds out
      look = !changed;
    } else {
      Sleep nap(services.loop, std::min(every, kLookOften));
      co_await nap;
    }
    if (watches && !watches->limited().empty()) why = watches->limited();
    Result<Json> moved = co_await move_files(services, fields);
    bool new_reason = moved && !why.empty() && why != looking;
    if (!new_reason && !is_news(moved, told)) continue;
    if (watches) services.watches[key] = std::move(watches);
    if (moved && !why.empty()) (*moved)["looking"] = why;
    co_return moved;
  }
}

}  // namespace

// Nothing that is worth no row in the journal gets one.
Co<Result<Json>> transfer_follow(Services& services, Json args, StepContext) {
  Json fields = arg(args, 0);
  if (field(fields, "on_change") == true) {
    Result<Json> moved = co_await follow_changes(services, std::move(fields));
    co_return moved;
  }
  double every = fields.value("every", 0.0);
  std::string told = text_field(fields, "told");
  for (;;) {
    Sleep nap(services.loop, every);
    co_await nap;
    Result<Json> moved = co_await move_files(services, fields);
    if (is_news(moved, told)) co_return moved;
  }
}

}  // namespace choline
