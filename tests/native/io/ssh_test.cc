// The words given to the ssh program, and what its complaints mean.
#include "io/ssh.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace choline {
namespace {

std::string form(const std::string& text) {
  Result<SshTarget> target = parse_ssh_target(text);
  return target ? target->user + "|" + target->host + "|" + std::to_string(target->port)
                : "refused";
}

}  // namespace

TEST_CASE("a host may have a user and a port, and nothing that ssh would read as an option") {
  CHECK(form("gpu1") == "|gpu1|0");
  CHECK(form("me@gpu1.lab:2222") == "me|gpu1.lab|2222");
  CHECK(form("[2001:db8::1]:22") == "|2001:db8::1|22");
  CHECK(form("2001:db8::1") == "|2001:db8::1|0");
  for (const char* wrong :
       {"", "-oProxyCommand=id", "me@-l", "@gpu", "gpu:", "gpu:0", "gpu:70000", "gpu:2x", "[::1",
        "[::1]x", "[::1]:", "a b", "gpu;id", "gpu\n", "$(id)"}) {
    CHECK_MESSAGE(form(wrong) == "refused", wrong);
  }
  for (const char* text : {"gpu1", "me@gpu1:22", "[::1]:2200"}) {
    CHECK(to_text(*parse_ssh_target(text)) == text);
    CHECK(to_text(ssh_target_from_json(to_json(*parse_ssh_target(text)))) == text);
  }
}

TEST_CASE("the ssh program never asks, forwards nothing, and takes the host after the options") {
  SshTarget target;
  target.host = "gpu1";
  target.user = "me";
  target.port = 2222;
  target.key = "~/.ssh/lab";
  target.jump = "gate";
  std::vector<std::string> words = ssh_words(target, "/state/known hosts", "exec /bin/sh");
  auto has = [&](const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  CHECK(words.front() == "ssh");
  for (const char* option :
       {"BatchMode=yes", "ClearAllForwardings=yes", "ControlPath=none",
        "StrictHostKeyChecking=accept-new", "IdentitiesOnly=yes", "-a", "-x"}) {
    CHECK_MESSAGE(has(option), option);
  }
  CHECK(has("UserKnownHostsFile=\"/state/known hosts\" ~/.ssh/known_hosts ~/.ssh/known_hosts2"));
  REQUIRE(words.size() > 3);
  CHECK(std::vector<std::string>(words.end() - 3, words.end()) ==
        std::vector<std::string>{"--", "gpu1", "exec /bin/sh"});
}

TEST_CASE("complaints of ssh are told apart: another host, a refused login, what may pass") {
  SshTarget target;
  target.host = "gpu1";
  Error changed = ssh_error(target, "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nno\n");
  CHECK(changed.kind == ErrorKind::refused);
  CHECK(changed.message.find("ssh-keygen -R") != std::string::npos);
  Error login = ssh_error(target, "me@gpu1: Permission denied (publickey).\r\n");
  CHECK(login.kind == ErrorKind::auth);
  CHECK(login.message.find("Permission denied (publickey).") != std::string::npos);
  Error away = ssh_error(target, "ssh: connect to host gpu1 port 22: Connection refused\n");
  CHECK(away.kind == ErrorKind::transient);
  CHECK(away.message.find("Connection refused") != std::string::npos);
}

}  // namespace choline
