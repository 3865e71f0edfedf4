// Names of hosts, the words given to the ssh program, and what its complaints mean.
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
  SshWording wording;
  wording.known_files = {"/state/known hosts", "/home/me/.ssh/known_hosts"};
  std::vector<std::string> words = ssh_words(target, wording, "exec /bin/sh");
  auto has = [&](const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  CHECK(words.front() == "ssh");
  for (const char* option :
       {"BatchMode=yes", "ClearAllForwardings=yes", "ControlPath=none",
        "StrictHostKeyChecking=accept-new", "IdentitiesOnly=yes", "-a", "-x"}) {
    CHECK_MESSAGE(has(option), option);
  }
  CHECK(has("UserKnownHostsFile=\"/state/known hosts\" \"/home/me/.ssh/known_hosts\""));
  REQUIRE(words.size() > 3);
  CHECK(std::vector<std::string>(words.end() - 3, words.end()) ==
        std::vector<std::string>{"--", "gpu1", "exec /bin/sh"});
}

TEST_CASE(
    "a host that is known must show its key, and a password is only asked of our own helper") {
  SshTarget target;
  target.host = "gpu1";
  SshWording wording;
  wording.is_known = true;
  wording.has_password = true;
  wording.own_key = "/config/ssh/id_ed25519";
  std::vector<std::string> words = ssh_words(target, wording, "true");
  auto count = [&](const std::string& word) {
    return std::count(words.begin(), words.end(), word);
  };
  CHECK(count("StrictHostKeyChecking=yes") == 1);
  CHECK(count("BatchMode=yes") == 0);
  CHECK(count("NumberOfPasswordPrompts=1") == 1);
  CHECK(count("/config/ssh/id_ed25519") == 1);
  CHECK(count("-i") > 1);  // the user's usual ones too
}

TEST_CASE("through jump hosts it goes by a program that knows our keys and hosts, one in another") {
  SshTarget target;
  target.host = "gpu1";
  target.jump = "gate,me@inner:2222";
  SshWording wording;
  wording.known_files = {"/state/known%hosts"};
  wording.has_password = true;
  std::vector<std::string> words = ssh_words(target, wording, "true");
  auto way = std::find_if(words.begin(), words.end(), [](const std::string& word) {
    return word.starts_with("ProxyCommand=");
  });
  REQUIRE(way != words.end());
  for (const char* part : {"ProxyCommand=ssh -W '[%h]:%p' ", "-- inner", "-p 2222", "-l me",
                           "known%%hosts", "BatchMode=yes", "[%%h]:%%p", "known%%%%hosts"}) {
    CHECK_MESSAGE(way->find(part) != std::string::npos, *way);
  }
  CHECK(way->find("BatchMode=no") == std::string::npos);  // the password is the target's alone
}

TEST_CASE("complaints of ssh are told apart: another host, a refused login, what may pass") {
  CHECK(ssh_complaint("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nno\n") ==
        SshComplaint::host_changed);
  CHECK(ssh_complaint("Host key verification failed.\n") == SshComplaint::host_changed);
  CHECK(ssh_complaint("me@gpu1: Permission denied (publickey).\r\n") == SshComplaint::no_login);
  CHECK(ssh_complaint("ssh: connect to host gpu1 port 22: Connection refused\n") ==
        SshComplaint::other);
  CHECK(shown_fingerprint("sent by the remote host is\nSHA256:abc+/1.\nPlease") == "SHA256:abc+/1");
  CHECK(shown_fingerprint("nothing") == "");
  CHECK(last_line("one\ntwo \n\n") == "two");
}

}  // namespace choline
