// What a transfer does to trees.
#include <atomic>

#include "fixture.h"

using namespace choline;

namespace {

void fill_here(const TempFolder& temp) {
  temp.put("from/train.py", "print(1)\n", 1'700'000'001, 0755);
  temp.put("from/empty", "");
  temp.put("from/data/a/big", std::string(700'000, 'b') + "end");
  temp.put("from/data/odd\nname \xff\xfe'\"", "odd");
  temp.put("from/data/-dash", "x", 1);
  temp.put("from/data.txt", "sorts between", -5);
  temp.link("from/latest", "data/a/big");
  temp.link("from/dangling", "nowhere");
  REQUIRE(make_folders(temp.from() + "/empty folder").ok());
  REQUIRE(chmod((temp.from() + "/empty folder").c_str(), 0700) == 0);
}

std::string reasons(const SyncReport& report) {
  std::string out;
  for (const SyncMove& move : report.moves) {
    out += move.path + ":" + std::string(to_text(move.reason)) + " ";
  }
  return out;
}

std::string whys(const std::vector<SyncNote>& notes) {
  std::string out;
  for (const SyncNote& note : notes) out += note.path + ": " + note.why + "\n";
  return out;
}

}  // namespace

TEST_CASE("a first sync makes an equal tree, a second one moves nothing") {
  TempFolder temp;
  fill_here(temp);
  SyncReport first = moved(temp.from(), temp.to() + "/deep/er");
  CHECK(picture(temp.from()) == picture(temp.to() + "/deep/er"));
  CHECK(first.files_moved == 6);
  CHECK(first.bytes_moved == 700'003 + 9 + 3 + 1 + 13);
  CHECK(first.entries == 11);
  SyncReport second = moved(temp.from(), temp.to() + "/deep/er");
  CHECK(second.moves.empty());
  CHECK(second.unchanged == 6);
}

TEST_CASE("changes move and say why") {
  TempFolder temp;
  fill_here(temp);
  moved(temp.from(), temp.to());
  temp.put("from/train.py", "print(22)\n", 1'700'000'001, 0755);  // longer
  temp.put("from/data.txt", "SORTS BETWEEN", 77);                 // same size
  temp.touch("from/empty", 99);
  temp.touch("from/data/-dash", 99);  // same contents
  REQUIRE(chmod((temp.from() + "/data/a/big").c_str(), 0600) == 0);
  REQUIRE(unlink((temp.from() + "/latest").c_str()) == 0);
  temp.link("from/latest", "train.py");
  SyncReport report = moved(temp.from(), temp.to());
  CHECK(picture(temp.from()) == picture(temp.to()));
  CHECK(reasons(report) ==
        "data/-dash:mtime data/a/big:mode data.txt:content empty:mtime latest:link train.py:size ");
  CHECK(report.files_moved == 2);
}

TEST_CASE("a dry run tells what would happen and changes nothing") {
  TempFolder temp;
  fill_here(temp);
  SyncOptions dry;
  dry.dry_run = true;
  dry.delete_extra = true;
  SyncReport report = moved(temp.from(), temp.to(), dry);
  CHECK(report.moves.size() == 11);
  CHECK(!temp.has("to"));
  moved(temp.from(), temp.to());
  temp.put("from/data.txt", "SORTS BETWEEN", 77);
  temp.touch("from/data/-dash", 99);
  temp.put("to/extra/file", "x");
  auto before = picture(temp.to());
  report = moved(temp.from(), temp.to(), dry);
  CHECK(picture(temp.to()) == before);
  CHECK(reasons(report) == "data/-dash:mtime data.txt:content extra/file:removed extra:removed ");
  CHECK(report.files_moved == 1);
  CHECK(report.removed == 2);
}

TEST_CASE("files that differ behind an equal size and time are found when asked for") {
  TempFolder temp;
  temp.put("from/a", "one");
  temp.put("to/a", "two");
  CHECK(moved(temp.from(), temp.to()).moves.empty());
  SyncOptions options;
  options.compare_content = true;
  CHECK(reasons(moved(temp.from(), temp.to(), options)) == "a:content ");
  CHECK(temp.get("to/a") == "one");
}

TEST_CASE("extra files go only when asked for, and ignored ones never") {
  TempFolder temp;
  temp.put("from/keep", "x");
  temp.put("from/.gitignore", "outputs/\n*.log\n");
  temp.put("from/outputs/here", "not sent");
  temp.put("to/old/deep/file", "x");
  temp.put("to/old/train.log", "precious");
  temp.put("to/outputs/model", "precious");
  temp.put("to/.git/config", "precious");
  temp.put("to/ckpt/1", "precious");
  moved(temp.from(), temp.to());
  CHECK(temp.has("to/old/deep/file"));
  SyncOptions options;
  options.delete_extra = true;
  options.exclude = {"/ckpt"};
  SyncReport report = moved(temp.from(), temp.to(), options);
  CHECK(report.removed == 2);
  CHECK(!temp.has("to/old/deep"));
  CHECK(whys(report.skipped) == "old: not removed, as it holds files that are left alone\n");
  for (const char* path : {"to/old/train.log", "to/outputs/model", "to/.git/config", "to/ckpt/1"}) {
    CHECK_MESSAGE(temp.get(path) == "precious", path);
  }
  CHECK(!temp.has("to/outputs/here"));
}

TEST_CASE("things of another kind are replaced, a full folder only when removing was asked for") {
  TempFolder temp;
  temp.put("from/a/file", "x");
  temp.put("from/b", "now a file");
  temp.link("from/c", "b");
  temp.put("from/d", "d");
  temp.put("to/a", "was a file");
  temp.put("to/b/file", "was a folder");
  temp.put("to/c/file", "was a folder");
  REQUIRE(make_folders(temp.to() + "/d").ok());
  SyncReport report = moved(temp.from(), temp.to());
  CHECK(report.failed.size() == 2);
  CHECK(whys(report.failed).find("b: a folder that is not empty is in the way") !=
        std::string::npos);
  CHECK(temp.get("to/a/file") == "x");
  CHECK(temp.get("to/d") == "d");
  CHECK(temp.get("to/b/file") == "was a folder");
  SyncOptions options;
  options.delete_extra = true;
  CHECK(moved(temp.from(), temp.to(), options).failed.empty());
  CHECK(picture(temp.from()) == picture(temp.to()));
}

TEST_CASE("a link at the target is replaced, never written through") {
  TempFolder temp;
  temp.put("precious/file", "precious");
  temp.put("from/file", "new");
  temp.put("from/folder/file", "new");
  REQUIRE(make_folders(temp.to()).ok());
  temp.link("to/file", "../precious/file");
  temp.link("to/folder", "../precious");
  moved(temp.from(), temp.to());
  CHECK(temp.get("precious/file") == "precious");
  CHECK(picture(temp.from()) == picture(temp.to()));
}

TEST_CASE("one file goes under a name or into a folder") {
  TempFolder temp;
  temp.put("from/train.py", "x", 5, 0755);
  temp.link("from/alias", "train.py");
  moved(temp.from() + "/train.py", temp.to() + "/main.py");
  CHECK(temp.get("to/main.py") == "x");
  moved(temp.from() + "/train.py", temp.to());
  CHECK(temp.get("to/train.py") == "x");
  moved(temp.from() + "/train.py", temp.to() + "/new/");
  CHECK(temp.get("to/new/train.py") == "x");
  // A link that was named stands for its file.
  moved(temp.from() + "/alias", temp.to() + "/alias");
  CHECK((*file_info(temp.to() + "/alias"))->kind == FileKind::file);
  CHECK(moved(temp.from() + "/alias", temp.to() + "/alias").unchanged == 1);
}

TEST_CASE("a source that is not there is an error that names it, and the target stays as it was") {
  TempFolder temp;
  Result<SyncReport> report = move_tree(temp.path + "/none", temp.to());
  REQUIRE(!report.ok());
  CHECK(report.error().kind == ErrorKind::not_found);
  CHECK(report.error().message.find("/none'") != std::string::npos);
  CHECK(!temp.has("to"));
  temp.put("file", "x");
  temp.put("from/a", "x");
  CHECK(!move_tree(temp.from(), temp.path + "/file").ok());
  CHECK(!move_tree(temp.from(), temp.path + "/file/below").ok());
  CHECK(!move_tree(temp.from(), "/proc/none").ok());
}

TEST_CASE("sockets and fifos are left out and said") {
  TempFolder temp;
  REQUIRE(mkfifo((temp.from() + "/fifo").c_str(), 0600) == 0);
  temp.put("from/file", "x");
  SyncReport report = moved(temp.from(), temp.to());
  CHECK(whys(report.skipped) == "fifo: neither a file, a folder nor a link\n");
  CHECK(!temp.has("to/fifo"));
}

TEST_CASE("links that lead out of the tree move only where that is allowed") {
  TempFolder temp;
  REQUIRE(make_folders(temp.from() + "/sub").ok());
  temp.link("from/passwd", "/etc/passwd");
  temp.link("from/sub/up", "../../x");
  temp.link("from/sub/fine", "../sub/x");
  SyncOptions options;
  options.outside_links = false;
  SyncReport report = moved(temp.from(), temp.to(), options);
  CHECK(report.skipped.size() == 2);
  CHECK(!temp.has("to/passwd"));
  CHECK(!temp.has("to/sub/up"));
  CHECK(temp.has("to/sub/fine"));
  moved(temp.from(), temp.to());
  CHECK(picture(temp.from()) == picture(temp.to()));
}

TEST_CASE("sparse files stay sparse and equal") {
  TempFolder temp;
  std::string path = temp.from() + "/sparse";
  UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  REQUIRE(ftruncate(file.get(), 64 << 20) == 0);
  REQUIRE(pwrite(file.get(), "middle", 6, 32 << 20) == 6);
  temp.put("from/solid", std::string(1 << 20, '\0'));
  moved(temp.from(), temp.to());
  CHECK(temp.get("to/sparse") == temp.get("from/sparse"));
  CHECK(temp.get("to/solid") == temp.get("from/solid"));
  struct stat info {};
  REQUIRE(stat((temp.to() + "/sparse").c_str(), &info) == 0);
  CHECK(info.st_size == 64 << 20);
  CHECK(info.st_blocks * 512 < 8 << 20);
}

TEST_CASE("what a dead receiver left is cleared away, what a living one writes is not") {
  TempFolder temp;
  temp.put("from/a", "x");
  temp.put("to/.choline-part-dead", "half");
  temp.put("to/.choline-part-alive", "half");
  UniqueFd alive(open((temp.to() + "/.choline-part-alive").c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(flock(alive.get(), LOCK_EX) == 0);
  moved(temp.from(), temp.to());
  CHECK(!temp.has("to/.choline-part-dead"));
  CHECK(temp.has("to/.choline-part-alive"));
  // Neither are they ever sent.
  moved(temp.to(), temp.path + "/third");
  CHECK(*list_folder(temp.path + "/third") == std::vector<std::string>{"a"});
}

TEST_CASE("a file that grows all the time arrives as it once was, one that is rewritten whole") {
  TempFolder temp;
  std::string log = temp.from() + "/log";
  std::string state = temp.from() + "/state";
  std::atomic<bool> stop{false};
  REQUIRE(append_file(log, "0\n").ok());
  REQUIRE(write_atomic(state, std::string(300'000, 'a')).ok());
  std::thread writer([&] {
    for (int line = 1; !stop; ++line) {
      (void)append_file(log, std::to_string(line) + "\n");
      (void)write_atomic(state, std::string(300'000, static_cast<char>('a' + line % 26)));
    }
  });
  for (int round = 0; round < 15; ++round) {
    SyncReport report = moved(temp.from(), temp.to());
    std::string got = temp.get("to/log"), whole = temp.get("from/log");
    CHECK(whole.starts_with(got));
    std::string letters = temp.get("to/state");
    CHECK(letters.size() == 300'000);
    CHECK(letters.find_first_not_of(letters[0]) == std::string::npos);
  }
  stop = true;
  writer.join();
}

TEST_CASE("a file rewritten in place arrives as it was at one instant, or not at all") {
  TempFolder temp;
  temp.put("from/state", std::string(2'000'000, 'a'));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    UniqueFd file(open((temp.from() + "/state").c_str(), O_RDWR | O_CLOEXEC));
    for (int round = 1; !stop; ++round) {
      std::string block(100'000, static_cast<char>('a' + round % 26));
      for (int at = 0; at < 20; ++at) {
        if (pwrite(file.get(), block.data(), block.size(), at * 100'000) < 0) return;
      }
    }
  });
  for (int round = 0; round < 5; ++round) {
    SyncReport report = moved(temp.from(), temp.to());
    CHECK(report.skipped.size() + report.files_moved <= 1);
    if (!temp.has("to/state")) continue;
    std::string letters = temp.get("to/state");
    CHECK(letters.size() == 2'000'000);
    // The writer goes from front to back, so at any instant there is one boundary at most, and
    // the letter before it is the next one. A torn read shows others.
    size_t boundary = letters.find_first_not_of(letters[0]);
    if (boundary == std::string::npos) continue;
    CHECK(boundary % 100'000 == 0);
    CHECK(letters.find_first_not_of(letters[boundary], boundary) == std::string::npos);
    CHECK(letters[0] == (letters[boundary] == 'z' ? 'a' : letters[boundary] + 1));
  }
  stop = true;
  writer.join();
  temp.touch("from/state", 5);
  SyncReport report = moved(temp.from(), temp.to());
  CHECK(report.skipped.empty());
  CHECK(picture(temp.from()) == picture(temp.to()));
}
