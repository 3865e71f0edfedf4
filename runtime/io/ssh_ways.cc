#include "io/ssh_ways.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "io/files.h"
#include "io/ssh_agent.h"
#include "io/ssh_keys.h"
#include "loop/await.h"

namespace choline {
namespace {

constexpr double kIdle = 45;          // seconds that a login is kept for the next command
constexpr double kReusePatience = 5;  // seconds for a command over such a login to start
constexpr size_t kMostIdle = 8;       // logins kept for one target
constexpr size_t kMostAgentKeys = 3;  // a host hangs up after six keys or so

std::string id_of(const SshTarget& target) {
  return to_text(to_json(target));
}

std::string kind_of_key(const std::string& type) {
  if (type == "ssh-rsa") return "an RSA key";
  if (type.starts_with("sk-")) return "a hardware key";
  return "a key of type " + type;
}

}  // namespace

Ssh::Ssh(Loop& loop, SshOptions options)
    : loop_(loop), options_(std::move(options)), configuration_(loop), secrets_(options_.config) {}

Ssh::~Ssh() {
  if (expiry_) loop_.cancel(expiry_);
}

std::vector<std::string> Ssh::known_files(const std::vector<std::string>& configured) const {
  std::vector<std::string> files = {options_.folder + "/known_hosts"};
  if (configured.empty()) {
    files.push_back(home_folder() + "/.ssh/known_hosts");
    files.push_back(home_folder() + "/.ssh/known_hosts2");
  }
  files.insert(files.end(), configured.begin(), configured.end());
  return files;
}

Ssh::Known Ssh::known(const SshTarget& target) const {
  auto found = known_.find(id_of(target));
  return found == known_.end() ? Known{target, known_files({})} : found->second;
}

// The program ------------------------------------------------------------------------------------

// A descriptor of this process that a child of the same user can open by name: in no file, no
// environment and no command line.
Result<std::string> Ssh::password_file(const std::string& secret) {
  UniqueFd& fd = passwords_[secret];
  if (!fd) {
    Result<std::string> value = secrets_.resolve(secret);
    if (!value) return value.error();
    Secret password(std::move(*value));
    UniqueFd made(::memfd_create("choline", MFD_CLOEXEC));
    std::string_view text = password.expose();
    if (!made) return errno_error("set memory aside", errno);
    if (::write(made.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      return errno_error("set memory aside", errno);
    }
    fd = std::move(made);
  }
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd.get());
}

Result<Ssh::Program> Ssh::program(const SshTarget& target, const std::string& command) {
  if (target.transport == "libssh2") {
    return Error(ErrorKind::unsupported,
                 "ssh to " + to_text(target) + " is to go by libssh2 alone (transport)");
  }
  if (!has_ssh_program()) {
    return Error(ErrorKind::unsupported, "there is no ssh program here; install openssh-client");
  }
  if (Status made = make_folders(options_.folder, 0700); !made) return made.error();
  SshWording wording;
  Known known_host = known(target);
  wording.known_files = known_host.files;
  HostPins pins = host_pins(known_host.place, known_host.files);
  for (const SshKey& key : pins.given) {
    Status noted = remember_host(wording.known_files.front(), pins.name, key);
    if (!noted) return noted.error();
  }
  wording.is_known = pins.has_any();
  if (!options_.config.empty()) {
    std::string own = own_ssh_key_path(options_.config);
    if (::access(own.c_str(), R_OK) == 0) wording.own_key = own;
  }
  Program program;
  program.env = ssh_environment();
  if (!target.password.empty()) {
    Result<std::string> file = password_file(target.password);
    if (!file) return file.error();
    wording.has_password = true;
    program.env.emplace_back("SSH_ASKPASS", options_.askpass);
    program.env.emplace_back("SSH_ASKPASS_REQUIRE", "force");
    program.env.emplace_back("CHOLINE_ASKPASS", *file);
  }
  program.argv = ssh_words(target, wording, command);
  return program;
}

Error Ssh::explain(const SshTarget& target, std::string_view complaint) const {
  const std::string host = to_text(target);
  auto choice = choices_.find(id_of(target));
  std::string before;
  if (choice != choices_.end() && choice->second.failed) {
    before = "; libssh2 said before: " + choice->second.failed->message;
  }
  switch (ssh_complaint(complaint)) {
    case SshComplaint::host_changed: {
      Known known_host = known(target);
      HostPins pins = host_pins(known_host.place, known_host.files);
      if (!pins.has_any()) {
        if (std::optional<KnownHostLine> line = offending_line(complaint)) {
          pins.lines.push_back(std::move(*line));
        }
      }
      return changed_host(target, pins, shown_fingerprint(complaint));
    }
    case SshComplaint::no_login:
      return Error(ErrorKind::auth,
                   host + " does not accept the login (" + last_line(complaint) + "); try 'ssh " +
                       host +
                       "' yourself, give key = \"~/.ssh/…\", or put choline's own key there, "
                       "which choline key prints" +
                       before,
                   {{"host", host}});
    case SshComplaint::other:
      break;
  }
  std::string why = last_line(complaint);
  return Error(ErrorKind::transient,
               "ssh to " + host + " failed" + (why.empty() ? "" : ": " + why) + before,
               {{"host", host}});
}

Result<Ssh::Way> Ssh::open_by_program(const SshTarget& target, const std::string& command) {
  Result<Program> words = program(target, command);
  if (!words) return words.error();
  Way way;
  way.program = std::move(*words);
  return way;
}

Co<Result<Ssh::Address>> Ssh::address(SshTarget target) {
  std::string host = to_text(target);
  Result<SshConfigured> said = co_await configuration_.look_up(target);
  if (!said) co_return said.error();
  if (!target.jump.empty() || said->jumps) {
    co_return Error(ErrorKind::unsupported, host + " is reached through another host");
  }
  SshTarget place = target;
  if (!said->host.empty()) place.host = said->host;
  if (place.user.empty()) place.user = said->user;
  if (place.port == 0) place.port = said->port;
  Address found{
      place.host, place.user.empty() ? login_name() : place.user, place.port ? place.port : 22, {}};
  std::vector<std::string> files = known_files(said->known_files);
  for (const char* file : {"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}) {
    files.emplace_back(file);
  }
  for (const SshKey& key : host_pins(place, files).believed()) found.keys.push_back(to_text(key));
  if (found.keys.empty()) {
    co_return Error(ErrorKind::unsupported, "no host key of " + host + " is known by itself");
  }
  co_return found;
}

// The choice --------------------------------------------------------------------------------------

void Ssh::choose(const SshTarget& target, Choice choice) {
  std::string way = choice.by_program ? "the ssh program" : "libssh2";
  log_info("ssh to " + to_text(target) + " goes by " + way + ": " + choice.reason);
  choices_[id_of(target)] = std::move(choice);
}

std::string Ssh::way_to(const SshTarget& target) const {
  auto found = choices_.find(id_of(target));
  if (found == choices_.end()) return "";
  return (found->second.by_program ? "openssh: " : "libssh2: ") + found->second.reason;
}

Co<Status> Ssh::find_keys(const SshTarget& target, const SshConfigured& said, Plan& plan) {
  std::vector<std::string> files = said.key_files.empty() ? usual_key_files() : said.key_files;
  if (!target.key.empty()) files = {expand_home(target.key)};
  bool only_those = said.only_those || !target.key.empty();
  if (target.key.empty() && !options_.config.empty()) {
    files.push_back(own_ssh_key_path(options_.config));
  }
  std::vector<SshKey> named;
  std::string unusable;
  for (const std::string& path : files) {
    Result<LoginKey> key = read_login_key(path);
    if (!key && !target.key.empty()) {
      co_return Error(ErrorKind::invalid,
                      "the key for " + to_text(target) + " cannot be used: " + key.error().message);
    }
    if (!key) continue;
    if (!key->key.blob.empty()) named.push_back(key->key);
    if (!ssh2_can_sign(key->key.type)) {
      unusable = path + " is " + kind_of_key(key->key.type);
    } else if (key->encrypted) {
      unusable = path + " has a passphrase";
    } else {
      plan.login.keys.push_back(std::move(*key));
    }
  }
  std::string socket = key_agent_socket();
  if (!socket.empty()) {
    Result<std::vector<SshKey>> held = co_await list_agent_keys(loop_, socket);
    if (!held) log_info(held.error().message);
    for (const SshKey& key : held ? *held : std::vector<SshKey>()) {
      bool is_named = std::find(named.begin(), named.end(), key) != named.end();
      if (only_those && !is_named) continue;
      if (!ssh2_can_sign(key.type)) {
        unusable = "the agent of keys has " + kind_of_key(key.type);
      } else if (plan.login.agent_keys.size() < kMostAgentKeys) {
        plan.login.agent_keys.push_back(key);
      }
    }
    plan.login.agent = socket;
  }
  bool has_one =
      !plan.login.keys.empty() || !plan.login.agent_keys.empty() || !plan.login.password.empty();
  if (!has_one && plan.obstacle.empty()) plan.obstacle = unusable;
  co_return done();
}

Co<Result<Ssh::Plan>> Ssh::make_plan(SshTarget target) {
  Plan plan;
  Result<SshConfigured> said = co_await configuration_.look_up(target);
  if (!said) {
    plan.obstacle = said.error().message;
    co_return plan;
  }
  if (!target.jump.empty()) plan.obstacle = "there is a jump host";
  if (!said->beyond.empty()) plan.obstacle = "the ssh configuration has " + said->beyond;
  plan.login.target = target;
  plan.login.host = said->host.empty() ? target.host : said->host;
  plan.login.user = !target.user.empty() ? target.user : said->user;
  if (plan.login.user.empty()) plan.login.user = login_name();
  plan.login.port = target.port ? target.port : said->port;
  if (plan.login.port == 0) plan.login.port = 22;
  SshTarget place = target;  // as known_hosts calls it
  place.host = plan.login.host;
  place.port = plan.login.port;
  std::vector<std::string> files = known_files(said->known_files);
  known_[id_of(target)] = Known{place, files};
  for (const char* file : {"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}) {
    files.emplace_back(file);
  }
  plan.login.pins = host_pins(place, files);
  std::vector<std::string> types = plan.login.pins.types();
  const std::vector<std::string>& can = ssh2_host_key_types();
  bool is_checkable =
      !plan.login.pins.has_any() || std::any_of(types.begin(), types.end(), [&](const auto& type) {
        return std::find(can.begin(), can.end(), type) != can.end();
      });
  if (!is_checkable) {
    plan.obstacle = types.empty() ? "its host key is vouched for by another key"
                                  : "its known host key is " + kind_of_key(types.front());
  }
  plan.login.remember = [file = files.front(), name = plan.login.pins.name](const SshKey& key) {
    return remember_host(file, name, key);
  };
  if (!target.password.empty()) {
    Result<std::string> value = secrets_.resolve(target.password);
    if (!value) co_return value.error();
    plan.login.password = Secret(std::move(*value));
  }
  Status found = co_await find_keys(target, *said, plan);
  if (!found) co_return found.error();
  co_return plan;
}

Co<Result<Ssh::Way>> Ssh::open(SshTarget target, std::string command) {
  if (Status made = make_folders(options_.folder, 0700); !made) co_return made.error();
  auto known = choices_.find(id_of(target));
  bool by_program =
      target.transport == "openssh" || (known != choices_.end() && known->second.by_program);
  if (by_program) {
    if (known == choices_.end()) choose(target, Choice{true, "transport says so", std::nullopt});
    co_return open_by_program(target, command);
  }
  Way way;
  way.stream = co_await reuse(target, command);
  if (way.stream) co_return way;
  Result<Way> opened = co_await open_by_libssh2(std::move(target), std::move(command));
  co_return opened;
}

Co<Result<Ssh::Way>> Ssh::open_by_libssh2(SshTarget target, std::string command) {
  Result<Plan> plan = co_await make_plan(target);
  if (!plan) co_return plan.error();
  bool may_go_by_program = target.transport.empty() && has_ssh_program();
  if (!plan->obstacle.empty() && may_go_by_program) {
    choose(target, Choice{true, plan->obstacle, std::nullopt});
    co_return open_by_program(target, command);
  }
  if (!plan->obstacle.empty()) log_info("libssh2: " + plan->obstacle);
  Result<std::unique_ptr<Ssh2Session>> session = co_await open_ssh2(loop_, std::move(plan->login));
  if (!session) {
    Error error = session.error();
    bool may_differ = error.kind == ErrorKind::unsupported || error.kind == ErrorKind::auth;
    if (may_differ && may_go_by_program) {
      std::string reason = error.message;
      choose(target, Choice{true, std::move(reason), error});
      co_return open_by_program(target, command);
    }
    if (error.kind == ErrorKind::auth) {
      error.message +=
          "; give key = \"~/.ssh/…\", or put choline's own key there, which choline "
          "key prints";
    }
    co_return error;
  }
  if (!choices_.contains(id_of(target))) {
    choose(target, Choice{false, "logged in with " + (*session)->key, std::nullopt});
  }
  Way way;
  way.stream = std::make_unique<Ssh2Stream>(loop_, std::move(*session));
  Status started = co_await way.stream->start(std::move(command));
  if (!started) co_return started.error();
  co_return way;
}

// Logins that wait for work -----------------------------------------------------------------------

Co<std::unique_ptr<Ssh2Stream>> Ssh::reuse(const SshTarget& target, const std::string& command) {
  for (;;) {
    auto found = idle_.find(id_of(target));
    if (found == idle_.end()) co_return nullptr;
    std::unique_ptr<Ssh2Stream> stream = std::move(found->second.back().stream);
    found->second.pop_back();
    if (found->second.empty()) idle_.erase(found);
    if (!stream->is_free() || stream->has_news()) continue;
    WithTimeout<Status> starting(loop_, kReusePatience, stream->start(command));
    std::optional<Status> started = co_await starting;
    if (started && started->ok()) co_return stream;
  }
}

void Ssh::give_back(const SshTarget& target, std::unique_ptr<Ssh2Stream> stream) {
  if (!stream->is_free()) return;
  std::vector<Idle>& idle = idle_[id_of(target)];
  if (idle.size() >= kMostIdle) return;
  idle.push_back(Idle{std::move(stream), loop_.ticks()});
  if (!expiry_) expiry_ = loop_.timer(kIdle, [this] { expire(); });
}

void Ssh::expire() {
  expiry_ = 0;
  double now = loop_.ticks();
  for (auto each = idle_.begin(); each != idle_.end();) {
    std::erase_if(each->second, [&](const Idle& one) { return now - one.since >= kIdle; });
    each = each->second.empty() ? idle_.erase(each) : std::next(each);
  }
  if (!idle_.empty()) expiry_ = loop_.timer(kIdle, [this] { expire(); });
}

}  // namespace choline
