// The line of one login in authorized_keys: nothing else of the file changes, whatever it holds.
#include "transfer/authorized_keys.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include "base/random.h"

using namespace choline;
namespace fs = std::filesystem;

namespace {

struct Home {
  Home() : path(fs::temp_directory_path() / ("choline-keys-" + random_id(12))) {
    fs::create_directories(path / ".ssh");
    fs::permissions(path / ".ssh", fs::perms::owner_all);
  }
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;
  ~Home() { fs::remove_all(path); }

  fs::path file() const { return path / ".ssh/authorized_keys"; }
  void write(const std::string& text) const { std::ofstream(file()) << text; }
  std::string read() const {
    std::ifstream in(file());
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t names() const {
    auto all = fs::directory_iterator(path / ".ssh");
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }

  fs::path path;
};

AdmittedKey key_of(const std::string& id, int64_t seconds = 3600) {
  return {id, "ssh-ed25519 AAAAC3Nz+/=", "'/opt/it is/agent' admitted " + id,
          static_cast<int64_t>(::time(nullptr)) + seconds};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a line comes first and goes, and the rest has the same bytes") {
  for (const std::string& text :
       {std::string(), std::string("ssh-rsa AAAA me\n"), std::string("\n\n# only\n\n"),
        std::string("no end of line"), std::string("a\r\nb\0c\n\xff", 9),
        std::string(100'000, 'x') + "\nlast"}) {
    Home home;
    home.write(text);
    fs::permissions(home.file(), fs::perms(0640));
    REQUIRE(admit_key(home.path, key_of("one")).ok());
    std::string with = home.read();
    CHECK(with.ends_with("\n" + text));
    CHECK(with.starts_with("restrict,expiry-time=\""));
    CHECK(has(with,
              "command=\"'/opt/it is/agent' admitted one\" ssh-ed25519 AAAAC3Nz+/= "
              "choline-direct-one\n"));
    CHECK(fs::status(home.file()).permissions() == fs::perms(0640));
    REQUIRE(admit_key(home.path, key_of("two")).ok());
    REQUIRE(expel_key(home.path, "one", true).ok());
    CHECK(has(home.read(), "choline-direct-two"));
    REQUIRE(expel_key(home.path, "two", false).ok());
    CHECK(home.read() == text);
    CHECK(home.names() == 1);
    REQUIRE(expel_key(home.path, "two", false).ok());
  }
}

TEST_CASE("a file and a folder that were not there are made, and the file goes again") {
  Home home;
  fs::remove(home.path / ".ssh");
  CHECK(!has_authorized_keys(home.path));
  REQUIRE(expel_key(home.path, "one", true).ok());
  REQUIRE(admit_key(home.path, key_of("one")).ok());
  CHECK(fs::status(home.path / ".ssh").permissions() == fs::perms(0700));
  CHECK(fs::status(home.file()).permissions() == fs::perms(0600));
  REQUIRE(expel_key(home.path, "one", true).ok());
  CHECK(home.names() == 0);
}

TEST_CASE("lines of ours whose time is over go, and no others") {
  Home home;
  REQUIRE(admit_key(home.path, key_of("old", -60)).ok());
  REQUIRE(admit_key(home.path, key_of("young", 60)).ok());
  CHECK(!has(home.read(), "choline-direct-old"));
  home.write(
      "expiry-time=\"20200101000000\" ssh-rsa A choline-direct-mine\n"
      "restrict,expiry-time=\"20200101000000\" ssh-rsa A of another kind\n" +
      home.read());
  std::string before = home.read();
  REQUIRE(admit_key(home.path, key_of("new")).ok());
  REQUIRE(expel_key(home.path, "new", false).ok());
  CHECK(home.read() == before);
}

TEST_CASE("a link is followed and stays; what is no file of ours is refused") {
  Home home;
  fs::path real = home.path / "kept";
  std::ofstream(real) << "mine\n";
  fs::create_symlink("../kept", home.file());
  REQUIRE(admit_key(home.path, key_of("one")).ok());
  CHECK(fs::is_symlink(home.file()));
  REQUIRE(expel_key(home.path, "one", false).ok());
  CHECK(home.read() == "mine\n");
  fs::create_hard_link(real, home.path / "twin");
  CHECK(!admit_key(home.path, key_of("one")).ok());
  fs::remove(home.path / "twin");
  fs::permissions(home.path, fs::perms(0777));
  CHECK(!admit_key(home.path, key_of("one")).ok());
  fs::permissions(home.path, fs::perms(0700));
  fs::remove(real);
  CHECK(!admit_key(home.path, key_of("one")).ok());
  CHECK(!fs::exists(real));
  fs::remove(home.file());
  fs::create_directory(home.file());
  CHECK(!admit_key(home.path, key_of("one")).ok());
}

TEST_CASE("what could break out of its line is refused") {
  AdmittedKey fine = key_of("one");
  CHECK(admitted_line(fine).ok());
  for (const char* command : {"", "a\nb", "a\rb", "a\\b"}) {
    AdmittedKey key = fine;
    key.command = command;
    CHECK(!admitted_line(key).ok());
  }
  for (const char* text : {"", "ssh-ed25519", "ssh-ed25519 A B", "ssh-ed25519 A\nssh-rsa B",
                           "ssh-rsa AAAA", "restrict ssh-ed25519 AAAA"}) {
    AdmittedKey key = fine;
    key.key = text;
    CHECK(!admitted_line(key).ok());
  }
  for (const char* id : {"", "a b", "a\nb", "../a", "a-b"}) {
    AdmittedKey key = fine;
    key.id = id;
    CHECK(!admitted_line(key).ok());
  }
  AdmittedKey quotes = fine;
  quotes.command = "say \"yes\"";
  CHECK(has(*admitted_line(quotes), "command=\"say \\\"yes\\\"\" "));
}

TEST_CASE("many at once lose no line") {
  Home home;
  home.write("mine\n");
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&home, number] {
      for (int round = 0; round < 8; ++round) {
        std::string id = std::to_string(number) + "x" + std::to_string(round);
        REQUIRE(admit_key(home.path, key_of(id)).ok());
        if (round % 2 == 0) REQUIRE(expel_key(home.path, id, true).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::string text = home.read();
  CHECK(std::count(text.begin(), text.end(), '\n') == 17);
  CHECK(text.ends_with("\nmine\n"));
  CHECK(home.names() == 1);
}

TEST_CASE("what one that was killed has left beside the file is cleared away") {
  Home home;
  home.write("mine\n");
  std::ofstream(home.path / ".ssh/.choline-direct-keys-abcdef") << "half";
  REQUIRE(admit_key(home.path, key_of("one")).ok());
  CHECK(home.names() == 1);
}
