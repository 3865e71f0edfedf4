// What the property test (tests/moves) has found, each by itself.
#include "fixture.h"

using namespace choline;

TEST_CASE("a file that is written anew and longer just before it is read arrives whole or not") {
  // The stream takes a batch of frames now and then. When it does so after the sender has looked at
  // the second file and before it reads it, the file changes: some size of the first file makes it
  // so.
  class Busy : public FdStream {
   public:
    Busy(int fd, const TempFolder& temp) : FdStream(fd, fd), temp_(temp) {}
    Status write(std::string_view bytes) override {
      if (++writes_ == 2) temp_.put("from/b", std::string(900, 'n'), 1'700'000'001);
      return FdStream::write(bytes);
    }

   private:
    const TempFolder& temp_;
    int writes_ = 0;
  };
  for (size_t size = (256 << 10) - 300; size < (256 << 10) + 8; size += 4) {
    TempFolder temp;
    temp.put("from/a", std::string(size, 'a'));
    temp.put("from/b", std::string(500, 'o'));
    SocketPair sockets;
    std::thread sender([&] {
      Busy stream(sockets.one.get(), temp);
      FrameReader in(stream);
      FrameWriter out(stream);
      (void)send_tree(in, out, temp.from(), {}, {});
    });
    FdStream stream(sockets.two.get(), sockets.two.get());
    FrameReader in(stream);
    FrameWriter out(stream);
    Result<SyncReport> report = receive_tree(in, out, temp.to(), {}, {});
    sender.join();
    REQUIRE(report.ok());
    std::string b = temp.get("to/b");
    CHECK_MESSAGE((b == std::string(500, 'o') || b == std::string(900, 'n')), b.size());
  }
}

TEST_CASE("a folder in the way of a file stays when it holds what is ignored, and that is said") {
  TempFolder temp;
  temp.put("from/a", "a file now");
  temp.put("from/b", "a file now");
  temp.put("to/a/.git/config", "mine");
  temp.put("to/b/extra", "goes");
  SyncOptions options;
  options.delete_extra = true;
  SyncReport report = moved(temp.from(), temp.to(), options);
  CHECK(temp.get("to/a/.git/config") == "mine");
  CHECK(temp.get("to/b") == "a file now");
  REQUIRE(report.failed.size() == 1);
  CHECK(report.failed[0].path == "a");
  CHECK(report.failed[0].why.find("in the way") != std::string::npos);
}

TEST_CASE("fifos at the target that are extra go as any other file, when that is asked for") {
  TempFolder temp;
  temp.put("from/a", "x");
  temp.put("to/folder/b", "x");
  REQUIRE(mkfifo((temp.to() + "/folder/pipe").c_str(), 0600) == 0);
  moved(temp.from(), temp.to());
  CHECK(temp.has("to/folder/pipe"));
  SyncOptions options;
  options.delete_extra = true;
  moved(temp.from(), temp.to(), options);
  CHECK(!temp.has("to/folder"));
}

TEST_CASE("files that are equal by contents, time and mode count as unchanged, also in a dry run") {
  TempFolder temp;
  temp.put("from/a", "x");
  temp.put("from/b", "y");
  moved(temp.from(), temp.to());
  REQUIRE(chmod((temp.to() + "/b").c_str(), 0600) == 0);
  SyncOptions options;
  options.compare_content = true;
  for (bool dry : {true, false}) {
    options.dry_run = dry;
    SyncReport report = moved(temp.from(), temp.to(), options);
    CHECK(report.unchanged == 1);
    REQUIRE(report.moves.size() == 1);
    CHECK(report.moves[0].path == "b");
    CHECK(report.moves[0].reason == MoveReason::mode);
  }
  CHECK(moved(temp.from(), temp.to(), options).unchanged == 2);
}
