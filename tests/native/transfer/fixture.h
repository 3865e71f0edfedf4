// Trees on disk for the tests of transfer, and sessions between two threads.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "base/random.h"
#include "base/unique_fd.h"
#include "io/files.h"
#include "transfer/serve.h"
#include "transfer/session.h"
#include "transfer/tree.h"

namespace choline {

struct TempFolder {
  TempFolder() : path("/tmp/choline-transfer-" + random_id(10)) {
    REQUIRE(make_folders(path + "/from").ok());
  }
  ~TempFolder() { (void)remove_tree(path); }
  std::string from() const { return path + "/from"; }
  std::string to() const { return path + "/to"; }

  // `mtime`: seconds; a fixed one makes trees comparable.
  void put(const std::string& name, std::string_view bytes, int64_t mtime = 1'700'000'000,
           unsigned mode = 0644) const {
    std::string whole = path + "/" + name;
    REQUIRE(make_folders(whole.substr(0, whole.find_last_of('/'))).ok());
    UniqueFd file(open(whole.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    REQUIRE(file);
    REQUIRE(write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    REQUIRE(fchmod(file.get(), mode) == 0);
    touch(name, mtime);
  }
  void touch(const std::string& name, int64_t mtime, long nanoseconds = 123'456'789) const {
    timespec times[2] = {{mtime, nanoseconds}, {mtime, nanoseconds}};
    REQUIRE(utimensat(AT_FDCWD, (path + "/" + name).c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
  }
  void link(const std::string& name, const std::string& to) const {
    REQUIRE(symlink(to.c_str(), (path + "/" + name).c_str()) == 0);
  }
  std::string get(const std::string& name) const {
    Result<std::string> text = read_file(path + "/" + name);
    return text.ok() ? *text : "<" + text.error().message + ">";
  }
  bool has(const std::string& name) const { return file_info(path + "/" + name)->has_value(); }

  std::string path;
};

// Everything about a tree that a sync promises to carry, as one text for each path.
inline std::map<std::string, std::string> picture(const std::string& path) {
  ScanOptions options;
  options.everything = true;
  options.use_ignore_files = false;
  Result<Tree> tree = scan_tree(path, options, nullptr);
  std::map<std::string, std::string> out;
  if (!tree.ok()) return out;
  for (const Entry& entry : tree->entries) {
    std::string text = std::to_string(static_cast<int>(entry.kind)) + " " +
                       std::to_string(entry.mode) + " " + entry.link;
    if (entry.kind == EntryKind::file) {
      Result<std::string> bytes = read_file(path + "/" + entry.path);
      text += std::to_string(entry.mtime_ns) + " " + (bytes.ok() ? *bytes : "unreadable");
    }
    out[entry.path] = text;
  }
  return out;
}

struct SocketPair {
  SocketPair() {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    one.reset(ends[0]);
    two.reset(ends[1]);
  }
  UniqueFd one, two;
};

// Plays back bytes, in small pieces; takes what is written.
class Script : public Stream {
 public:
  explicit Script(std::string bytes, size_t piece = 7) : bytes_(std::move(bytes)), piece_(piece) {}
  Result<size_t> read(char* into, size_t most) override {
    size_t count = std::min({most, piece_, bytes_.size() - at_});
    bytes_.copy(into, count, at_);
    at_ += count;
    return count;
  }
  Status write(std::string_view bytes) override {
    written += bytes;
    return done();
  }
  std::string written;

 private:
  std::string bytes_;
  size_t at_ = 0;
  size_t piece_;
};

// A whole session, sender and receiver on two threads.
inline Result<SyncReport> move_tree(const std::string& from, const std::string& to,
                                    SyncOptions options = {}) {
  SocketPair sockets;
  std::optional<Result<SyncReport>> sent;
  std::thread sender([&] {
    FdStream stream(sockets.one.get(), sockets.one.get());
    FrameReader in(stream);
    FrameWriter out(stream);
    sent.emplace(send_tree(in, out, from, options, {}));
    shutdown(sockets.one.get(), SHUT_WR);
  });
  FdStream stream(sockets.two.get(), sockets.two.get());
  FrameReader in(stream);
  FrameWriter out(stream);
  Result<SyncReport> received = receive_tree(in, out, to, options, {});
  shutdown(sockets.two.get(), SHUT_WR);
  sender.join();
  if (received.ok()) {
    CHECK_MESSAGE(sent->ok(), (sent->ok() ? "" : sent->error().message));
    if (sent->ok()) CHECK(to_text(to_json(**sent)) == to_text(to_json(*received)));
  }
  return received.ok() || sent->ok() || received.error().kind != ErrorKind::lost
             ? std::move(received)
             : std::move(*sent);
}

inline SyncReport moved(const std::string& from, const std::string& to, SyncOptions options = {}) {
  Result<SyncReport> report = move_tree(from, to, std::move(options));
  REQUIRE_MESSAGE(report.ok(), (report.ok() ? "" : report.error().message));
  return *report;
}

}  // namespace choline
