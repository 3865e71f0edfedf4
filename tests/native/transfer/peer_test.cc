// Far ends that lie, break off or die: nothing outside the target is written, and a file is
// complete or not there.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

#include "fixture.h"
#include "transfer/plan.h"

using namespace choline;

namespace {

// Both directions of an honest session.
struct Recording {
  std::string sent, answered;
};

class Tap : public Stream {
 public:
  Tap(Stream& below, std::string& seen) : below_(below), seen_(seen) {}
  Result<size_t> read(char* into, size_t most) override {
    Result<size_t> got = below_.read(into, most);
    if (got.ok()) seen_.append(into, *got);
    return got;
  }
  Status write(std::string_view bytes) override { return below_.write(bytes); }

 private:
  Stream& below_;
  std::string& seen_;
};

Recording record(const std::string& from, const std::string& to, const SyncOptions& options) {
  SocketPair sockets;
  Recording out;
  std::thread sender([&] {
    FdStream socket(sockets.one.get(), sockets.one.get());
    Tap stream(socket, out.answered);
    FrameReader in(stream);
    FrameWriter writer(stream);
    CHECK(send_tree(in, writer, from, options, {}).ok());
  });
  FdStream socket(sockets.two.get(), sockets.two.get());
  Tap stream(socket, out.sent);
  FrameReader in(stream);
  FrameWriter writer(stream);
  CHECK(receive_tree(in, writer, to, options, {}).ok());
  sender.join();
  return out;
}

Result<SyncReport> receive_script(std::string bytes, const std::string& to,
                                  const SyncOptions& options = {}) {
  Script script(std::move(bytes));
  FrameReader in(script);
  FrameWriter out(script);
  return receive_tree(in, out, to, options, {});
}

std::string frame(FrameType type, const std::string& payload) {
  Script sink("");
  FrameWriter out(sink);
  CHECK(out.put(type, std::string_view(payload)).ok());
  CHECK(out.flush().ok());
  return sink.written;
}

std::string lying_tree(const std::vector<Entry>& entries) {
  RecordWriter manifest;
  for (const Entry& entry : entries) manifest.add(entry);
  Json end = {{"count", entries.size()},
              {"skipped", Json::array()},
              {"failed", Json::array()},
              {"cut", false}};
  return frame(FrameType::tree, R"({"single":false,"name":""})") +
         frame(FrameType::entries, pack_batch(manifest.take())) +
         frame(FrameType::entries_end, to_text(end));
}

Entry entry(std::string path, EntryKind kind = EntryKind::file, std::string link = "") {
  Entry out;
  out.path = std::move(path);
  out.kind = kind;
  out.link = std::move(link);
  out.mode = 0644;
  return out;
}

// Each file of `to` is one of those offered, whole; nothing else is there but parts in progress.
void check_whole(const std::string& to, const std::map<std::string, std::string>& good) {
  for (const auto& entry : picture(to)) {
    auto found = good.find(entry.first);
    REQUIRE_MESSAGE(found != good.end(), entry.first);
    if (entry.second.starts_with("1 ")) CHECK_MESSAGE(found->second == entry.second, entry.first);
  }
}

void fill_small(const TempFolder& temp) {
  temp.put("from/a", "first");
  temp.put("from/b/c", std::string(3000, 'c'));
  temp.put("from/b/d", "");
  temp.link("from/b/e", "c");
  temp.put("from/z", "last", 5, 0755);
}

}  // namespace

TEST_CASE("paths out of the tree are refused before anything is made") {
  for (const char* path :
       {"../x", "/etc/x", "a/../../x", "..", ".", "a//b", "a/", "", ".choline-part-x"}) {
    TempFolder temp;
    Result<SyncReport> report = receive_script(lying_tree({entry(path)}), temp.to());
    REQUIRE_MESSAGE(!report.ok(), path);
    CHECK(report.error().kind == ErrorKind::refused);
    CHECK(!temp.has("to"));
    CHECK(!temp.has("x"));
  }
  TempFolder temp;
  CHECK(!receive_script(lying_tree({entry(std::string("a\0b", 3))}), temp.to()).ok());
  CHECK(!receive_script(lying_tree({entry("b"), entry("a")}), temp.to()).ok());
  CHECK(!receive_script(lying_tree({entry("a"), entry("a")}), temp.to()).ok());
  CHECK(!receive_script(lying_tree({entry("a/b")}), temp.to()).ok());
  CHECK(!receive_script(lying_tree({entry("a"), entry("a/b")}), temp.to()).ok());
  CHECK(!temp.has("to"));
}

TEST_CASE("no file can be written below a link, sent in the same tree or there before") {
  TempFolder temp;
  REQUIRE(make_folders(temp.path + "/outside").ok());
  std::string lie = lying_tree({entry("a", EntryKind::link, temp.path + "/outside"), entry("a/x")});
  CHECK(!receive_script(lie, temp.to()).ok());
  // The folder is announced as one, but is a link at the target by the time it is used.
  REQUIRE(make_folders(temp.to()).ok());
  temp.link("to/a", temp.path + "/outside");
  std::vector<Entry> entries = {entry("a", EntryKind::folder), entry("a/x")};
  std::string file = std::move(Packer().number(1).number(0).signed_number(0).number(0644).out());
  (void)receive_script(lying_tree(entries) + frame(FrameType::file, file), temp.to());
  CHECK(list_folder(temp.path + "/outside")->empty());
}

TEST_CASE("a sender that stops at any byte leaves whole files only, and the next sync completes") {
  TempFolder temp;
  fill_small(temp);
  auto good = picture(temp.from());
  Recording recording = record(temp.from(), temp.path + "/first", {});
  REQUIRE(picture(temp.path + "/first") == good);
  for (size_t cut = 0; cut < recording.sent.size(); cut += cut < 600 ? 1 : 37) {
    REQUIRE(remove_tree(temp.to()).ok());
    Result<SyncReport> report = receive_script(recording.sent.substr(0, cut), temp.to());
    REQUIRE(!report.ok());
    CHECK(report.error().kind == ErrorKind::lost);
    check_whole(temp.to(), good);
    if (cut % 50 == 0) {
      moved(temp.from(), temp.to());
      CHECK(picture(temp.to()) == good);
    }
  }
}

TEST_CASE("a sender that flips any bit is found out or does no harm") {
  TempFolder temp;
  fill_small(temp);
  auto good = picture(temp.from());
  Recording recording = record(temp.from(), temp.path + "/first", {});
  int refused = 0;
  for (size_t at = 0; at < recording.sent.size(); at += at < 700 ? 1 : 41) {
    for (int bit : {0, 3, 7}) {
      std::string bytes = recording.sent;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      REQUIRE(remove_tree(temp.to()).ok());
      Result<SyncReport> report = receive_script(std::move(bytes), temp.to());
      if (!report.ok()) ++refused;
      CHECK(!temp.has("x"));
    }
  }
  CHECK(refused > 500);
  // Nothing was written beside the target, whatever the names became.
  CHECK(*list_folder(temp.path) == std::vector<std::string>{"first", "from", "to"});
}

TEST_CASE("a receiver that lies or stops at any byte gets nothing but files of the tree") {
  TempFolder temp;
  fill_small(temp);
  temp.put("private", "do not send");
  Recording recording = record(temp.from(), temp.path + "/first", {});
  for (size_t at = 0; at < recording.answered.size(); ++at) {
    for (int bit : {-1, 0, 2, 5, 7}) {
      std::string bytes = recording.answered;
      if (bit < 0) {
        bytes.resize(at);
      } else {
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      }
      Script script(std::move(bytes));
      FrameReader in(script);
      FrameWriter out(script);
      Result<SyncReport> report = send_tree(in, out, temp.from(), {}, {});
      if (bit < 0) CHECK(!report.ok());
      CHECK(script.written.find("do not send") == std::string::npos);
    }
  }
}

TEST_CASE("lengths without end are refused without the memory they ask for") {
  std::string huge("\x02\xff\xff\xff\xff", 5);
  TempFolder temp;
  Result<SyncReport> report = receive_script(huge + std::string(1000, 'x'), temp.to());
  REQUIRE(!report.ok());
  CHECK(report.error().message == "transfer: the far end sent a frame of 4294967295 bytes");
  // A file of more bytes than it said, and a hole beyond its end.
  std::string tree = lying_tree({entry("a")});
  std::string head = std::move(Packer().number(0).number(3).signed_number(0).number(0644).out());
  CHECK(!receive_script(tree + frame(FrameType::file, head) + frame(FrameType::data, "1234"),
                        temp.to())
             .ok());
  std::string hole = std::move(Packer().number(1ULL << 60).out());
  CHECK(
      !receive_script(tree + frame(FrameType::file, head) + frame(FrameType::hole, hole), temp.to())
           .ok());
  CHECK(picture(temp.to()).empty());
}

TEST_CASE("a receiver killed at random leaves whole files only, and the next sync completes") {
  TempFolder temp;
  for (int number = 0; number < 60; ++number) {
    temp.put("from/f" + std::to_string(number % 7) + "/" + std::to_string(number),
             std::string(static_cast<size_t>(number) * 997, static_cast<char>('a' + number % 26)));
  }
  auto good = picture(temp.from());
  SyncOptions options;
  options.durable = false;
  for (int round = 0; round < 40; ++round) {
    REQUIRE(remove_tree(temp.to()).ok());
    SocketPair sockets;
    pid_t receiver = fork();
    if (receiver == 0) {
      signal(SIGPIPE, SIG_IGN);
      FdStream stream(sockets.two.get(), sockets.two.get());
      FrameReader in(stream);
      FrameWriter out(stream);
      sockets.one.reset();
      (void)receive_tree(in, out, temp.to(), options, {});
      _exit(0);
    }
    sockets.two.reset();
    // Killed once it has taken so many bytes: anywhere between the first and the last file.
    class Killer : public FdStream {
     public:
      Killer(int fd, pid_t pid, size_t left) : FdStream(fd, fd), pid_(pid), left_(left) {}
      Status write(std::string_view bytes) override {
        for (size_t at = 0; at < bytes.size(); at += 4096) {
          std::string_view piece = bytes.substr(at, 4096);
          if (left_ < piece.size()) kill(pid_, SIGKILL);
          left_ -= std::min(left_, piece.size());
          Status status = FdStream::write(piece);
          if (!status.ok()) return status;
        }
        return done();
      }

     private:
      pid_t pid_;
      size_t left_;
    } stream(sockets.one.get(), receiver, static_cast<size_t>(round) * 45'000);
    FrameReader in(stream);
    FrameWriter out(stream);
    (void)send_tree(in, out, temp.from(), options, {});
    kill(receiver, SIGKILL);
    waitpid(receiver, nullptr, 0);
    check_whole(temp.to(), good);
    moved(temp.from(), temp.to(), options);
    CHECK(picture(temp.to()) == good);
    CHECK(list_folder(temp.to())->size() == 7);  // no parts left
  }
}

TEST_CASE("a request is answered in words when it cannot be served") {
  auto answer = [](const Json& request) {
    Script script(frame(FrameType::request, to_text(request)));
    Status status = serve_transfer(script, ServeOptions{});
    REQUIRE(!status.ok());
    Script told(script.written);
    FrameReader in(told);
    return in.next().error().message;
  };
  Json request = {{"magic", "choline-files"}, {"version", 0}, {"role", "send"}};
  CHECK(answer(request) == "transfer: this end speaks version " + std::to_string(kTransferVersion) +
                               ", the other asked for 0");
  request["version"] = kTransferVersion;
  request["role"] = "dance";
  CHECK(answer(request) == "transfer: the far end sent the unknown role 'dance'");
  request["role"] = "send";
  request["path"] = "/no/such/place";
  CHECK(answer(request) == "read '/no/such/place': No such file or directory (ENOENT)");
  request["options"] = {{"delete_extra", 7}};
  CHECK(answer(request) == "transfer: the far end sent a bad set of options");
}
