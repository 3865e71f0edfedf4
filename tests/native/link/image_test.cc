// Images as they are found on rented machines: folders with nothing but busybox, made into roots of
// their own by chroot in a mount namespace, and spoiled in one way each.
#include <unistd.h>

#include "world.h"

using namespace choline;

namespace {

// What every image has; the folder is the current one. Everything mounted ends with its processes.
constexpr const char* kBase = R"sh(set -e
mkdir -p "$IMAGE"; mount --bind "$IMAGE" "$IMAGE"; cd "$IMAGE"
mkdir -p bin dev etc proc tmp var/tmp home/me home/user
chmod 1777 tmp var/tmp
[ -e bin/sh ] || { cp "$BUSYBOX" bin/busybox; chroot . /bin/busybox --install -s /bin; }
for device in null zero; do : >dev/$device; mount --bind /dev/$device dev/$device; done
mount --rbind /proc proc
printf 'root:x:0:0::/home/me:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n' >etc/passwd
)sh";

struct Image : World {
  // `spoil` is run in the image's folder; `enter` becomes the shell there.
  std::unique_ptr<Link> enter(const std::string& spoil, std::string how = "HOME=/home/me",
                              const std::string& user = "") {
    PipeLinkOptions options;
    options.argv = {
        "unshare", ::geteuid() == 0 ? "-m" : "-rm", "/bin/sh", "-c",
        std::string(kBase) + spoil + "\nexec chroot " + (user.empty() ? "" : "--userspec=" + user) +
            " . /bin/env -i PATH=/bin CHOLINE_INSTANCE=" + tag + " " + how + " /bin/sh"};
    options.env = {{"IMAGE", home + "/image"}, {"BUSYBOX", busybox()}};
    Result<std::unique_ptr<Link>> link = open_pipe_link(loop, std::move(options));
    REQUIRE(link.ok());
    return std::move(*link);
  }
  static std::string busybox() {
    for (const char* path : {"/bin/busybox", "/usr/bin/busybox"}) {
      if (std::filesystem::exists(path)) return path;
    }
    FAIL("busybox is not installed; scripts/setup --test");
    return "";
  }
  Result<Bootstrapped> boot(std::unique_ptr<Link> link) {
    return run(bootstrap(loop, std::move(link), bootstrap_options()));
  }
  std::unique_ptr<AgentClient> use(std::unique_ptr<Link> link) {
    Result<Bootstrapped> there = boot(std::move(link));
    INFO((there ? "" : there.error().message));
    REQUIRE(there.ok());
    was_sent = there->sent;
    agent_path = there->path;
    Result<std::unique_ptr<AgentClient>> client =
        run(AgentClient::open(loop, std::move(there->link)));
    INFO((client ? "" : client.error().message));
    REQUIRE(client.ok());
    return std::move(*client);
  }
  std::string refusal(std::unique_ptr<Link> link) {
    Result<Bootstrapped> there = boot(std::move(link));
    REQUIRE(!there.ok());
    return there.error().message;
  }
  void check_command(AgentClient& client, const std::string& key) {
    start(client, key, "echo of $(id -u); exit 5");
    Followed followed = follow(client, key);
    CHECK(followed.log.starts_with("of "));
    CHECK(followed.end.code == 5);
  }
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("an image with nothing but busybox is enough") {
  Image image;
  auto client = image.use(image.enter(""));
  CHECK(image.agent_path.starts_with("/home/me/.choline/agent-"));
  Result<ExecResult> tools = image.exec(*client, "command -v bash python3 openssl || echo none");
  REQUIRE(tools.ok());
  CHECK(tools->out == "none\n");
  image.check_command(*client, "k");
  image.start(*client, "long", "sleep 600");
  CHECK(image.run(client->signal("long", SIGKILL)).ok());
  CHECK(image.follow(*client, "long").end.signal == SIGKILL);
}

TEST_CASE("a user whose home is read-only keeps agent and commands below /var/tmp") {
  Image image;
  std::string spoil = "mount -t tmpfs -o ro none home/user";
  // Where this user is not root, there is no other one to become.
  std::string user = ::geteuid() == 0 ? "1000:1000" : "";
  auto client = image.use(image.enter(spoil, "HOME=/home/user", user));
  CHECK(has(image.agent_path, "/var/tmp/choline-"));
  CHECK(has(client->hello()["root"].get<std::string>(), "/var/tmp/choline-"));
  image.check_command(*client, "k");
  // The next contact finds both again.
  auto second = image.use(image.enter(spoil, "HOME=/home/user", user));
  CHECK(!image.was_sent);
  CHECK(image.run(second->start(image.command("k", "true")))->already);
}

TEST_CASE("a read-only image where programs may run in /dev/shm alone has its agent there") {
  Image image;
  auto client =
      image.use(image.enter("mkdir dev/shm; mount -t tmpfs -o mode=1777 none dev/shm\n"
                            "mount -t tmpfs -o noexec none tmp; mount -o remount,bind,ro ."));
  CHECK(image.agent_path.starts_with("/dev/shm/choline-"));
  image.check_command(*client, "k");
}

TEST_CASE("a login without HOME gets the one of its user") {
  Image image;
  auto client = image.use(image.enter("", ""));
  CHECK(image.agent_path.starts_with("/home/me/.choline/agent-"));
  CHECK(client->hello()["root"] == "/home/me");
  image.check_command(*client, "k");
}

TEST_CASE("an image with no place for the agent says of each folder why") {
  Image image;
  std::string said = image.refusal(image.enter(
      "mount -t tmpfs -o size=300k none home/me; mount -t tmpfs -o noexec none tmp\n"
      "mkdir var/tmp/choline-0; chown 7 var/tmp/choline-0; mount -o remount,bind,ro ."));
  CHECK(has(said, "/home/me/.choline (less than "));
  CHECK(has(said, " KiB free)"));
  if (::geteuid() == 0) CHECK(has(said, "/var/tmp/choline-0 (belongs to another user)"));
  CHECK(has(said, "/tmp/choline-0 (programs may not run there)"));
  CHECK(has(said, "/dev/shm/choline-0 (cannot be made)"));
  CHECK(has(said, "free some space or make one of them writable"));
}

TEST_CASE("a disk that fills up under the agent is said to be full, and nothing is left on it") {
  Image image;
  // Without /dev/zero nothing can be tried beforehand.
  std::string said = image.refusal(
      image.enter("mount -t tmpfs -o size=300k none home/me; umount dev/zero; rm dev/zero"));
  CHECK(has(said, "cannot be written to /home/me/.choline on the instance: no space left"));
}

TEST_CASE("a command that a full disk stops from starting may be started once there is room") {
  Image image;
  auto client = image.use(image.enter("mount -t tmpfs -o size=4m none home/me"));
  CHECK(image.exec(*client, "cat /dev/zero >fill; true").ok());
  Result<StartResult> started = image.run(client->start(image.command("k", "echo of me")));
  REQUIRE(!started.ok());
  CHECK(has(started.error().message, "No space left on device"));
  CHECK(image.exec(*client, "rm fill").ok());
  image.check_command(*client, "k");
}

TEST_CASE("an image that can take no agent for want of tools names them") {
  World world;
  std::filesystem::create_directories(world.home + "/bin");
  for (const char* tool : {"uname", "id", "mkdir", "rm", "chmod", "mv", "wc", "tr"}) {
    std::filesystem::create_symlink(std::string("/usr/bin/") + tool, world.home + "/bin/" + tool);
  }
  PipeLinkOptions options;
  options.argv = {"/bin/dash"};
  options.env = {{"HOME", world.home}, {"PATH", world.home + "/bin"}};
  auto link = open_pipe_link(world.loop, options);
  REQUIRE(link.ok());
  Result<Bootstrapped> there =
      world.run(bootstrap(world.loop, std::move(*link), world.bootstrap_options()));
  REQUIRE(!there.ok());
  CHECK(has(there.error().message, "has none of head -c, dd in its PATH"));
}
