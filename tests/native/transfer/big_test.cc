// Big files: lanes, what is here already, and what is left of a transfer that was cut.
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <random>

#include "base/digest_fast.h"
#include "fixture.h"
#include "transfer/big_part.h"
#include "transfer/lane.h"
#include "transfer/pieces.h"
#include "transfer/plan.h"

using namespace choline;

namespace {

std::string noise(size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string out(size, '\0');
  for (char& each : out) each = static_cast<char>(random());
  return out;
}

// Carries bytes both ways until `left` of them have passed, and then closes both ends.
void relay(int one, int two, std::atomic<int64_t>& left) {
  char block[8192];
  bool open = true;
  while (open) {
    pollfd polls[2] = {{one, POLLIN, 0}, {two, POLLIN, 0}};
    if (poll(polls, 2, -1) < 0) break;
    for (int from = 0; from < 2 && open; ++from) {
      if (!polls[from].revents) continue;
      ssize_t got = read(polls[from].fd, block, sizeof block);
      if (got > 0) left -= got;
      open = got > 0 && left > 0 &&
             send(polls[1 - from].fd, block, static_cast<size_t>(got), MSG_NOSIGNAL) == got;
    }
  }
  shutdown(one, SHUT_RDWR);
  shutdown(two, SHUT_RDWR);
}

// Lanes as an instance has them: a process in between, which is a thread here.
struct Lanes {
  explicit Lanes(int64_t most = INT64_MAX) : left(most) {}
  ~Lanes() {
    for (std::thread& thread : threads) thread.join();
  }
  LaneOpener opener() {
    return [this](uint64_t, const LaneWaker&) -> Result<LanePipe> {
      if (refuse) return Error(ErrorKind::refused, "no more sessions");
      auto near = std::make_shared<SocketPair>();
      auto far = std::make_shared<SocketPair>();
      std::lock_guard lock(mutex);
      ++opened;
      threads.emplace_back([this, near, far] { relay(near->two.get(), far->one.get(), left); });
      threads.emplace_back([far] {
        (void)hand_lane(far->two.get(), far->two.get());
        shutdown(far->two.get(), SHUT_RDWR);
      });
      std::string ready(kLaneReady.size(), '\0');
      FdStream stream(near->one.get(), near->one.get());
      for (size_t at = 0; at < ready.size();) {
        Result<size_t> got = stream.read(ready.data() + at, ready.size() - at);
        if (!got.ok() || *got == 0) return Error(ErrorKind::lost, "the lane closed");
        at += *got;
      }
      LanePipe pipe;
      pipe.in.reset(dup(near->one.get()));
      pipe.out.reset(dup(near->one.get()));
      pipe.holder =
          std::shared_ptr<void>(nullptr, [near](void*) { shutdown(near->one.get(), SHUT_RDWR); });
      return pipe;
    };
  }
  std::atomic<int64_t> left;
  std::atomic<int> opened{0};
  bool refuse = false;
  std::mutex mutex;
  std::vector<std::thread> threads;
};

// One end dials lanes, the other takes them.
Result<SyncReport> move_with_lanes(const std::string& from, const std::string& to, Lanes& lanes,
                                   bool pull) {
  SocketPair sockets;
  SyncOptions options;
  options.durable = false;
  LaneKey key = LaneKey::make();
  std::unique_ptr<LaneSource> taken = take_lanes(key);
  std::unique_ptr<LaneSource> dialled = dial_lanes(lanes.opener(), key);
  REQUIRE(taken);
  SessionHooks sender_hooks, receiver_hooks;
  sender_hooks.lanes = pull ? taken.get() : dialled.get();
  receiver_hooks.lanes = pull ? dialled.get() : taken.get();
  std::thread sender([&] {
    FdStream stream(sockets.one.get(), sockets.one.get());
    FrameReader in(stream);
    FrameWriter out(stream);
    Result<SyncReport> sent = send_tree(in, out, from, options, sender_hooks);
    CHECK_MESSAGE(sent.ok(), (sent.ok() ? "" : sent.error().message));
    shutdown(sockets.one.get(), SHUT_WR);
  });
  FdStream stream(sockets.two.get(), sockets.two.get());
  FrameReader in(stream);
  FrameWriter out(stream);
  Result<SyncReport> report = receive_tree(in, out, to, options, receiver_hooks);
  shutdown(sockets.two.get(), SHUT_WR);
  sender.join();
  return report;
}

// All that a sender says in an honest session, for a receiver that has what is at `to`.
std::string record(const std::string& from, const std::string& to) {
  SocketPair sockets;
  std::string heard;
  class Tap : public FdStream {
   public:
    Tap(int fd, std::string& seen) : FdStream(fd, fd), seen_(seen) {}
    Result<size_t> read(char* into, size_t most) override {
      Result<size_t> got = FdStream::read(into, most);
      if (got.ok()) seen_.append(into, *got);
      return got;
    }

   private:
    std::string& seen_;
  };
  std::thread sender([&] {
    FdStream stream(sockets.one.get(), sockets.one.get());
    FrameReader in(stream);
    FrameWriter out(stream);
    CHECK(send_tree(in, out, from, {}, {}).ok());
  });
  Tap stream(sockets.two.get(), heard);
  FrameReader in(stream);
  FrameWriter out(stream);
  CHECK(receive_tree(in, out, to, {}, {}).ok());
  sender.join();
  return heard;
}

Result<SyncReport> replay(std::string bytes, const std::string& to) {
  Script script(std::move(bytes), 4096);
  FrameReader in(script);
  FrameWriter out(script);
  SyncOptions options;
  options.durable = false;
  return receive_tree(in, out, to, options, {});
}

std::string big_frame(FrameType type, const std::string& payload) {
  return frame_header(type, payload.size()) + payload;
}

std::string piece(uint64_t ticket, uint64_t offset, const std::string& bytes) {
  PieceHead head{ticket, offset, bytes.size(), PieceMethod::raw, digest_piece(bytes)};
  return big_frame(FrameType::piece, pack(head) + bytes);
}

// What a sender of one file of this size says before its contents.
std::string lying_start(uint64_t size) {
  RecordWriter manifest;
  Entry entry;
  entry.path = "a";
  entry.size = size;
  entry.mode = 0644;
  manifest.add(entry);
  Json end = {{"count", 1}, {"skipped", Json::array()}, {"failed", Json::array()}, {"cut", false}};
  Packer head;
  head.number(0).number(size).signed_number(0).number(0644);
  return big_frame(FrameType::tree, R"({"single":false,"name":""})") +
         big_frame(FrameType::entries, pack_batch(manifest.take())) +
         big_frame(FrameType::entries_end, to_text(end)) + big_frame(FrameType::big, head.out());
}

}  // namespace

TEST_CASE("contents are cut at the same places wherever they lie") {
  std::string bytes = noise(3 << 20, 1);
  constexpr uint64_t kUnit = 64 << 10;
  auto cuts = [](std::string_view text) {
    std::map<std::string, int> out;
    while (!text.empty()) {
      size_t length = first_chunk(text, kUnit);
      REQUIRE(length > 0);
      REQUIRE(length <= most_chunk(kUnit));
      ++out[fast_digest(text.substr(0, length))];
      text.remove_prefix(length);
    }
    return out;
  };
  auto before = cuts(bytes), after = cuts("a few bytes more" + bytes);
  CHECK(before.size() > 20);
  size_t shared = 0;
  for (const auto& [digest, count] : after) shared += before.contains(digest);
  CHECK(shared + 4 > before.size());
}

TEST_CASE("what is covered and what is not") {
  Coverage coverage;
  CHECK(coverage.add(10, 10));
  CHECK(coverage.add(30, 10));
  CHECK(!coverage.add(15, 1));
  CHECK(!coverage.add(5, 6));
  CHECK(!coverage.add(0, 100));
  CHECK(coverage.add(20, 10));
  CHECK(coverage.bytes() == 30);
  coverage.remove(15, 10);
  auto gaps = coverage.gaps(50);
  REQUIRE(gaps.size() == 3);
  CHECK(gaps[0].length == 10);
  CHECK(gaps[1].offset == 15);
  CHECK(gaps[1].length == 10);
  CHECK(gaps[2].offset == 40);
}

TEST_CASE("big files go over lanes, whichever end opens them") {
  for (bool pull : {false, true}) {
    TempFolder temp;
    temp.put("from/large", noise(30 << 20, 2));
    temp.put("from/middle", noise(3'000'001, 3));
    temp.put("from/small", "small");
    Lanes lanes;
    Result<SyncReport> report = move_with_lanes(temp.from(), temp.to(), lanes, pull);
    REQUIRE_MESSAGE(report.ok(), (report.ok() ? "" : report.error().message));
    CHECK(lanes.opened == 2);
    CHECK(report->files_moved == 3);
    CHECK(report->bytes_moved == (30 << 20) + 3'000'001 + 5);
    CHECK(picture(temp.from()) == picture(temp.to()));
  }
}

TEST_CASE("lanes that are refused or die at any place cost nothing but time") {
  TempFolder temp;
  temp.put("from/large", noise(20 << 20, 4));
  auto good = picture(temp.from());
  for (bool pull : {false, true}) {
    for (int64_t most : {1, 70, 5'000, 700'000, 3'000'000, 9'000'000}) {
      REQUIRE(remove_tree(temp.to()).ok());
      Lanes lanes(most);
      lanes.refuse = most == 1;
      Result<SyncReport> report = move_with_lanes(temp.from(), temp.to(), lanes, pull);
      REQUIRE_MESSAGE(report.ok(), (report.ok() ? "" : report.error().message));
      CHECK(picture(temp.to()) == good);
    }
  }
}

TEST_CASE("a lane with another secret is not taken") {
  LaneKey key = LaneKey::make();
  std::unique_ptr<LaneSource> taken = take_lanes(key);
  REQUIRE(taken);
  std::atomic<int> ran{0};
  taken->start(
      2, [&](LanePipe, const LaneWaker&) { ++ran; }, [](uint64_t) {});
  LaneKey wrong = key;
  wrong.secret = std::string(wrong.secret.size(), 'x');
  for (const LaneKey& each : {wrong, key}) {
    SocketPair pair;
    std::thread carrier([&] { (void)hand_lane(pair.two.get(), pair.two.get()); });
    FdStream stream(pair.one.get(), pair.one.get());
    REQUIRE(stream.write(lane_greeting(each, 1)).ok());
    carrier.join();  // it was closed: refused, or used and over
  }
  taken->stop(false);
  CHECK(ran == 1);
}

TEST_CASE("of a big file that changed in place, what changed moves") {
  TempFolder temp;
  std::string bytes = noise(8 << 20, 5);
  temp.put("to/a", bytes, 1'600'000'000);
  for (size_t at : {size_t{0}, size_t{1} << 20, size_t{5'000'000}, bytes.size() - 1})
    bytes[at] ^= 1;
  temp.put("from/a", bytes);
  SyncReport report = moved(temp.from(), temp.to());
  CHECK(report.files_moved == 1);
  CHECK(report.bytes_moved <= 4 * list_unit(ListKind::blocks, bytes.size()));
  CHECK(picture(temp.from()) == picture(temp.to()));
}

TEST_CASE("of a big file that grew or shrank anywhere, what is new moves") {
  TempFolder temp;
  const std::string bytes = noise(8 << 20, 6);
  int64_t time = 1'600'000'000;
  for (const std::string& next :
       {"new at the start" + bytes, bytes + noise(100'000, 7),
        bytes.substr(0, 3'000'000) + "in the middle" + bytes.substr(3'000'000),
        bytes.substr(700'000), bytes.substr(0, 2'000'000)}) {
    temp.put("to/a", bytes, 1'500'000'000);
    temp.put("from/a", next, ++time);
    SyncReport report = moved(temp.from(), temp.to());
    CHECK(report.bytes_moved < 800'000);
    CHECK(picture(temp.from()) == picture(temp.to()));
  }
}

TEST_CASE("a big file that is the same but for its time is not written") {
  TempFolder temp;
  std::string bytes = noise(2 << 20, 8);
  temp.put("to/a", bytes, 1'600'000'000);
  temp.put("from/a", bytes);
  auto before = file_info(temp.path + "/to/a");
  SyncReport report = moved(temp.from(), temp.to());
  CHECK(report.files_moved == 0);
  CHECK(report.touched == 1);
  CHECK(report.bytes_moved == 0);
  CHECK(picture(temp.from()) == picture(temp.to()));
}

TEST_CASE("a big file that has nothing in common is sent whole") {
  TempFolder temp;
  temp.put("to/a", noise(40 << 20, 9), 1'600'000'000);
  temp.put("from/a", noise(40 << 20, 10));
  SyncReport report = moved(temp.from(), temp.to());
  CHECK(report.bytes_moved == 40 << 20);
  CHECK(picture(temp.from()) == picture(temp.to()));
}

TEST_CASE("zeros at the source replace what was there") {
  TempFolder temp;
  std::string bytes = noise(4 << 20, 11);
  temp.put("to/a", bytes, 1'600'000'000);
  temp.put("from/a", bytes);
  {
    UniqueFd file(open((temp.from() + "/a").c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(ftruncate(file.get(), 1 << 20) == 0);
    REQUIRE(ftruncate(file.get(), 4 << 20) == 0);
  }
  temp.touch("from/a", 1'700'000'000);
  moved(temp.from(), temp.to());
  CHECK(picture(temp.from()) == picture(temp.to()));
}

TEST_CASE("a transfer that is cut at any byte goes on from there") {
  TempFolder temp;
  std::string bytes = noise(6 << 20, 12);
  temp.put("from/a", bytes);
  std::string sent = record(temp.from(), temp.path + "/first");
  auto good = picture(temp.from());
  for (size_t cut : {size_t{300}, size_t{600'000}, size_t{2'000'000}, sent.size() - 60}) {
    REQUIRE(remove_tree(temp.to()).ok());
    CHECK(!replay(sent.substr(0, cut), temp.to()).ok());
    CHECK(!temp.has("to/a"));
    SyncReport report = moved(temp.from(), temp.to());
    CHECK(picture(temp.to()) == good);
    CHECK(list_folder(temp.to())->size() == 1);
    // What had come in whole pieces is not sent again, from a mebibyte on.
    if (cut > 1 << 20) CHECK(report.bytes_moved < bytes.size() - cut + kPiece + (64 << 10));
  }
}

TEST_CASE("what is left of another version is no harm") {
  TempFolder temp;
  temp.put("from/a", noise(3 << 20, 13));
  temp.put("to/" + big_part_name("a"), noise(5 << 20, 14));
  temp.put("to/" + big_part_name("gone"), noise(2 << 20, 15));
  SyncReport report = moved(temp.from(), temp.to());
  CHECK(report.bytes_moved == 3 << 20);
  CHECK(picture(temp.from()) == picture(temp.to()));
  CHECK(list_folder(temp.to())->size() == 1);  // the part of a file that nobody wants went too
}

TEST_CASE("a session with lists that is cut at any byte leaves the old file or the new one") {
  TempFolder temp;
  std::string old = noise(600'000, 16);
  std::string now = old.substr(0, 300'000) + "inserted" + old.substr(300'000);
  temp.put("from/a", now);
  auto put_old = [&] {
    REQUIRE(remove_tree(temp.to()).ok());
    temp.put("to/a", old, 1'600'000'000);
  };
  put_old();
  std::string sent = record(temp.from(), temp.to());
  CHECK(sent.size() < 400'000);
  for (size_t cut = 0; cut < sent.size(); cut += cut < 300 ? 2 : 9'973) {
    put_old();
    CHECK(!replay(sent.substr(0, cut), temp.to()).ok());
    CHECK(temp.get("to/a") == old);
  }
  int refused = 0;
  for (size_t at = 0; at < sent.size(); at += at < 300 ? 2 : 5'003) {
    put_old();
    std::string bytes = sent;
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    refused += !replay(bytes, temp.to()).ok();
    std::string got = temp.get("to/a");
    CHECK((got == old || got == now || !temp.has("to/a")));
  }
  CHECK(refused > 80);
}

TEST_CASE("what no honest sender says about a big file is refused") {
  constexpr uint64_t kSize = 1 << 20;
  std::string bytes = noise(kPiece, 17);
  auto numbers = [](std::initializer_list<uint64_t> list) {
    Packer packer;
    for (uint64_t each : list) packer.number(each);
    return std::move(packer.out());
  };
  std::string wrong = piece(0, 0, bytes);
  wrong.back() = static_cast<char>(wrong.back() ^ 1);
  const std::pair<std::string, std::string> lies[] = {
      {piece(0, kSize - 5, bytes), "more of a file than it said"},
      {piece(0, 0, bytes) + piece(0, 100, bytes), "more of a file than it said"},
      {piece(0, UINT64_MAX, bytes), "more of a file than it said"},
      {wrong, "was damaged on the way"},
      {big_frame(FrameType::keep, numbers({0, 0, 65536})), "a copy of what was not listed"},
      {big_frame(FrameType::copy, numbers({0, 0, 0, 65536})), "a copy of what was not listed"},
      {big_frame(FrameType::zeros, numbers({0, 0, 1ULL << 60})), "more of a file than it said"},
      {big_frame(FrameType::zeros, numbers({0, 0, 0})), "a hole that cannot be read"},
      {piece(7, 0, bytes), "a part of a file that has not begun"},
      {big_frame(FrameType::big_end, numbers({1, 0})), "the end of a file that has not begun"},
      {big_frame(FrameType::big_end, numbers({0, 7})), "the end of a file that cannot be read"},
      {big_frame(FrameType::finished, "{}"), "no end of a file"},
      {big_frame(FrameType::big_end, numbers({0, 1})) + big_frame(FrameType::finished, "{}"),
       "no second try of a file"},
      {big_frame(FrameType::piece, numbers({0, 0, 10, 9}) + std::string(16, 'x')),
       "a piece that cannot be read"}};
  for (const auto& [lie, why] : lies) {
    TempFolder temp;
    Result<SyncReport> report = replay(lying_start(kSize) + lie, temp.to());
    REQUIRE(!report.ok());
    CHECK_MESSAGE(report.error().message.find(why) != std::string::npos, report.error().message);
    CHECK(!temp.has("to/a"));
  }
}
