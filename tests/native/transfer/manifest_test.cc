#include "transfer/manifest.h"

#include <algorithm>

#include "fixture.h"

using namespace choline;

namespace {

Manifest only(const std::string& place, const std::string& name) {
  Result<std::vector<Manifest>> list = read_manifests(place, {name}, nullptr);
  REQUIRE(list.ok());
  REQUIRE(list->size() == 1);
  return list->front();
}

std::string names(const std::vector<Manifest>& list) {
  std::string out;
  for (const Manifest& each : list) out += each.checkpoint.name + " ";
  return out;
}

// Brings `name` from "from" to "to" as a pull does; the caller may come between.
struct Coming {
  Coming(const TempFolder& folder, std::string the_name)
      : temp(folder),
        name(std::move(the_name)),
        manifests(temp.path + "/manifests", temp.to()),
        manifest(only(temp.from(), name)) {}
  void expect() const { REQUIRE(manifests.expect(manifest).ok()); }
  void copy() const {
    REQUIRE(make_folders(temp.to()).ok());
    std::string line =
        "cp -a --remove-destination '" + temp.from() + "/" + name + "' '" + temp.to() + "/'";
    REQUIRE(system(line.c_str()) == 0);
  }
  std::optional<std::string> settle() const {
    Result<std::optional<std::string>> wrong = manifests.settle(manifest);
    REQUIRE(wrong.ok());
    return *wrong;
  }
  void bring() const {
    expect();
    copy();
    REQUIRE(!settle());
  }
  const TempFolder& temp;
  std::string name;
  ManifestFolder manifests;
  Manifest manifest;
};

std::string newest(const Coming& one) {
  Result<ManifestFolder::Newest> found = one.manifests.newest();
  REQUIRE(found.ok());
  std::string out = found->manifest ? found->manifest->checkpoint.name : "none";
  for (const SyncNote& note : found->damaged) out += "; " + note.path + ": " + note.why;
  return out;
}

}  // namespace

TEST_CASE("a manifest knows each file of a checkpoint, and survives as text") {
  TempFolder temp;
  temp.put("from/dir-1/model", "12345");
  temp.put("from/dir-1/sub/more", "abc");
  temp.link("from/dir-1/last", "model");
  temp.put("from/dir-2/model.part", "half");
  temp.put("from/one-3.pt", "x");
  Result<std::vector<Manifest>> list = read_manifests(temp.from(), {}, nullptr);
  REQUIRE(list.ok());
  CHECK(names(*list) == "dir-1 one-3.pt ");
  CHECK(list->front().files.size() == 3);
  CHECK(list->front().checkpoint.bytes == 8);
  Result<Manifest> again = manifest_from_json(*parse_json(to_text(to_json(list->front(), true))));
  REQUIRE(again.ok());
  CHECK(again->digest == list->front().digest);
  CHECK(!difference(*again, *list));
}

TEST_CASE("each way of damage is found and said") {
  TempFolder temp;
  temp.put("from/dir-1/model", std::string(600'000, 'm'));
  temp.put("from/dir-1/small", "abc");
  Manifest before = only(temp.from(), "dir-1");
  auto wrong = [&] {
    return difference(before, *read_manifests(temp.from(), {}, nullptr)).value_or("same");
  };
  CHECK(wrong() == "same");
  std::string bytes(600'000, 'm');
  for (size_t at : {size_t{0}, size_t{299'999}, size_t{599'999}}) {
    std::string flipped = bytes;
    flipped[at] ^= 1;
    temp.put("from/dir-1/model", flipped);
    CHECK(wrong() == "'model' has other contents than it should have");
  }
  temp.put("from/dir-1/model", bytes.substr(1));
  CHECK(wrong() == "'model' has 599999 bytes instead of 600000");
  REQUIRE(remove_tree(temp.from() + "/dir-1/model").ok());
  CHECK(wrong() == "'model' is missing");
  temp.put("from/dir-1/model", bytes);
  CHECK(wrong() == "same");
  temp.put("from/dir-1/extra", "");
  CHECK(wrong() == "its contents are not what they should be");
  REQUIRE(remove_tree(temp.from() + "/dir-1").ok());
  CHECK(wrong() == "it is not there, or not complete");
}

TEST_CASE("only what came whole counts, and of that the newest that still is") {
  TempFolder temp;
  for (int step : {1, 2, 3}) temp.put("from/s-" + std::to_string(step), std::to_string(step));
  Coming one(temp, "s-1"), two(temp, "s-2"), three(temp, "s-3");
  CHECK(newest(one) == "none");
  one.bring();
  two.bring();
  three.expect();
  temp.put("to/s-3", "X");
  CHECK(three.settle() == "it has other contents than it should have");
  CHECK(newest(one) == "s-2");
  temp.put("to/s-2", "y");
  CHECK(newest(one) == "s-1; s-2: it has other contents than it should have");
  temp.put("to/s-1", "");
  CHECK(newest(one) ==
        "none; s-2: it has other contents than it should have; s-1: it has 0 bytes instead of 1");
}

TEST_CASE("a process that dies between any two steps of a pull leaves the newest that was whole") {
  for (bool folder : {false, true}) {
    CAPTURE(folder);
    TempFolder temp;
    std::string file = folder ? "from/last/model" : "from/last";
    temp.put(file, "old", 1'700'000'000);
    if (folder) temp.put("from/last/other", "same");
    Coming old(temp, "last");
    old.bring();
    temp.put(file, "new", 1'700'000'100);
    Coming next(temp, "last");
    std::string here = folder ? "to/last/model" : "to/last";
    SUBCASE("before any file") {
      next.expect();
      CHECK(newest(next) == "last");
      CHECK(temp.get(here) == "old");
    }
    SUBCASE("after some") {
      next.expect();
      // as the receiver does: another file in the place of the old one
      REQUIRE(remove_tree(temp.path + "/" + here).ok());
      temp.put(here, "ne", 1'700'000'100);
      CHECK(newest(next) == "last");
      CHECK(temp.get(here) == "old");
      CHECK(!temp.has("to/.choline-before-last"));
    }
    SUBCASE("after all, before they were noted") {
      next.expect();
      next.copy();
      CHECK(newest(next) == "last");
      CHECK(temp.get(here) == "new");
    }
    SUBCASE("after all") {
      next.bring();
      CHECK(newest(next) == "last");
      CHECK(temp.get(here) == "new");
      CHECK(!temp.has("to/.choline-before-last"));
    }
  }
}

TEST_CASE("a manifest that is damaged itself is told, and its checkpoint not used") {
  TempFolder temp;
  temp.put("from/s-1", "1");
  temp.put("from/s-2", "2");
  Coming one(temp, "s-1"), two(temp, "s-2");
  one.bring();
  two.bring();
  temp.put("manifests/s-2.json", "{\"name\": \"s-2\"");
  CHECK(newest(one) == "s-1; s-2: its manifest cannot be read");
}

TEST_CASE("the last are kept: never the newest goes, nor one in use, nor what is not ours") {
  TempFolder temp;
  for (int step = 1; step <= 5; ++step) temp.put("from/s-" + std::to_string(step), "x");
  for (int step = 1; step <= 5; ++step) Coming(temp, "s-" + std::to_string(step)).bring();
  temp.put("to/s-0", "somebody else's");
  ManifestFolder manifests(temp.path + "/manifests", temp.to());
  Result<std::vector<std::string>> gone = manifests.drop_old(2, {"s-1"});
  REQUIRE(gone.ok());
  CHECK(*gone == std::vector<std::string>{"s-2", "s-3", "s-4"});
  CHECK(*list_folder(temp.to()) == std::vector<std::string>{"s-0", "s-1", "s-5"});
  Result<std::vector<Checkpoint>> dropped = manifests.dropped();
  REQUIRE(dropped.ok());
  CHECK(dropped->size() == 3);
  CHECK(manifests.drop_old(1, {})->size() == 1);
  CHECK(manifests.drop_old(1, {})->empty());
  CHECK(names(*manifests.list()) == "s-5 ");
}
