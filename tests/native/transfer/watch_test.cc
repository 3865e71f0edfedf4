// What tells that a tree changed.
#include <poll.h>

#include "fixture.h"
#include "transfer/watch_tree.h"

using namespace choline;

namespace {

std::unique_ptr<TreeWatch> watch(const std::string& path, WatchOptions options = {}) {
  Result<std::unique_ptr<TreeWatch>> opened = TreeWatch::open(path, std::move(options));
  REQUIRE(opened.ok());
  while ((*opened)->busy()) (*opened)->step();
  return std::move(*opened);
}

void settle(TreeWatch& tree) {
  while (tree.busy()) tree.step();
}

// Whether it tells a change; one that comes has been queued by the time of the system call.
bool tells(TreeWatch& tree) {
  pollfd wait{tree.fd(), POLLIN, 0};
  bool changed = poll(&wait, 1, 0) > 0 && tree.drain();
  settle(tree);
  return changed;
}

}  // namespace

TEST_CASE("a change anywhere below is told, and nothing when nothing changed") {
  TempFolder temp;
  temp.put("from/a/b/file", "one");
  std::unique_ptr<TreeWatch> tree = watch(temp.from());
  CHECK_FALSE(tells(*tree));
  temp.put("from/a/b/file", "two");
  CHECK(tells(*tree));
  CHECK_FALSE(tells(*tree));
  REQUIRE(unlink((temp.from() + "/a/b/file").c_str()) == 0);
  CHECK(tells(*tree));
}

TEST_CASE("a folder that comes, or moves, is watched with all below it") {
  TempFolder temp;
  temp.put("from/x", "");
  std::unique_ptr<TreeWatch> tree = watch(temp.from());
  temp.put("from/new/deep/file", "one");
  CHECK(tells(*tree));
  temp.put("from/new/deep/other", "two");
  CHECK(tells(*tree));
  REQUIRE(rename((temp.from() + "/new").c_str(), (temp.from() + "/moved").c_str()) == 0);
  CHECK(tells(*tree));
  temp.put("from/moved/deep/third", "three");
  CHECK(tells(*tree));
}

TEST_CASE("what is ignored is not told, until the rules change") {
  TempFolder temp;
  temp.put("from/.gitignore", "left/\n*.log\n");
  temp.put("from/left/in/file", "");
  temp.put("from/a", "");
  std::unique_ptr<TreeWatch> tree = watch(temp.from());
  temp.put("from/left/in/file", "changed");
  temp.put("from/x.log", "line");
  CHECK_FALSE(tells(*tree));
  temp.put("from/.gitignore", "*.log\n");
  CHECK(tells(*tree));
  temp.put("from/left/in/file", "changed again");
  CHECK(tells(*tree));
}

TEST_CASE("files of a transfer under way are not told") {
  TempFolder temp;
  temp.put("from/a", "");
  std::unique_ptr<TreeWatch> tree = watch(temp.from());
  temp.put("from/" + std::string(kPartPrefix) + "x", "part");
  CHECK_FALSE(tells(*tree));
}

TEST_CASE("of a single file only its own changes are told") {
  TempFolder temp;
  temp.put("from/a", "");
  std::unique_ptr<TreeWatch> tree = watch(temp.from() + "/a");
  temp.put("from/b", "");
  CHECK_FALSE(tells(*tree));
  temp.put("from/a", "text");
  CHECK(tells(*tree));
}

TEST_CASE("too many folders are said, and a place that is not there is not found") {
  TempFolder temp;
  temp.put("from/a/b/c/file", "");
  WatchOptions options;
  options.most_folders = 2;
  CHECK(watch(temp.from(), options)->limited().find("more than 2 folders") != std::string::npos);
  CHECK(watch(temp.from())->limited().empty());
  Result<std::unique_ptr<TreeWatch>> none = TreeWatch::open(temp.from() + "/none", {});
  REQUIRE_FALSE(none.ok());
  CHECK(none.error().kind == ErrorKind::not_found);
}
