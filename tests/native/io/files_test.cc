#include "io/files.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"

using namespace choline;

namespace {

struct TempFolder {
  TempFolder() : path("/tmp/choline-files-" + random_id(10)) { REQUIRE(make_folders(path).ok()); }
  ~TempFolder() { CHECK(remove_tree(path).ok()); }
  std::string path;
};

}  // namespace

TEST_CASE("a file written atomically is replaced whole, and nothing is left beside it") {
  TempFolder temp;
  std::string path = temp.path + "/file";
  REQUIRE(write_atomic(path, "one").ok());
  REQUIRE(write_atomic(path, std::string("two\0", 4), 0600).ok());
  CHECK(*read_file(path) == std::string("two\0", 4));
  CHECK(*list_folder(temp.path) == std::vector<std::string>{"file"});
  CHECK((*file_info(path))->mode == 0600);
  REQUIRE(append_file(path, "+").ok());
  CHECK(read_file(path)->size() == 5);
  CHECK(read_file(path, 4).error().message.find("larger than the limit of 4 bytes") !=
        std::string::npos);
  CHECK(read_file(temp.path + "/none").error().kind == ErrorKind::not_found);
  CHECK(!write_atomic(temp.path + "/no/such", "x").ok());
}

TEST_CASE("a failed atomic write leaves the old file and no litter") {
  TempFolder temp;
  std::string folder = temp.path + "/taken";
  REQUIRE(make_folders(folder + "/full").ok());
  CHECK(!write_atomic(folder, "x").ok());  // a folder cannot be replaced by a file
  CHECK(*list_folder(temp.path) == std::vector<std::string>{"taken"});
}

TEST_CASE("folders are made with their parents, and a file in the way is named") {
  TempFolder temp;
  REQUIRE(make_folders(temp.path + "/a/b//c/").ok());
  REQUIRE(make_folders(temp.path + "/a/b/c").ok());
  REQUIRE(write_atomic(temp.path + "/file", "").ok());
  Status status = make_folders(temp.path + "/file/x");
  REQUIRE(!status.ok());
  CHECK(status.error().message.find("Not a directory") != std::string::npos);
  CHECK(!make_folders("").ok());
}

TEST_CASE("a tree is removed with closed folders in it, and links are not followed") {
  TempFolder temp;
  std::string kept = temp.path + "/kept";
  std::string tree = temp.path + "/tree";
  REQUIRE(make_folders(kept).ok());
  REQUIRE(write_atomic(kept + "/precious", "x").ok());
  REQUIRE(make_folders(tree + "/a/closed").ok());
  REQUIRE(write_atomic(tree + "/a/closed/f", "x").ok());
  REQUIRE(chmod((tree + "/a/closed").c_str(), 0500) == 0);
  REQUIRE(symlink(kept.c_str(), (tree + "/link").c_str()) == 0);
  CHECK(remove_tree(tree).ok());
  CHECK(!*file_info(tree));
  CHECK(read_file(kept + "/precious").ok());
  REQUIRE(symlink(kept.c_str(), tree.c_str()) == 0);
  CHECK(remove_tree(tree).ok());
  CHECK(read_file(kept + "/precious").ok());
  CHECK(remove_tree(tree).ok());  // absent is fine
  for (const char* never : {"/", ".", "..", "", "/tmp/..", "//"}) CHECK(!remove_tree(never).ok());
}

TEST_CASE("absence is a value, also below a file") {
  TempFolder temp;
  REQUIRE(write_atomic(temp.path + "/file", "abc").ok());
  CHECK(!*file_info(temp.path + "/none"));
  CHECK(!*file_info(temp.path + "/file/below"));
  Result<std::optional<FileInfo>> info = file_info(temp.path + "/file");
  REQUIRE(info.ok());
  CHECK((*info)->kind == FileKind::file);
  CHECK((*info)->size == 3);
}

TEST_CASE("a lock is held against others in this process and elsewhere until its holder dies") {
  TempFolder temp;
  std::string path = temp.path + "/lock";
  {
    Result<FileLock> mine = FileLock::take(path);
    REQUIRE(mine.ok());
    REQUIRE(mine->note("pid 1").ok());
    CHECK(*read_file(path) == "pid 1");
    Result<FileLock> second = FileLock::take(path);
    REQUIRE(!second.ok());
    CHECK(second.error().kind == ErrorKind::conflict);
  }
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  pid_t holder = fork();
  if (holder == 0) {
    Result<FileLock> lock = FileLock::take(path);
    ssize_t put = write(ends[1], lock.ok() ? "y" : "n", 1);
    if (put == 1) pause();
    _exit(1);
  }
  char answer = 0;
  REQUIRE(read(ends[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  CHECK(FileLock::take(path).error().kind == ErrorKind::conflict);
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  CHECK(FileLock::take(path).ok());
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("a local disk is known as such and has space") {
  TempFolder temp;
  CHECK(!*is_network_filesystem("/proc"));
  Result<DiskSpace> space = disk_space(temp.path);
  REQUIRE(space.ok());
  CHECK(space->free <= space->total);
  CHECK(space->total > 0);
  CHECK(!disk_space("/no/such").ok());
}
