#include "transfer/ignore.h"

#include <doctest/doctest.h>

#include <set>

#include "fixture.h"
#include "io/process.h"
#include "loop/epoll_loop.h"

using namespace choline;

TEST_CASE("one name against a pattern") {
  CHECK(matches_segment("*.log", "a.log"));
  CHECK(matches_segment("a*b*c", "aXbYbZc"));
  CHECK(matches_segment("[a-c]?", "bx"));
  CHECK(matches_segment("[!a-c]", "d"));
  CHECK(matches_segment("[]]", "]"));
  CHECK(matches_segment("\\*", "*"));
  CHECK(!matches_segment("\\*", "x"));
  CHECK(!matches_segment("a?", "a"));
  CHECK(matches_segment("a[", "a["));
  std::string evil;
  for (int count = 0; count < 50; ++count) evil += "a*";
  CHECK(!matches_segment(evil + "b", std::string(200, 'a')));
}

TEST_CASE("rules agree with git on what is ignored") {
  TempFolder temp;
  temp.put("from/.gitignore",
           "# comment\n*.log\n!keep.log\nbuild/\n/top\nsub/only\n**/deep\na/**/z\nend/**\n"
           "trailing \nspace\\ \nhash\\#\n\\!bang\n[ab].txt\nfo?\n/x/*\n!/x/y\n\n");
  temp.put("from/sub/.gitignore", "!*.log\nlocal\n");
  const char* files[] = {"a.log",     "keep.log", "sub/b.log", "build/x",        "sub/build/x",
                         "top/x",     "sub/top",  "sub/only",  "other/sub/only", "q/w/deep/x",
                         "deep",      "a/z",      "a/b/z",     "a/b/c/z",        "end/1/2",
                         "trailing",  "space ",   "hash#",     "!bang",          "a.txt",
                         "c.txt",     "foo",      "fooo",      "x/y/1",          "x/n/1",
                         "sub/local", "local",    "buildx",    "sub/x/y"};
  for (const char* file : files) temp.put(std::string("from/") + file, "x");

  EpollLoop loop;
  RunOptions git;
  git.spawn.argv = {"/bin/sh", "-c",
                    "git init -q . && git ls-files -z --others --exclude-standard"};
  git.spawn.folder = temp.from();
  git.spawn.extra_env = {{"GIT_CONFIG_GLOBAL", "/dev/null"}, {"GIT_CONFIG_SYSTEM", "/dev/null"}};
  std::string listed;
  Started work(run_process(loop, git),
               std::function<void(Result<RunResult>)>([&](Result<RunResult> result) {
                 REQUIRE(result.ok());
                 REQUIRE(result->status.code == 0);
                 listed = result->out;
               }));
  loop.run();
  std::set<std::string> git_says, we_say;
  for (size_t at = 0; at < listed.size(); at = listed.find('\0', at) + 1) {
    git_says.insert(listed.substr(at, listed.find('\0', at) - at));
  }
  Result<Tree> tree = scan_tree(temp.from(), ScanOptions(), nullptr);
  REQUIRE(tree.ok());
  for (const Entry& entry : tree->entries) {
    if (entry.kind == EntryKind::file) we_say.insert(entry.path);
  }
  CHECK(git_says.size() > 8);
  CHECK(we_say == git_says);

  // From a folder within the work tree the rules above it count as well.
  Result<Tree> part = scan_tree(temp.from() + "/sub", ScanOptions(), nullptr);
  REQUIRE(part.ok());
  std::set<std::string> below;
  for (const Entry& entry : part->entries) {
    if (entry.kind == EntryKind::file) below.insert("sub/" + entry.path);
  }
  std::set<std::string> expected;
  for (const std::string& path : git_says) {
    if (path.starts_with("sub/")) expected.insert(path);
  }
  CHECK(below == expected);
}

TEST_CASE("options exclude too, and git's own folder moves only with everything else") {
  TempFolder temp;
  temp.put("from/.git/config", "x");
  temp.put("from/.gitignore", "*.log\n");
  temp.put("from/.cholineignore", "!train.log\nsecret\n");
  temp.put("from/train.log", "x");
  temp.put("from/other.log", "x");
  temp.put("from/secret", "x");
  temp.put("from/data/raw/1", "x");
  SyncOptions options;
  options.exclude = {"data/raw"};
  moved(temp.from(), temp.to(), options);
  CHECK(*list_folder(temp.to()) ==
        std::vector<std::string>{".cholineignore", ".gitignore", "data", "train.log"});
  CHECK(list_folder(temp.to() + "/data")->empty());
  options.use_ignore_files = false;
  options.exclude.clear();
  moved(temp.from(), temp.to(), options);
  CHECK(picture(temp.from()) == picture(temp.to()));
}
