#include "base/secret.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "base/log.h"
#include "base/text.h"

using namespace choline;

TEST_CASE("a secret moved from is empty and the value goes along") {
  Secret first(std::string("short"));
  Secret second(std::move(first));
  CHECK(second.expose() == "short");
  CHECK(first.empty());  // NOLINT: the promise under test
  first = std::move(second);
  CHECK(first.expose() == "short");
  CHECK(second.empty());  // NOLINT
}

TEST_CASE("a redactor replaces a value in each of its forms while registered") {
  Redactor redactor;
  std::string value = "to\"ken va'lue";
  {
    Redactor::Registration kept = redactor.add(value, "hf_token");
    CHECK(redactor.redact("a " + value + " b " + value) ==
          "a [secret hf_token] b [secret hf_token]");
    for (const std::string& form : {to_base64(value), shell_quote(value)}) {
      CHECK(redactor.redact("x" + form) == "x[secret hf_token]");
    }
    CHECK(redactor.redact("to\\\"ken va'lue") == "[secret hf_token]");
    Redactor::Registration moved = std::move(kept);
    CHECK(redactor.redact(value) == "[secret hf_token]");
  }
  CHECK(redactor.redact(value) == value);
}

TEST_CASE("a redactor knows the lines of a key, and two values with one name or one value twice") {
  Redactor redactor;
  std::string key = "-----BEGIN KEY-----\nAAAAB3NzaC1yc2EAAAADAQABAAABgQC7\n-----END KEY-----\n";
  Redactor::Registration first = redactor.add(key, "ssh");
  CHECK(redactor.redact("line AAAAB3NzaC1yc2EAAAADAQABAAABgQC7!") == "line [secret ssh]!");
  { Redactor::Registration again = redactor.add(key, "ssh"); }
  CHECK(redactor.redact(key) == "[secret ssh]");
  Redactor::Registration tiny = redactor.add("abc", "tiny");
  CHECK(redactor.redact("abc") == "abc");
}

TEST_CASE("a log file holds the lines of its level with secrets taken out") {
  std::string path = "/tmp/choline-log-" + std::to_string(getpid());
  Redactor::Registration kept = Redactor::process().add("s3cr3t-value", "token");
  REQUIRE(open_log({LogLevel::info, path}).ok());
  log_debug("not this");
  log_info("token is s3cr3t-value");
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  CHECK(text.str().find("token is [secret token]") != std::string::npos);
  CHECK(text.str().find("not this") == std::string::npos);
  CHECK(!open_log({LogLevel::info, "/proc/no/such/folder/log"}).ok());
  REQUIRE(open_log({}).ok());
  std::remove(path.c_str());
}
