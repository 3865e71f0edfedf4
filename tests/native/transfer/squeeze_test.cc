// Compression on the way: what arrives is what was sent, it is tried only where it pays, and what
// unpacks into something else than was said is refused.
#include <atomic>
#include <random>

#include "fixture.h"
#include "transfer/pack.h"
#include "transfer/pieces.h"
#include "transfer/plan.h"
#include "transfer/squeeze.h"

using namespace choline;

namespace {

constexpr int64_t kSecond = 1'000'000'000;

std::string dense(size_t size) {
  std::mt19937_64 random(size);
  std::string out(size, '\0');
  for (char& each : out) each = static_cast<char>(random());
  return out;
}

std::string loose(size_t size) {
  std::string out;
  for (size_t number = 0; out.size() < size; ++number) {
    out += "line " + std::to_string(number * 7919 % 1000) + " of a log that shrinks well\n";
  }
  out.resize(size);
  return out;
}

// A connection that takes so many bytes a second, as its gauge sees it after a while.
LinkGauge link_of(double rate, bool waits) {
  LinkGauge gauge;
  int64_t now = kSecond;
  constexpr size_t kBlock = 256 << 10;
  for (int block = 0; block < 200; ++block) {
    auto took = static_cast<int64_t>(kBlock / rate * kSecond);
    gauge.wrote(kBlock, waits ? now : now + took - 1, now + took);
    now += took;
  }
  return gauge;
}

std::string squeezed(std::string_view bytes) {
  LinkGauge gauge;
  Squeezer squeezer(Packing::always, gauge, 0);
  return std::string(squeezer.squeeze(bytes));
}

// Counts what passes.
class Counted : public FdStream {
 public:
  Counted(int fd, std::atomic<uint64_t>& count) : FdStream(fd, fd), count_(count) {}
  Status write(std::string_view bytes) override {
    count_ += bytes.size();
    return FdStream::write(bytes);
  }

 private:
  std::atomic<uint64_t>& count_;
};

// How many bytes the sender said.
uint64_t cost_of_moving(const TempFolder& temp, Packing packing) {
  SyncOptions options;
  options.durable = false;
  options.packing = packing;
  SocketPair sockets;
  std::atomic<uint64_t> said{0};
  std::thread sender([&] {
    Counted stream(sockets.one.get(), said);
    FrameReader in(stream);
    FrameWriter out(stream);
    CHECK(send_tree(in, out, temp.from(), options, {}).ok());
  });
  FdStream stream(sockets.two.get(), sockets.two.get());
  FrameReader in(stream);
  FrameWriter out(stream);
  Result<SyncReport> report = receive_tree(in, out, temp.to(), options, {});
  sender.join();
  CHECK_MESSAGE(report.ok(), (report.ok() ? "" : report.error().message));
  return said;
}

std::string frame_with(FrameType type, const std::string& payload) {
  return frame_header(type, payload.size()) + payload;
}

std::string manifest_of(uint64_t size, std::string entries = {}) {
  if (entries.empty()) {
    RecordWriter manifest;
    Entry entry;
    entry.path = "a";
    entry.size = size;
    entry.mode = 0644;
    manifest.add(entry);
    entries = pack_batch(manifest.take());
  }
  Json end = {{"count", 1}, {"skipped", Json::array()}, {"failed", Json::array()}, {"cut", false}};
  return frame_with(FrameType::tree, R"({"single":false,"name":""})") +
         frame_with(FrameType::entries, entries) + frame_with(FrameType::entries_end, to_text(end));
}

// The beginning of a session of one file of this size, and a piece of it.
std::string piece_of(uint64_t size, PieceHead head, const std::string& bytes) {
  Packer begin;
  begin.number(0).number(size).signed_number(0).number(0644);
  return manifest_of(size) + frame_with(FrameType::big, begin.out()) +
         frame_with(FrameType::piece, pack(head) + bytes);
}

std::string refusal(const std::string& said) {
  TempFolder temp;
  REQUIRE(make_folders(temp.to()).ok());
  Script script(said, 4096);
  FrameReader in(script);
  FrameWriter out(script);
  SyncOptions options;
  options.durable = false;
  Result<SyncReport> report = receive_tree(in, out, temp.to(), options, {});
  CHECK(!temp.has("to/a"));
  return report.ok() ? "no error" : report.error().message;
}

}  // namespace

TEST_CASE("what was squeezed comes back, and nothing else does") {
  for (size_t size : {size_t{512}, size_t{70'000}, size_t{512} << 10}) {
    std::string bytes = loose(size), out;
    std::string frame = squeezed(bytes);
    REQUIRE(!frame.empty());
    CHECK(frame.size() < bytes.size() / 2);
    REQUIRE(unsqueeze(frame, bytes.size(), out));
    CHECK(out == bytes);
    CHECK(!unsqueeze(frame, bytes.size() - 1, out));  // it holds more than was said
    CHECK(!unsqueeze(frame, bytes.size() + 1, out));
    CHECK(!unsqueeze(frame.substr(0, frame.size() - 1), bytes.size(), out));
    CHECK(!unsqueeze(frame + frame, bytes.size(), out));
    CHECK(!unsqueeze(frame + "x", bytes.size(), out));
    CHECK(!unsqueeze(bytes, bytes.size(), out));
    CHECK(!unsqueeze("", bytes.size(), out));
    std::string bad = frame;
    bad[4] = static_cast<char>(bad[4] ^ 0x7F);
    bool same = unsqueeze(bad, bytes.size(), out) && out == bytes;
    CHECK(!same);
  }
  CHECK(squeezed(dense(100'000)).empty());
}

TEST_CASE("a frame that unpacks into very much is refused before memory is set aside for it") {
  std::string bomb = squeezed(std::string(512 << 10, '\0'));
  std::string out;
  REQUIRE(bomb.size() < 100);
  CHECK(!unsqueeze(bomb, 4096, out));
  CHECK(out.capacity() < 4096);
  // The same with a header that says nothing of its length: zstd streams have none.
  std::string nameless("\x28\xb5\x2f\xfd\x00\x58\x4b\x00\x00\x00\x00\x02\x00", 13);
  CHECK(!unsqueeze(nameless, 512 << 10, out));
  CHECK(out.capacity() < 4096);
}

TEST_CASE("only a link that is slower than the compressor gets compressed bytes") {
  std::string bytes = loose(256 << 10);
  auto tries = [&](double rate, bool waits, std::string_view what) {
    LinkGauge gauge = link_of(rate, waits);
    Squeezer squeezer(Packing::when_it_pays, gauge, 0);
    return squeezer.squeeze(what).size();
  };
  CHECK(tries(1e6, true, bytes) > 0);
  CHECK(tries(1e6, false, bytes) == 0);  // its writer is what is slow
  CHECK(tries(4e9, true, bytes) == 0);
  CHECK(tries(1e6, true, dense(256 << 10)) == 0);
  LinkGauge nothing_known;
  CHECK(Squeezer(Packing::when_it_pays, nothing_known, 0).squeeze(bytes).empty());
  CHECK(!Squeezer(Packing::when_it_pays, nothing_known, 1'000'000).squeeze(bytes).empty());
  LinkGauge slow = link_of(1e6, true);
  CHECK(Squeezer(Packing::never, slow, 0).squeeze(bytes).empty());
}

TEST_CASE("bytes that do not shrink are tried ever more seldom, and begin to shrink in time") {
  LinkGauge slow = link_of(1e6, true);
  Squeezer squeezer(Packing::when_it_pays, slow, 0);
  std::string hard = dense(64 << 10), soft = loose(64 << 10);
  for (int piece = 0; piece < 200; ++piece) CHECK(squeezer.squeeze(hard).empty());
  int passed = 0;
  while (squeezer.squeeze(soft).empty() && passed < 1000) ++passed;
  CHECK(passed > 8);
  CHECK(passed <= 64);
  CHECK(!squeezer.squeeze(soft).empty());
}

TEST_CASE("trees arrive as they are when all that can be is compressed, in fewer bytes") {
  TempFolder temp;
  temp.put("from/log", loose(3'000'001));
  temp.put("from/noise", dense(900'000));
  temp.put("from/middle", loose(100'000));  // neither small nor big
  for (int number = 0; number < 1500; ++number) {
    std::string name = "from/folder/file-" + std::to_string(number);
    temp.put(name, loose(static_cast<size_t>(number)), 1'700'000'000 + number);
  }
  uint64_t plain = cost_of_moving(temp, Packing::never);
  CHECK(picture(temp.from()) == picture(temp.to()));
  REQUIRE(remove_tree(temp.to()).ok());
  uint64_t packed = cost_of_moving(temp, Packing::always);
  CHECK(picture(temp.from()) == picture(temp.to()));
  CHECK(packed < plain / 2);
  // A manifest alone; and what changed in the midst of a big file.
  CHECK(cost_of_moving(temp, Packing::always) < cost_of_moving(temp, Packing::never) * 2 / 3);
  temp.put("from/log", loose(1'000'000) + "inserted" + loose(3'000'001).substr(1'000'000),
           1'700'000'001);
  cost_of_moving(temp, Packing::always);
  CHECK(picture(temp.from()) == picture(temp.to()));
}

TEST_CASE("pieces that were packed by no honest sender are refused") {
  constexpr uint64_t kSize = 1 << 20;
  std::string bytes = loose(kPiece);
  const std::string frame = squeezed(bytes);
  PieceHead head{0, 0, bytes.size(), PieceMethod::zstd, digest_piece(bytes)};
  auto lie = [&](PieceHead with, const std::string& as) {
    return refusal(piece_of(kSize, with, as));
  };
  auto says = [](const std::string& message, const char* what) {
    CHECK_MESSAGE(message.find(what) != std::string::npos, message);
  };
  says(lie(head, frame), "closed before the end");  // that one was good
  PieceHead shorter = head;
  shorter.length = 4096;  // the frame holds more
  says(lie(shorter, frame), "cannot be unpacked");
  PieceHead longer = head;
  longer.length = kPiece + 1;
  says(lie(longer, frame), "a piece that cannot be read");
  says(lie(head, frame.substr(0, frame.size() / 2)), "cannot be unpacked");
  says(lie(head, dense(1000)), "cannot be unpacked");
  says(lie(head, dense(kPiece)), "a piece that cannot be read");  // no shorter than it will be
  says(lie(head, squeezed(std::string(kPiece, '\0'))), "damaged on the way");
  PieceHead unknown = head;
  unknown.method = static_cast<PieceMethod>(2);
  says(lie(unknown, frame), "a piece that cannot be read");
  PieceHead raw = head;
  raw.method = PieceMethod::raw;
  says(lie(raw, frame), "a piece that cannot be read");
}

TEST_CASE("lists and packs that were packed by no honest sender are refused") {
  auto wrapped = [](uint64_t length, const std::string& frame) {
    Packer head;
    head.number(length);
    return "\1" + head.out() + frame;
  };
  auto says = [](const std::string& message, const char* what) {
    CHECK_MESSAGE(message.find(what) != std::string::npos, message);
  };
  std::string zeros = squeezed(std::string(60'000, '\0'));
  says(refusal(manifest_of(1, wrapped(1ULL << 40, zeros))), "that is too long");
  says(refusal(manifest_of(1, wrapped(59'999, zeros))), "cannot be unpacked");
  says(refusal(manifest_of(1, wrapped(60'000, zeros))), "cannot be read");
  says(refusal(manifest_of(1, "\2abc")), "packed in an unknown way");
  auto pack_frame = [](const std::string& payload) {
    return manifest_of(5) + frame_with(FrameType::pack, payload);
  };
  says(refusal(pack_frame(wrapped(2 << 20, squeezed(std::string(2 << 20, 'x'))))),
       "a pack of files that is too long");
  says(refusal(pack_frame(wrapped(60'000, zeros.substr(0, 9)))), "cannot be unpacked");
  says(refusal(pack_frame(wrapped(60'000, zeros))), "a pack of files was damaged");
  // Within a pack, a file is not longer than small ones are.
  PackWriter writer;
  writer.add({0, 0, 0644}, std::string(kSmallFile + 1, 'x'));
  std::string files = writer.take();
  says(refusal(pack_frame(wrapped(files.size(), squeezed(files)))), "cannot be read");
}
