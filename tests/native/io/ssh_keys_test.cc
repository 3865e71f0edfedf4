// choline's own key for logins, and what private keys of others are good for.
#include "io/ssh_keys.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "io/files.h"
#include "io/ssh_config.h"

namespace choline {
namespace {

struct KeyFolder {
  KeyFolder() {
    char name[] = "/tmp/choline-keys-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
  }
  ~KeyFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string make(const std::string& name, const std::string& words) const {
    std::string file = path + "/" + name;
    REQUIRE(system(("ssh-keygen -q -C '' -f " + file + " " + words).c_str()) == 0);
    return file;
  }
  std::string public_of(const std::string& file) const {
    REQUIRE(system(("ssh-keygen -y -f " + file + " > " + path + "/said").c_str()) == 0);
    return *read_file(path + "/said");
  }

  std::string path;
};

}  // namespace

TEST_CASE("choline makes a key that ssh-keygen reads, for its owner alone, and keeps it") {
  KeyFolder folder;
  Result<OwnSshKey> made = own_ssh_key(folder.path);
  REQUIRE(made.ok());
  CHECK(made->path == folder.path + "/ssh/id_ed25519");
  struct stat about {};
  REQUIRE(stat(made->path.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0600);
  std::string said = folder.public_of(made->path);
  CHECK_MESSAGE(said.starts_with(made->line.substr(0, made->line.rfind(' '))), said);
  CHECK(own_ssh_key(folder.path)->line == made->line);
  CHECK(list_folder(folder.path + "/ssh")->size() == 1);
}

TEST_CASE("of many that make the key at once, all get the same") {
  KeyFolder folder;
  constexpr int kMany = 8;
  for (int i = 0; i < kMany; ++i) {
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child != 0) continue;
    Result<OwnSshKey> made = own_ssh_key(folder.path);
    std::ofstream(folder.path + "/got" + std::to_string(i)) << (made ? made->line : "none");
    _exit(0);
  }
  for (int i = 0; i < kMany; ++i) REQUIRE(wait(nullptr) > 0);
  std::string line = own_ssh_key(folder.path)->line;
  for (int i = 0; i < kMany; ++i) {
    CHECK(*read_file(folder.path + "/got" + std::to_string(i)) == line);
  }
}

TEST_CASE("a private key says its type and whether it has a passphrase") {
  KeyFolder folder;
  Result<LoginKey> plain = read_login_key(folder.make("plain", "-t ecdsa -N ''"));
  REQUIRE(plain.ok());
  CHECK(plain->key.type == "ecdsa-sha2-nistp256");
  CHECK(!plain->encrypted);
  Result<LoginKey> locked = read_login_key(folder.make("locked", "-t ed25519 -N secret"));
  REQUIRE(locked.ok());
  CHECK(locked->encrypted);
  CHECK(folder.public_of(folder.path + "/plain").starts_with(to_text(plain->key)));
  Result<LoginKey> old = read_login_key(folder.make("old", "-t rsa -b 2048 -m PEM -N ''"));
  REQUIRE(old.ok());
  CHECK(old->key.type == "ssh-rsa");
  Result<LoginKey> locked_pem = read_login_key(folder.make("olds", "-t ecdsa -m PEM -N secret"));
  REQUIRE(locked_pem.ok());
  CHECK(locked_pem->encrypted);
}

TEST_CASE("what is no key, or others may read, is refused with the reason") {
  KeyFolder folder;
  CHECK(read_login_key(folder.path + "/none").error().kind == ErrorKind::not_found);
  std::string key = folder.make("open", "-t ed25519 -N ''");
  REQUIRE(chmod(key.c_str(), 0644) == 0);
  CHECK(read_login_key(key).error().message.find("chmod 600") != std::string::npos);
  for (const char* text : {"", "hello", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",
                           "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU"
                           "AAAAE\n-----END OPENSSH PRIVATE KEY-----\n"}) {
    std::string path = folder.path + "/text";
    std::ofstream(path) << text;
    REQUIRE(chmod(path.c_str(), 0600) == 0);
    CHECK_MESSAGE(!read_login_key(path).ok(), text);
  }
}

TEST_CASE("a configuration counts when it says what makes a difference, included files too") {
  KeyFolder folder;
  std::string path = folder.path + "/config";
  auto matters = [&](const std::string& text) {
    std::ofstream(path) << text;
    return ssh_config_matters(path);
  };
  CHECK(!ssh_config_matters(folder.path + "/none"));
  CHECK(!matters("# nothing\n\nHost *\n  SendEnv LANG LC_*\n\tHashKnownHosts yes\n"));
  CHECK(matters("Host gpu\n  User=me\n"));
  CHECK(matters("Match exec true\n"));
  CHECK(!matters("Include parts/*.conf\n"));
  std::filesystem::create_directory(folder.path + "/parts");
  std::ofstream(folder.path + "/parts/a.conf") << "ProxyJump gate\n";
  CHECK(matters("Include parts/*.conf\n"));
  CHECK(matters("Include config\n"));  // without end
}

}  // namespace choline
