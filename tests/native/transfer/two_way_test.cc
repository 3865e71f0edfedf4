// What a two-way sync decides, tried on trees in memory: random edits at both sides, then rounds as
// native/two_way.cc does them, with steps that fail in between.
#include <doctest/doctest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "fixture.h"
#include "transfer/two_way.h"
#include "transfer/two_way_side.h"

using namespace choline;
using What = TwoWayAction::What;

namespace {

// A side in memory: what an entry is, and its contents.
struct Thing {
  SideEntry entry;
  std::string text;
};
using Side = std::map<std::string, Thing, PathOrder>;

struct World {
  Side sides[2];
  TwoWayMemory memory;
  int64_t clock[2] = {1'000'000, 9'000'000'000};  // that differ by hours
  int conflicts = 0;

  SideEntries list(size_t side) const {
    SideEntries out;
    for (const auto& [path, thing] : sides[side]) out.emplace(path, thing.entry);
    return out;
  }
  void file(size_t side, const std::string& path, const std::string& text) {
    for (size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      std::string folder = path.substr(0, slash);
      if (sides[side].contains(folder) && sides[side][folder].entry.kind != EntryKind::folder)
        return;
      Thing& made = sides[side][folder];
      made.entry.kind = EntryKind::folder;
      made.entry.mode = 0755;
    }
    if (sides[side].contains(path) && sides[side][path].entry.kind == EntryKind::folder) return;
    int64_t now = ++clock[side];
    sides[side][path] = {{EntryKind::file, text.size(), now, now, 0644, ""}, text};
  }
  void remove(size_t side, const std::string& path) {
    std::erase_if(sides[side], [&](const auto& each) {
      return each.first == path || each.first.starts_with(path + "/");
    });
  }

  bool do_one(const TwoWayAction& action) {
    size_t here = action.side == TwoWaySide::from ? 0 : 1;
    Side &mine = sides[here], &theirs = sides[1 - here];
    const std::string& path = action.path;
    switch (action.what) {
      case What::aside: {
        std::string kept = conflict_name(path, "x", "t", ++conflicts);
        mine[kept] = mine.at(path);
        mine[kept].entry.ctime_ns = ++clock[here];
        mine.erase(path);
        return true;
      }
      case What::remove: {
        auto below = mine.upper_bound(path);
        if (below != mine.end() && below->first.starts_with(path + "/")) return false;
        mine.erase(path);
        memory.erase(path);
        return true;
      }
      default: {
        Thing come = theirs.at(path);
        come.entry.ctime_ns = ++clock[here];
        if (action.what == What::adjust) {
          REQUIRE(mine.at(path).text == come.text);
        } else {
          REQUIRE_MESSAGE((!mine.contains(path) || mine[path].entry.kind != EntryKind::folder ||
                           come.entry.kind == EntryKind::folder),
                          path);
        }
        size_t slash = path.rfind('/');
        if (slash != std::string::npos) {
          REQUIRE_MESSAGE(mine.contains(path.substr(0, slash)), path);
          REQUIRE(mine[path.substr(0, slash)].entry.kind == EntryKind::folder);
        }
        mine[path] = come;
        Agreed& agreed = memory[path];
        (here == 0 ? agreed.from : agreed.to) = mine[path].entry;
        (here == 0 ? agreed.to : agreed.from) = theirs[path].entry;
        return true;
      }
    }
  }

  // `stop_after` actions the process dies; nothing of the round is then remembered.
  bool round(int stop_after = -1) {
    std::set<std::string, std::less<>> frozen;
    std::map<std::string, bool> equal;
    SideEntries from = list(0), to = list(1);
    TwoWayPlan plan = plan_two_way({memory, from, to, equal, frozen});
    for (const std::string& path : plan.compare)
      equal[path] = sides[0].at(path).text == sides[1].at(path).text;
    if (!plan.compare.empty()) plan = plan_two_way({memory, from, to, equal, frozen});
    REQUIRE(plan.compare.empty());
    TwoWayMemory before = memory;
    for (const std::string& path : plan.agreed) memory[path] = {from.at(path), to.at(path)};
    for (const std::string& path : plan.forgotten) memory.erase(path);
    bool did = false;
    for (TwoWaySide side : {TwoWaySide::to, TwoWaySide::from}) {
      for (const TwoWayAction& action : plan.actions) {
        if (action.side != side) continue;
        if (stop_after-- == 0) {
          memory = before;
          return true;
        }
        did = do_one(action) || did;
      }
    }
    return did;
  }

  void settle() {
    int rounds = 0;
    while (round()) REQUIRE_MESSAGE(++rounds < 8, "it never ends");
  }

  std::map<std::string, std::string> picture(size_t side) const {
    std::map<std::string, std::string> out;
    for (const auto& [path, thing] : sides[side])
      out[path] = thing.entry.kind == EntryKind::folder ? "/" : thing.text;
    return out;
  }
  bool holds(size_t side, const std::string& text) const {
    for (const auto& [path, thing] : sides[side]) {
      if (thing.text == text) return true;
    }
    return false;
  }
};

const char* kPaths[] = {"a", "b", "d/x", "d/y", "d", "e/f/g", "e/f", "e", "b/in"};

}  // namespace

TEST_CASE("changes and deletions reach the other side") {
  World world;
  world.file(0, "a", "one");
  world.file(1, "d/x", "two");
  world.settle();
  CHECK(world.picture(0) == world.picture(1));
  CHECK(world.picture(0).size() == 3);
  world.file(1, "a", "longer");
  world.remove(0, "d");
  world.settle();
  CHECK(world.picture(0) == std::map<std::string, std::string>{{"a", "longer"}});
  CHECK(world.picture(1) == world.picture(0));
  CHECK(world.conflicts == 0);
}

TEST_CASE("the first time nothing is deleted, and equal files are no conflict") {
  World world;
  world.file(0, "same", "text");
  world.file(1, "same", "text");
  world.file(0, "differs", "here");
  world.file(1, "differs", "there!");
  world.file(1, "only", "x");
  world.settle();
  CHECK(world.picture(0) == world.picture(1));
  CHECK(world.picture(0).at("differs") == "here");
  CHECK(world.holds(0, "there!"));
  CHECK(world.conflicts == 1);
}

TEST_CASE("a change is stronger than a deletion") {
  World world;
  world.file(0, "d/x", "one");
  world.file(0, "d/y", "one");
  world.settle();
  world.remove(0, "d");
  world.file(1, "d/x", "changed");
  world.settle();
  CHECK(world.picture(0) == std::map<std::string, std::string>{{"d", "/"}, {"d/x", "changed"}});
  CHECK(world.picture(1) == world.picture(0));
}

TEST_CASE("a file that became a folder at one side and changed at the other is kept beside it") {
  World world;
  world.file(0, "b", "one");
  world.settle();
  world.remove(0, "b");
  world.file(0, "b/in", "inside");
  world.file(1, "b", "changed");
  world.settle();
  CHECK(world.picture(0) == world.picture(1));
  CHECK(world.picture(0).at("b/in") == "inside");
  CHECK(world.holds(0, "changed"));
}

TEST_CASE("names of conflicts keep their end and their length") {
  CHECK(conflict_name("d/notes.txt", "gpu", "T", 1) == "d/notes.conflict-gpu-T.txt");
  CHECK(conflict_name("notes", "gpu", "T", 2) == "notes.conflict-gpu-T-2");
  CHECK(conflict_name(".env", "gpu", "T", 1) == ".env.conflict-gpu-T");
  CHECK(conflict_name(std::string(255, 'n'), "gpu", "T", 1).size() == 255);
}

TEST_CASE("random edits at both sides: both end equal, and no text that somebody wrote is lost") {
  for (unsigned seed = 1; seed <= 3000; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    World world;
    int number = 0;
    std::set<std::string> wanted;  // written, and neither overwritten nor removed by who saw it
    for (int period = 0; period < 4; ++period) {
      for (int edit = static_cast<int>(random() % 6); edit > 0; --edit) {
        size_t side = random() % 2;
        std::string path = kPaths[random() % std::size(kPaths)];
        std::map<std::string, std::string> before = world.picture(side);
        if (random() % 3 == 0) {
          world.remove(side, path);
        } else {
          // All of one length, so that contents must be compared.
          world.file(side, path, std::to_string(100'000 + ++number));
        }
        std::map<std::string, std::string> after = world.picture(side);
        for (const auto& [name, text] : before) {
          if (!after.contains(name) || after[name] != text) wanted.erase(text);
        }
        for (const auto& [name, text] : after) {
          if (text != "/" && (!before.contains(name) || before[name] != text)) wanted.insert(text);
        }
        if (random() % 8 == 0) world.round(static_cast<int>(random() % 4));
      }
      world.settle();
      REQUIRE(world.picture(0) == world.picture(1));
      REQUIRE_FALSE(world.round());
      for (const std::string& text : wanted) REQUIRE_MESSAGE(world.holds(0, text), text);
    }
  }
}

TEST_CASE("a side is listed with the times of files that were written a moment ago") {
  TempFolder temp;
  temp.put("from/old", "1");
  std::filesystem::create_directories(temp.from() + "/folder");
  for (const char* name : {"from/new", "from/folder/new"}) temp.put(name, "2");
  Result<SideList> list = list_side(temp.from(), {}, true);
  REQUIRE(list.ok());
  REQUIRE(list->entries.size() == 4);
  for (const SideEntries::value_type& each : list->entries) {
    CAPTURE(each.first);
    CHECK((each.second.kind == EntryKind::folder) == (each.second.ctime_ns == 0));
  }
}
