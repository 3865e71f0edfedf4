#include "base/text.h"

#include <doctest/doctest.h>

#include "base/digest.h"
#include "base/digest_fast.h"
#include "base/error.h"
#include "base/random.h"

#include <cerrno>
#include <set>

using namespace choline;

TEST_CASE("split and join are inverse, and keep empty pieces") {
  CHECK(split("a,,b", ',') == std::vector<std::string>{"a", "", "b"});
  CHECK(split("", ',') == std::vector<std::string>{""});
  CHECK(join(split(",x,", ','), ",") == ",x,");
}

TEST_CASE("trim takes blanks at both sides only") {
  CHECK(trim(" \t a b\r\n") == "a b");
  CHECK(trim(" \n").empty());
}

TEST_CASE("nearest finds misspellings and stays silent on strangers") {
  std::vector<std::string> words = {"instance", "sync", "task", "retry", "failover"};
  CHECK(nearest("instnace", words) == "instance");
  CHECK(nearest("Retyr", words) == "retry");
  CHECK(nearest("tasks", words) == "task");
  CHECK(!nearest("banana", words));
  CHECK(!nearest("x", {"y"}));
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("ab", "ba") == 1);
}

TEST_CASE("hex and base64 decode what they encode and refuse the rest") {
  std::string bytes;
  for (int length = 0; length < 300; ++length) {
    CHECK(from_hex(to_hex(bytes)) == bytes);
    CHECK(from_base64(to_base64(bytes)) == bytes);
    bytes += static_cast<char>(length * 7);
  }
  CHECK(to_base64("foob") == "Zm9vYg==");
  CHECK(to_hex("\x01\xff") == "01ff");
  for (const char* bad : {"Zg=", "Zg", "Z===", "Zh==", "Zm 9", "Zg==Zg==", "===="}) {
    CHECK_MESSAGE(!from_base64(bad), bad);
  }
  CHECK(!from_hex("0"));
  CHECK(!from_hex("0g"));
}

TEST_CASE("utf-8 is judged by RFC 3629") {
  CHECK(is_utf8("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8f\xa0"));
  for (const char* bad :
       {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80"}) {
    CHECK(!is_utf8(bad));
  }
}

TEST_CASE("shell quoting leaves plain words bare and guards the rest") {
  CHECK(shell_quote("train.py") == "train.py");
  CHECK(shell_quote("") == "''");
  CHECK(shell_quote("it's $HOME") == "'it'\\''s $HOME'");
  CHECK(quoted("a\nb\xff") == "'a\\x0ab\\xff'");
}

TEST_CASE("errors round-trip through json and every kind has its word") {
  for (int number = 0; number <= static_cast<int>(ErrorKind::divergence); ++number) {
    auto kind = static_cast<ErrorKind>(number);
    CHECK(error_kind(to_text(kind)) == kind);
  }
  Error error = errno_error("open 'x'", ENOENT);
  CHECK(error.kind == ErrorKind::not_found);
  CHECK(error.message == "open 'x': No such file or directory (ENOENT)");
  Error back = error_from_json(to_json(error));
  CHECK(back.kind == error.kind);
  CHECK(back.message == error.message);
  CHECK(back.fields == error.fields);
  CHECK(error_from_json(Json{{"kind", "banana"}, {"message", 7}}).kind == ErrorKind::invalid);
}

TEST_CASE("digests give the published values and do not care how the bytes arrive") {
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(to_hex(fast_digest("")) == "99aa06d3014798d86001c324468d497f");
  std::string text(100000, 'x');
  Sha256 slow;
  FastDigest fast;
  for (size_t at = 0; at < text.size(); at += 777) {
    slow.update(std::string_view(text).substr(at, 777));
    fast.update(std::string_view(text).substr(at, 777));
  }
  CHECK(slow.finish() == sha256_hex(text));
  CHECK(fast.bytes() == fast_digest(text));
}

TEST_CASE("random ids differ and start with a letter") {
  std::set<std::string> seen;
  for (int count = 0; count < 1000; ++count) {
    std::string id = random_id(8);
    CHECK(id.size() == 8);
    CHECK(id[0] >= 'a');
    seen.insert(id);
  }
  CHECK(seen.size() == 1000);
}
