// Far ends that give without end, or change the ground between two words: memory stays bounded,
// nothing outside the target is touched, and the error says what was wrong.
#include <sys/resource.h>
#include <sys/wait.h>

#include <filesystem>
#include <functional>

#include "base/digest_fast.h"
#include "fixture.h"
#include "transfer/entries.h"
#include "transfer/plan.h"

using namespace choline;

namespace {

std::string frame_of(FrameType type, std::string_view payload) {
  std::string out(1, static_cast<char>(type));
  for (int shift = 0; shift < 32; shift += 8) {
    out += static_cast<char>(payload.size() >> shift & 255);
  }
  return out += payload;
}

// What it says is made when it is asked for; an empty piece is the end.
class Talker : public Stream {
 public:
  explicit Talker(std::function<std::string()> next) : next_(std::move(next)) {}
  Result<size_t> read(char* into, size_t most) override {
    if (at_ == piece_.size()) {
      piece_ = next_();
      at_ = 0;
    }
    size_t count = std::min(most, piece_.size() - at_);
    piece_.copy(into, count, at_);
    at_ += count;
    return count;
  }
  Status write(std::string_view) override { return done(); }

 private:
  std::function<std::string()> next_;
  std::string piece_;
  size_t at_ = 0;
};

std::string head() {
  return frame_of(FrameType::tree, R"({"single":false,"name":""})");
}

Entry file_entry(std::string path, uint64_t size = 0) {
  Entry out;
  out.path = std::move(path);
  out.kind = EntryKind::file;
  out.size = size;
  out.mode = 0644;
  return out;
}

std::string end_of_list(size_t count) {
  Json end = {
      {"count", count}, {"skipped", Json::array()}, {"failed", Json::array()}, {"cut", false}};
  return frame_of(FrameType::entries_end, to_text(end));
}

struct Told {
  std::string message;
  long peak = 0;  // KiB
};

// The message of the error, from a process of its own, whose memory is measured.
Told apart(const std::function<Result<SyncReport>()>& body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    Result<SyncReport> report = body();
    std::string text = report.ok() ? "no error" : report.error().message;
    (void)!write(ends[1], text.data(), text.size());
    _exit(0);
  }
  close(ends[1]);
  UniqueFd out(ends[0]);
  Told told;
  char block[4096];
  for (ssize_t got; (got = read(out.get(), block, sizeof block)) > 0;) {
    told.message.append(block, static_cast<size_t>(got));
  }
  rusage used{};
  int status = 0;
  REQUIRE(wait4(pid, &status, 0, &used) == pid);
  CHECK(status == 0);
  told.peak = used.ru_maxrss;
  return told;
}

long peak_now() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return used.ru_maxrss;
}

Result<SyncReport> receive_from(std::function<std::string()> next, const std::string& to,
                                const SyncOptions& options = {}) {
  Talker talker(std::move(next));
  FrameReader in(talker);
  FrameWriter out(talker);
  return receive_tree(in, out, to, options, {});
}

constexpr long kMebibyte = 1024;  // in KiB

}  // namespace

TEST_CASE("a sender whose rules have no end is refused, and memory stays bounded") {
  TempFolder temp;
  long before = peak_now();
  Told told = apart([&] {
    bool begun = false;
    auto next = [&]() -> std::string {
      if (!std::exchange(begun, true)) return head();
      RecordWriter rules;
      for (int number = 0; number < 20; ++number) {
        rules.add(IgnoreFile{"", std::string(1 << 16, '\n') + "pattern\n", ""});
      }
      return frame_of(FrameType::entries, pack_batch(rules.take()));
    };
    SyncOptions options;
    options.delete_extra = true;
    return receive_from(next, temp.to(), options);
  });
  CHECK(told.message == "transfer: the far end sent more ignore rules than can be taken");
  CHECK(told.peak < before + 200 * kMebibyte);
  CHECK(!temp.has("to"));
}

TEST_CASE("a sender that opens files without end is heard only for those that were asked for") {
  TempFolder temp;
  long before = peak_now();
  Told told = apart([&] {
    int said = 0;
    auto next = [&]() -> std::string {
      if (said++ == 0) {
        RecordWriter list;
        list.add(file_entry("a", 3));
        return head() + frame_of(FrameType::entries, pack_batch(list.take())) + end_of_list(1);
      }
      std::string file =
          std::move(Packer().number(0).number(3).signed_number(0).number(0644).out());
      return frame_of(FrameType::file, file) + frame_of(FrameType::data, "ab") +
             frame_of(FrameType::file_again, "") + (said > 100'000 ? "!" : "");
    };
    return receive_from(next, temp.to());
  });
  CHECK(told.message != "no error");
  CHECK(told.peak < before + 100 * kMebibyte);
  CHECK(picture(temp.to()).empty());
}

TEST_CASE("data that goes on beyond what a file was to have ends the session") {
  TempFolder temp;
  Told told = apart([&] {
    int said = 0;
    auto next = [&]() -> std::string {
      if (said++ == 0) {
        RecordWriter list;
        list.add(file_entry("a", 1 << 20));
        std::string file =
            std::move(Packer().number(0).number(1 << 20).signed_number(0).number(0644).out());
        return head() + frame_of(FrameType::entries, pack_batch(list.take())) + end_of_list(1) +
               frame_of(FrameType::file, file);
      }
      return frame_of(FrameType::data, std::string(1 << 18, 'x'));
    };
    return receive_from(next, temp.to());
  });
  CHECK(told.message == "transfer: the far end sent more of a file than it said");
  CHECK(picture(temp.to()).empty());
}

TEST_CASE("a folder that becomes a link between plan and contents is not followed") {
  TempFolder temp;
  REQUIRE(make_folders(temp.path + "/outside").ok());
  temp.put("to/f/old", "x");
  int said = 0;
  auto next = [&]() -> std::string {
    if (said++ == 0) {
      RecordWriter list;
      Entry folder = file_entry("f");
      folder.kind = EntryKind::folder;
      folder.mode = 0755;
      list.add(folder);
      list.add(file_entry("f/a", 1));
      list.add(file_entry("f/b", 1));
      return head() + frame_of(FrameType::entries, pack_batch(list.take())) + end_of_list(3);
    }
    if (said > 3)
      return said == 4 ? frame_of(FrameType::finished, R"({"skipped":[],"failed":[]})") : "";
    if (said == 2) {
      std::filesystem::rename(temp.to() + "/f", temp.to() + "/g");
      temp.link("to/f", temp.path + "/outside");
    }
    auto index = static_cast<uint64_t>(said - 1);
    std::string file =
        std::move(Packer().number(index).number(1).signed_number(0).number(0644).out());
    FastDigest digest;
    digest.update("x");
    return frame_of(FrameType::file, file) + frame_of(FrameType::data, "x") +
           frame_of(FrameType::file_end, digest.bytes());
  };
  Result<SyncReport> report = receive_from(next, temp.to());
  CHECK(list_folder(temp.path + "/outside")->empty());
  if (report.ok()) CHECK(!report->failed.empty());
}

TEST_CASE("a receiver that asks for what there is not, or for ever, is refused") {
  TempFolder temp;
  temp.put("from/a", "x");
  REQUIRE(make_folders(temp.from() + "/folder").ok());
  auto ask = [&](std::string plan, bool for_ever) {
    return apart([&] {
      int said = 0;
      auto next = [&]() -> std::string {
        ++said;
        if (said == 1 || (for_ever && said < 100'000))
          return frame_of(FrameType::plan, pack_batch(plan));
        return frame_of(FrameType::plan_end, std::move(Packer().number(1).number(1).out()));
      };
      Talker talker(next);
      FrameReader in(talker);
      FrameWriter out(talker);
      return send_tree(in, out, temp.from(), {}, {});
    });
  };
  std::string beyond = std::move(Packer().number(7).number(1).out());
  std::string folder = std::move(Packer().number(1).number(1).out());
  std::string first = std::move(Packer().number(0).number(1).out());
  CHECK(ask(beyond, false).message.find("a plan that cannot be read") != std::string::npos);
  CHECK(ask(folder, false).message.find("what is no file") != std::string::npos);
  long before = peak_now();
  Told told = ask(first, true);
  CHECK(told.message.find("a plan without end") != std::string::npos);
  CHECK(told.peak < before + 50 * kMebibyte);
}
