#include "transfer/checkpoint.h"

#include <time.h>

#include <algorithm>
#include <atomic>

#include "fixture.h"

using namespace choline;

namespace {

std::string names(const std::vector<Checkpoint>& list) {
  std::string out;
  for (const Checkpoint& each : list) {
    out += each.name + (each.step ? "=" + std::to_string(*each.step) : "") + " ";
  }
  return out;
}

SyncOptions quick() {
  SyncOptions options;
  options.checkpoints = true;
  options.settle = 0;
  return options;
}

std::string skipped(const SyncReport& report) {
  std::string out;
  for (const SyncNote& note : report.skipped) out += note.path + ": " + note.why + "\n";
  return out;
}

}  // namespace

TEST_CASE("complete checkpoints are listed by step, then by age") {
  TempFolder temp;
  temp.put("from/checkpoint-100/model", "123", 50);
  temp.put("from/checkpoint-100/optimizer", "12345", 60);
  temp.put("from/checkpoint-20/model", "x", 70);
  temp.put("from/step_00003.tar.pt", "x", 80);
  temp.put("from/best.pt", "x", 20);
  temp.put("from/last.pt", "x", 10);
  temp.put("from/checkpoint-300/model.tmp", "x");
  temp.put("from/checkpoint-400/checkpoint-is-incomplete.txt", "");
  temp.put("from/checkpoint-500.partial", "x");
  temp.put("from/tmp-checkpoint-600/model", "x");
  temp.put("from/.hidden-700", "x");
  REQUIRE(make_folders(temp.from() + "/checkpoint-800").ok());
  Result<std::vector<Checkpoint>> list = find_checkpoints(temp.from());
  REQUIRE(list.ok());
  CHECK(names(*list) == "last.pt best.pt step_00003.tar.pt=3 checkpoint-20=20 checkpoint-100=100 ");
  CHECK(list->back().bytes == 8);
  CHECK(list->back().mtime == doctest::Approx(60.123456789));
  CHECK(find_checkpoints(temp.path + "/none")->empty());
}

TEST_CASE("only complete checkpoints move, and each of the others is told with its reason") {
  TempFolder temp;
  temp.put("from/step-1.json", "one");
  temp.put("from/step-2.json.tmp", "half");
  temp.put("from/dir-3/model", "three");
  temp.put("from/dir-4/model", "four");
  temp.put("from/dir-4/optimizer.part", "half");
  temp.put("from/dir-5/checkpoint-is-incomplete.txt", "");
  temp.put("from/.cache", "x");
  SyncReport report = moved(temp.from(), temp.to(), quick());
  CHECK(*list_folder(temp.to()) == std::vector<std::string>{"dir-3", "step-1.json"});
  CHECK(*list_folder(temp.to() + "/dir-3") == std::vector<std::string>{"model"});
  CHECK(skipped(report) ==
        ".cache: its name says that it is not finished\n"
        "dir-4: holds 'optimizer.part', which is not finished\n"
        "dir-5: holds checkpoint-is-incomplete.txt\n"
        "step-2.json.tmp: its name says that it is not finished\n");
}

TEST_CASE("a checkpoint that is being written stays behind until it rests") {
  TempFolder temp;
  temp.put("from/old-1", "rests");
  temp.put("from/new-2", "begun");
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) {
      (void)append_file(temp.from() + "/new-2", "more");
      timespec nap{0, 1'000'000};
      nanosleep(&nap, nullptr);
    }
  });
  SyncOptions options;
  options.checkpoints = true;
  options.settle = 0.2;
  SyncReport report = moved(temp.from(), temp.to(), options);
  stop = true;
  writer.join();
  CHECK(skipped(report) == "new-2: is still being written\n");
  CHECK(*list_folder(temp.to()) == std::vector<std::string>{"old-1"});
  report = moved(temp.from(), temp.to(), options);
  CHECK(report.skipped.empty());
  CHECK(temp.get("to/new-2") == temp.get("from/new-2"));
}

TEST_CASE("a checkpoint cut off on its way counts for nothing until a later sync completes it") {
  TempFolder temp;
  temp.put("from/dir-7/a", "a");
  temp.put("from/dir-7/sub/b", std::string(100'000, 'b'));
  temp.put("from/dir-7/z", "z");
  int with_marker = 0;
  for (size_t cut = 300; cut < 100'000; cut += 997) {
    REQUIRE(remove_tree(temp.to()).ok());
    SocketPair sockets;
    std::thread receiver([&] {
      FdStream stream(sockets.two.get(), sockets.two.get());
      FrameReader in(stream);
      FrameWriter out(stream);
      CHECK(!receive_tree(in, out, temp.to(), quick(), {}).ok());
      shutdown(sockets.two.get(), SHUT_RDWR);
    });
    class Cut : public FdStream {
     public:
      Cut(int fd, size_t left) : FdStream(fd, fd), left_(left) {}
      Status write(std::string_view bytes) override {
        Status status = FdStream::write(bytes.substr(0, left_));
        left_ -= std::min(left_, bytes.size());
        if (left_ == 0) return Error(ErrorKind::lost, "cut");
        return status;
      }

     private:
      size_t left_;
    } stream(sockets.one.get(), cut);
    FrameReader in(stream);
    FrameWriter out(stream);
    CHECK(!send_tree(in, out, temp.from(), quick(), {}).ok());
    shutdown(sockets.one.get(), SHUT_RDWR);
    receiver.join();
    CHECK(find_checkpoints(temp.to())->empty());
    if (temp.has("to/dir-7/checkpoint-is-incomplete.txt")) ++with_marker;
  }
  CHECK(with_marker > 10);
  moved(temp.from(), temp.to(), quick());
  CHECK(picture(temp.to()) == picture(temp.from()));
  CHECK(names(*find_checkpoints(temp.to())) == "dir-7=7 ");
}

TEST_CASE("a marker left by a dead receiver goes even when nothing else has to move") {
  TempFolder temp;
  temp.put("from/dir-7/a", "a");
  moved(temp.from(), temp.to(), quick());
  temp.put("to/dir-7/checkpoint-is-incomplete.txt", "");
  SyncReport report = moved(temp.from(), temp.to(), quick());
  CHECK(report.files_moved == 0);
  CHECK(picture(temp.to()) == picture(temp.from()));
}

TEST_CASE("removing extra checkpoints spares those that are only unfinished at the source") {
  TempFolder temp;
  temp.put("from/dir-2/a", "new");
  temp.put("from/dir-2/b.tmp", "half");
  temp.put("to/dir-1/a", "old");
  temp.put("to/dir-2/a", "old");
  SyncOptions options = quick();
  options.delete_extra = true;
  moved(temp.from(), temp.to(), options);
  CHECK(!temp.has("to/dir-1"));
  CHECK(temp.get("to/dir-2/a") == "old");
}
