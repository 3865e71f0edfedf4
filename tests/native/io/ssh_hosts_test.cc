// known_hosts: which lines are about a host, and whether it is the one it was.
#include "io/ssh_hosts.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "io/files.h"
#include "io/process.h"
#include "loop/epoll_loop.h"

namespace choline {
namespace {

// Keys that ssh-keygen made, and what it says their fingerprints are.
constexpr const char* kFirst =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIISsb19mh3evD6sETs+XnRRpyiMJLhdC7rSLBRpECotD";
constexpr const char* kSecond =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6nmKOu8nPpKjvGjpTdGBWmbTrf6Qj9gNzyNwlMc1Ox";

struct KnownFile {
  KnownFile() {
    char name[] = "/tmp/choline-known-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    folder = name;
    path = folder + "/known_hosts";
  }
  ~KnownFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  void write(const std::string& text) const { std::ofstream(path) << text; }

  std::string folder, path;
};

SshTarget target_of(const std::string& host, int port = 0) {
  SshTarget target;
  target.host = host;
  target.port = port;
  return target;
}

std::string judged(const SshTarget& target, const KnownFile& file, const char* shown) {
  HostPins pins = host_pins(target, {file.path});
  Result<HostVerdict> verdict = judge_host(target, pins, *parse_ssh_key(shown));
  if (!verdict) return verdict.error().message;
  return *verdict == HostVerdict::known ? "known" : "fresh";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a key is what ssh sends, and its fingerprint is the one that ssh-keygen prints") {
  KnownFile file;
  std::ofstream(file.folder + "/key.pub") << kFirst << " a comment\n";
  EpollLoop loop;
  RunOptions options;
  options.spawn.argv = {"ssh-keygen", "-l", "-f", file.folder + "/key.pub"};
  std::optional<Result<RunResult>> ran;
  Started started(run_process(loop, options),
                  std::function<void(Result<RunResult>)>([&](Result<RunResult> result) {
                    ran.emplace(std::move(result));
                    loop.stop();
                  }));
  if (!ran) loop.run();
  REQUIRE((ran && ran->ok()));
  CHECK_MESSAGE(has((*ran)->out, fingerprint(*parse_ssh_key(kFirst))), (*ran)->out);
  CHECK(to_text(*parse_ssh_key(std::string(kFirst) + " me@here")) == kFirst);
  for (const char* wrong : {"", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAAC3NzaC1lZDI1NTE5",
                            "ssh-ed25519 not*base64", "ecdsa-sha2-nistp256 AAAAB3"}) {
    CHECK_MESSAGE(!parse_ssh_key(wrong).has_value(), wrong);
  }
}

TEST_CASE("a line of known_hosts names hosts plainly, by pattern, by port, or hashed") {
  CHECK(names_known_host("gpu1", "gpu1"));
  CHECK(names_known_host("other,GPU1", "gpu1"));
  CHECK(names_known_host("*.lab", "gpu1.lab"));
  CHECK(!names_known_host("*.lab,!gpu1.lab", "gpu1.lab"));
  CHECK(!names_known_host("!gpu1.lab,*.lab", "gpu1.lab"));
  CHECK(names_known_host("gpu?", "gpu1"));
  CHECK(!names_known_host("gpu?", "gpu12"));
  CHECK(!names_known_host("gpu1", "[gpu1]:2222"));
  CHECK(names_known_host("[gpu1]:2222", "[gpu1]:2222"));
  CHECK(!names_known_host("|1|broken", "gpu1"));
  CHECK(!names_known_host("|1|AAAA|AAAA", "gpu1"));
  CHECK(known_host_name(target_of("GPU1", 22)) == "gpu1");
  CHECK(known_host_name(target_of("::1", 2222)) == "[::1]:2222");
}

TEST_CASE("a host that is met is remembered hashed, once, and known from then on") {
  KnownFile file;
  file.write("unfinished line");
  SshTarget target = target_of("gpu1", 2222);
  CHECK(judged(target, file, kFirst) == "fresh");
  REQUIRE(remember_host(file.path, known_host_name(target), *parse_ssh_key(kFirst)).ok());
  REQUIRE(remember_host(file.path, known_host_name(target), *parse_ssh_key(kFirst)).ok());
  Result<std::string> text = read_file(file.path);
  REQUIRE(text.ok());
  CHECK(!has(*text, "gpu1"));
  CHECK(has(*text, "unfinished line\n|1|"));
  CHECK(find_known_host({file.path}, "[gpu1]:2222").size() == 1);
  CHECK(judged(target, file, kFirst) == "known");
  CHECK(judged(target_of("gpu1", 2223), file, kFirst) == "fresh");
}

TEST_CASE("another key stops it, with both fingerprints, the file, the line and what to do") {
  KnownFile file;
  file.write("# mine\n[gpu1]:2222 " + std::string(kFirst) + "\n");
  std::string said = judged(target_of("gpu1", 2222), file, kSecond);
  for (const std::string& part :
       {std::string("gpu1:2222"), fingerprint(*parse_ssh_key(kFirst)),
        fingerprint(*parse_ssh_key(kSecond)), "line 2 of " + file.path,
        std::string("nothing was sent"), "ssh-keygen -R '[gpu1]:2222' -f " + file.path}) {
    CHECK_MESSAGE(has(said, part), said);
  }
}

TEST_CASE("several keys of a host are all believed, a revoked one never") {
  KnownFile file;
  std::string first(kFirst), second(kSecond);
  file.write("gpu1 " + first + "\ngpu1 " + second + "\n");
  CHECK(judged(target_of("gpu1"), file, kFirst) == "known");
  CHECK(judged(target_of("gpu1"), file, kSecond) == "known");
  file.write("gpu1 " + first + "\n@revoked * " + second + "\n");
  CHECK(judged(target_of("gpu1"), file, kFirst) == "known");
  CHECK(has(judged(target_of("gpu1"), file, kSecond), "revoked"));
  CHECK(has(judged(target_of("gpu2"), file, kSecond), "revoked"));
  CHECK(judged(target_of("gpu2"), file, kFirst) == "fresh");
}

TEST_CASE("a key of the host on its usual port is believed on another, and none is asked for") {
  KnownFile file;
  file.write("gpu1 " + std::string(kFirst) + "\n");
  CHECK(judged(target_of("gpu1", 2222), file, kFirst) == "known");
  CHECK(judged(target_of("gpu1", 2222), file, kSecond) == "fresh");
}

TEST_CASE("what a provider says of a host counts alone") {
  KnownFile file;
  SshTarget target = target_of("203.0.113.7");
  target.known_as = "cho-x-1";
  target.host_keys = {kSecond};
  file.write("203.0.113.7 " + std::string(kFirst) + "\n");
  CHECK(judged(target, file, kSecond) == "known");
  CHECK(has(judged(target, file, kFirst), "as its provider says"));
  target.host_keys.clear();
  CHECK(judged(target, file, kSecond) == "fresh");  // the address had another host before
}

TEST_CASE("of a host whose keys are known, those types are asked for first") {
  KnownFile file;
  file.write("gpu1 " + std::string(kFirst) + "\n@cert-authority gpu1 " + std::string(kSecond) +
             "\n");
  HostPins pins = host_pins(target_of("gpu1"), {file.path, "/nowhere"});
  CHECK(pins.types() == std::vector<std::string>{"ssh-ed25519"});
  CHECK(pins.has_any());
  CHECK(!host_pins(target_of("gpu2"), {file.path}).has_any());
}

}  // namespace choline
