// Small files in packs, and the walks that both ends compare: what they promise.
#include <sys/resource.h>
#include <sys/wait.h>

#include <fstream>

#include "fixture.h"
#include "transfer/entries.h"
#include "transfer/pack.h"
#include "transfer/walk.h"

using namespace choline;

namespace {

// The most memory that this process has had since it last said so, in bytes.
size_t peak_memory() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmHWM:")) return std::stoul(line.substr(6)) << 10;
  }
  return 0;
}

// Runs one end in a process of its own, which says the most memory that it had.
template <typename Fn>
pid_t run_end(UniqueFd& socket, int told, Fn fn) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  std::ofstream("/proc/self/clear_refs") << "5";
  FdStream stream(socket.get(), socket.get());
  FrameReader in(stream);
  FrameWriter out(stream);
  bool fine = fn(in, out);
  size_t most = fine ? peak_memory() : 0;
  _exit(write(told, &most, sizeof most) == sizeof most ? 0 : 1);
}

struct Peaks {
  size_t sender = 0, receiver = 0;
};

Peaks measure(const std::string& from, const std::string& to, const SyncOptions& options) {
  SocketPair sockets;
  int sent[2], received[2];
  REQUIRE(pipe(sent) == 0);
  REQUIRE(pipe(received) == 0);
  pid_t sender = run_end(sockets.one, sent[1], [&](FrameReader& in, FrameWriter& out) {
    return send_tree(in, out, from, options, {}).ok();
  });
  pid_t receiver = run_end(sockets.two, received[1], [&](FrameReader& in, FrameWriter& out) {
    return receive_tree(in, out, to, options, {}).ok();
  });
  sockets.one.reset();
  sockets.two.reset();
  Peaks peaks;
  close(sent[1]);
  close(received[1]);
  REQUIRE(read(sent[0], &peaks.sender, sizeof peaks.sender) == sizeof peaks.sender);
  REQUIRE(read(received[0], &peaks.receiver, sizeof peaks.receiver) == sizeof peaks.receiver);
  close(sent[0]);
  close(received[0]);
  waitpid(sender, nullptr, 0);
  waitpid(receiver, nullptr, 0);
  return peaks;
}

}  // namespace

TEST_CASE("a record comes back as it was written, whatever its path, times and sizes are") {
  std::vector<Entry> entries;
  for (int64_t time : {int64_t{0}, int64_t{-1}, int64_t{1}, int64_t{-1'500'000'001},
                       int64_t{1'700'000'000'123'456'789}, int64_t{9'000'000'000'000'000'000},
                       int64_t{-9'000'000'000'000'000'000}}) {
    Entry entry;
    entry.path = "a/" + std::string(entries.size() + 1, 'x') + "\n\xff";
    entry.mtime_ns = time;
    entry.size = static_cast<uint64_t>(time) >> 3;
    entry.mode = entries.size() % 2 == 0 ? 0644 : 0755;
    entries.push_back(entry);
  }
  EntryLog log;
  for (size_t at = 0; at < entries.size(); ++at) log.add(entries[at], at * 3, at);
  EntryLog::Cursor cursor(log);
  for (size_t at = 0; at < entries.size(); ++at) {
    const EntryLog::Item* item = cursor.next();
    REQUIRE(item);
    CHECK(item->entry.path == entries[at].path);
    CHECK(item->entry.mtime_ns == entries[at].mtime_ns);
    CHECK(item->entry.size == entries[at].size);
    CHECK(item->entry.mode == entries[at].mode);
    CHECK(item->index == at * 3);
  }
  CHECK(!cursor.next());
}

TEST_CASE("records that no writer wrote are refused, and never read past their end") {
  RecordWriter writer;
  Entry entry;
  entry.path = "some/path";
  entry.kind = EntryKind::link;
  entry.link = "to";
  writer.add(entry);
  entry.kind = EntryKind::file;
  entry.path = "some/qath";
  entry.size = 77;
  writer.add(entry);
  writer.add(IgnoreFile{"some", "*.o\n", ""});
  std::string batch = writer.take();
  auto count = [](const std::string& bytes) {
    RecordReader reader(bytes);
    Record record;
    int read = 0;
    while (!reader.at_end() && reader.next(record)) ++read;
    return reader.at_end() ? read : -1;
  };
  CHECK(count(batch) == 3);
  for (size_t cut = 1; cut < batch.size(); ++cut) {
    std::string part = batch.substr(0, cut);
    CHECK(count(part) < 3);
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = batch;
      flipped[cut] = static_cast<char>(flipped[cut] ^ (1 << bit));
      CHECK(count(flipped) <= static_cast<int>(batch.size()));
    }
  }
}

TEST_CASE(
    "small files go in packs, with their modes, times and odd names, over whatever is there") {
  TempFolder temp;
  std::map<std::string, std::string> odd = {{"plain", "x"},
                                            {"line\nbreak", "y"},
                                            {std::string("\xff\xfe not utf-8"), "z"},
                                            {std::string(255, 'n'), "long"},
                                            {"empty", ""},
                                            {"b/in/deep", std::string(64 << 10, 'd')},
                                            {"b/in/over", std::string((64 << 10) + 1, 'o')}};
  for (const auto& [name, bytes] : odd) temp.put("from/" + name, bytes);
  temp.put("from/b/closed", "read only", -5, 0400);
  temp.put("from/program", "#!", 1'600'000'000, 0755);
  temp.put("to/plain", "older and longer");
  temp.put("to/empty/is a folder", "in the way");
  SyncOptions options;
  options.delete_extra = true;
  SyncReport report = moved(temp.from(), temp.to(), options);
  CHECK(report.files_moved == odd.size() + 2);
  CHECK(report.failed.empty());
  CHECK(picture(temp.to()) == picture(temp.from()));
  SyncReport again = moved(temp.from(), temp.to(), options);
  CHECK(again.files_moved == 0);
  CHECK(again.unchanged == odd.size() + 2);
}

TEST_CASE("a folder in the way of a small file stays, and is told, unless removal was asked for") {
  TempFolder temp;
  temp.put("from/a", "file");
  temp.put("from/b", "file");
  temp.put("to/a/kept", "precious");
  SyncReport report = moved(temp.from(), temp.to());
  CHECK(report.files_moved == 1);
  REQUIRE(report.failed.size() == 1);
  CHECK(report.failed[0].path == "a");
  CHECK(temp.get("to/a/kept") == "precious");
  CHECK(temp.get("to/b") == "file");
  Result<std::vector<std::string>> names = list_folder(temp.to());
  REQUIRE(names.ok());
  CHECK(*names == std::vector<std::string>{"a", "b"});
}

TEST_CASE("parts of small files go when their writer has died, and not before") {
  TempFolder temp;
  temp.put("from/f/a", "new");
  temp.put("to/f/.choline-part-small-dead-1", "left");
  UniqueFd living(open((temp.to() + "/f").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(flock(living.get(), LOCK_SH) == 0);
  moved(temp.from(), temp.to());
  CHECK(temp.has("to/f/.choline-part-small-dead-1"));
  living.reset();
  temp.put("from/f/b", "new too");
  moved(temp.from(), temp.to());
  CHECK(!temp.has("to/f/.choline-part-small-dead-1"));
  CHECK(temp.get("to/f/b") == "new too");
}

TEST_CASE(
    "a target that ignores a folder still gets what the source has in it, and loses nothing") {
  TempFolder temp;
  temp.put("from/out/a", "same");
  temp.put("from/out/b", "other");
  temp.put("to/.gitignore", "out/\n");
  temp.put("to/out/a", "same");
  temp.put("to/out/own", "mine");
  SyncOptions options;
  options.delete_extra = true;
  SyncReport report = moved(temp.from(), temp.to(), options);
  CHECK(report.unchanged == 1);
  CHECK(report.files_moved == 1);
  CHECK(temp.get("to/out/own") == "mine");
  CHECK(temp.get("to/out/b") == "other");
}

TEST_CASE("what a walk passes over is not read, and what is around it is") {
  TempFolder temp;
  for (int number = 0; number < 3000; ++number) {
    std::string name = std::to_string(number);
    temp.put("to/extra/" + name + "/deep", "x");
  }
  temp.put("to/a", "1");
  temp.put("to/z", "2");
  temp.put("from/a", "1");
  temp.put("from/z", "2");
  SyncReport report = moved(temp.from(), temp.to());
  CHECK(report.unchanged == 2);
  CHECK(report.entries == 2);
  CHECK(report.files_moved == 0);
  CHECK(temp.has("to/extra/2999/deep"));
}

namespace {

// The most memory that a first copy, a look at what is equal, and a removal of all took.
std::vector<Peaks> peaks_of(int folders) {
  constexpr int kInFolder = 250;
  TempFolder temp;
  SyncOptions options;
  options.durable = false;
  temp.put("from/seed", "");
  // Names are what takes room: links to one file are quick to make.
  for (int folder = 0; folder < folders; ++folder) {
    std::string path = temp.from() + "/folder-" + std::to_string(1000 + folder);
    REQUIRE(make_folders(path).ok());
    for (int number = 0; number < kInFolder; ++number) {
      std::string name = path + "/some-file-name-" + std::to_string(number) + ".dat";
      REQUIRE(link((temp.from() + "/seed").c_str(), name.c_str()) == 0);
    }
  }
  std::vector<Peaks> peaks;
  peaks.push_back(measure(temp.from(), temp.to(), options));
  peaks.push_back(measure(temp.from(), temp.to(), options));
  REQUIRE(rename(temp.from().c_str(), (temp.path + "/old").c_str()) == 0);
  REQUIRE(make_folders(temp.from()).ok());
  options.delete_extra = true;
  peaks.push_back(measure(temp.from(), temp.to(), options));
  CHECK(list_folder(temp.to())->empty());
  return peaks;
}

}  // namespace

// Where each allocation gets a border of its own, its memory says nothing about ours.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kBordered = true;
#else
constexpr bool kBordered = false;
#endif

// What is the same for any number of files, the program itself among it, cancels out.
TEST_CASE("neither end needs more than 64 bytes of memory for a file more" *
          doctest::skip(kBordered)) {
  std::vector<Peaks> few = peaks_of(44), many = peaks_of(204);
  constexpr size_t kMost = size_t{160} * 250 * 64;
  for (size_t at = 0; at < many.size(); ++at) {
    CAPTURE(at);
    REQUIRE(few[at].sender > 0);
    REQUIRE(few[at].receiver > 0);
    CHECK(many[at].sender < few[at].sender + kMost);
    CHECK(many[at].receiver < few[at].receiver + kMost);
  }
}
