// A power cut at any moment: what was reported as committed is there, nothing is half, and the
// store goes on; and a disk that answers with an error.
#include "power/power_vfs.h"
#include "store/database.h"
#include "store/events.h"
#include "support.h"

namespace choline {

namespace {

// Some pages long, so that a commit is several writes and the log is folded back now and then.
Status add_event(Store& store, int number) {
  return store.write([&](Txn& txn) -> Status {
    EventRow row;
    row.at = number;
    row.kind = "e";
    row.data = std::string(static_cast<size_t>(300 + 7919 * number % 20'000), 'x');
    Result<EventRow> kept = append_event(txn, "r1", row);
    if (!kept) return kept.error();
    return done();
  });
}

// How many events there are, which must be 1, 2, 3 and so on without a gap; or what is wrong.
Result<int> count_events(const std::string& folder) {
  SimLoop loop;
  Result<std::unique_ptr<Store>> store = Store::open(loop, folder);
  if (!store) return store.error();
  Query check((*store)->db(), "PRAGMA integrity_check");
  std::string said = check.next() ? check.text(0) : "nothing";
  if (said != "ok") return Error(ErrorKind::io, "integrity: " + said);
  Result<std::vector<EventRow>> events = list_events((*store)->db(), "r1", 0, -1);
  if (!events) return events.error();
  int count = 0;
  for (const EventRow& event : *events) {
    if (static_cast<int>(event.at) != ++count) return Error(ErrorKind::io, "a gap");
  }
  Status more = add_event(**store, count + 1);
  if (!more) return more.error();
  return count;
}

struct Losses {
  int cuts = 0;
  int lost = 0;        // cuts after which a reported commit was missing
  std::string faults;  // what else was wrong
};

// Makes a store and fills it, and looks at it as it would be after a cut at every `stride`-th
// change of the disk.
Losses cut_everywhere(int commits, int stride, const char* pragma) {
  TempFolder temp;
  PowerVfs disk;
  Losses losses;
  int reported = 0;
  int changes = 0;
  disk.watch([&, looking = false]() mutable {
    if (looking || ++changes % stride != 0) return;
    looking = true;  // what looking itself writes is not watched
    std::string folder = temp.path() + "/after";
    std::filesystem::create_directories(folder);
    disk.place(disk.cut(static_cast<uint64_t>(changes)), folder);
    Result<int> found = count_events(folder);
    ++losses.cuts;
    if (!found) losses.faults += why(found) + "; ";
    if (found && *found < reported) ++losses.lost;
    std::filesystem::remove_all(folder);
    looking = false;
  });
  SimLoop loop;
  auto store = open_store(loop, temp.path() + "/choline");
  if (pragma) REQUIRE_OK(store->db().script(pragma));
  for (int number = 1; number <= commits; ++number) {
    REQUIRE_OK(add_event(*store, number));
    reported = number;
  }
  return losses;
}

}  // namespace

TEST_CASE(
    "a power cut at any change of the disk loses no reported commit and leaves a good store") {
  Losses first = cut_everywhere(8, 1, nullptr);
  CHECK(first.cuts > 100);
  CHECK(first.lost == 0);
  CHECK(first.faults == "");
  // The log is folded back into the database, and begun anew, every few commits.
  Losses later = cut_everywhere(60, 5, "PRAGMA wal_autocheckpoint=40");
  CHECK(later.cuts > 100);
  CHECK(later.lost == 0);
  CHECK(later.faults == "");
}

TEST_CASE("without a sync at each commit the same cuts do lose reported commits") {
  CHECK(cut_everywhere(12, 3, "PRAGMA synchronous=NORMAL").lost > 0);
}

TEST_CASE(
    "a disk that fails a write or a sync fails that commit alone, in words, and loses nothing") {
  for (bool is_sync : {false, true}) {
    for (int nth = 1; nth <= 6; ++nth) {
      TempFolder temp;
      PowerVfs disk;
      SimLoop loop;
      std::string folder = temp.path() + "/choline";
      int good = 0;
      {
        auto store = open_store(loop, folder);
        if (is_sync)
          disk.fail_sync(nth);
        else
          disk.fail_write(nth);
        int failed = 0;
        for (int attempt = 0; attempt < 12; ++attempt) {
          Status added = add_event(*store, good + 1);
          if (added) {
            ++good;
          } else {
            ++failed;
            CHECK(added.error().kind == ErrorKind::io);
            CHECK(added.error().message.find("store.db' failed: ") != std::string::npos);
          }
        }
        CHECK(failed == 1);
      }
      Result<int> found = count_events(folder);
      REQUIRE_OK(found);
      CHECK(*found == good);
    }
  }
}

}  // namespace choline
