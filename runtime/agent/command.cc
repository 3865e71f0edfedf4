#include "agent/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "agent/file.h"
#include "agent/keeper.h"
#include "agent/lease.h"
#include "base/random.h"
#include "base/text.h"

namespace choline {

namespace {

constexpr size_t kMaxKey = 512;
constexpr double kStartTimeout = 20;
const std::string kMark = "CHOLINE_COMMAND=";  // in the environment of all that a command starts

// A file name for a key: readable where it can be, and never two keys with one name.
std::string folder_name(const std::string& key) {
  std::string name;
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (char letter : key) {
    auto byte = static_cast<unsigned char>(letter);
    hash = (hash ^ byte) * 0x100000001b3;
    bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                 (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' ||
                 (byte == '.' && !name.empty());
    if (plain) {
      name += letter;
    } else {
      name += '%';
      name += to_hex(std::string_view(&letter, 1));
    }
  }
  if (name.size() <= 200) return name;
  char suffix[24];
  std::snprintf(suffix, sizeof suffix, "~%016llx", static_cast<unsigned long long>(hash));
  return name.substr(0, 180) + suffix;
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

Json read_json_file(const std::string& path) {
  Result<std::string> text = read_file(path, size_t{1} << 20);
  if (!text) return nullptr;
  Result<Json> value = parse_json(*text);
  return value && value->is_object() ? std::move(*value) : Json();
}

Error not_running(const std::string& key, const std::string& state) {
  return Error(ErrorKind::not_found,
               "the command " + choline::quoted(key) + " does not run: it is " + state,
               Json{{"state", state}});
}

Json write_name(const ProcessName& process) {
  return Json{{"pid", process.pid}, {"ticks", process.ticks}};
}

ProcessName read_name(const Json& value) {
  ProcessName process;
  if (!value.is_object()) return process;
  process.pid = value.value("pid", 0);
  process.ticks = value.value("ticks", uint64_t{0});
  return process;
}

}  // namespace

Json to_json(const PidFile& pid) {
  return Json{{"keeper", write_name(pid.keeper)},
              {"command", write_name(pid.command)},
              {"boot", pid.boot},
              {"started", pid.started}};
}

std::optional<PidFile> read_pid_file(const CommandFiles& files) {
  Json value = read_json_file(files.path("pid"));
  if (!value.is_object()) return std::nullopt;
  PidFile pid;
  try {
    pid.keeper = read_name(value.value("keeper", Json()));
    pid.command = read_name(value.value("command", Json()));
    pid.boot = value.value("boot", "");
    pid.started = value.value("started", 0.0);
  } catch (const Json::exception&) {
    return std::nullopt;  // not written by a keeper
  }
  return pid;
}

Commands::Commands(Place place)
    : place_(std::move(place)), folder_(place_.root + "/.choline/commands") {}

CommandFiles Commands::files(const std::string& key) const {
  return CommandFiles{folder_ + "/" + folder_name(key)};
}

Json Commands::status(const std::string& key) const {
  return status(files(key));
}

Json Commands::status(const CommandFiles& files) const {
  Json answer{{"state", "unknown"}, {"log_size", 0}};
  std::optional<PidFile> pid = read_pid_file(files);
  bool keeper_alive = pid && pid->boot == boot_id() && is_alive(pid->keeper);
  // After the keeper was looked at: it writes rc before it ends.
  Json ended = read_json_file(files.path("rc"));
  struct stat log {};
  if (::stat(files.path("log").c_str(), &log) == 0) answer["log_size"] = log.st_size;
  if (pid) answer["started"] = pid->started;
  if (ended.is_object()) {
    answer.update(ended);
    answer["state"] = "finished";
    // Then its end may be no deed of its own.
    if (std::optional<std::string> why = Lease(place_).ending()) answer["ending"] = *why;
    return answer;
  }
  if (!pid) return answer;
  answer["pid"] = pid->command.pid;
  answer["seconds"] = std::max(0.0, wall_seconds() - pid->started);
  if (keeper_alive) {
    answer["state"] = "running";
    return answer;
  }
  answer["state"] = "lost";
  if (pid->boot == boot_id()) kill_marked(kMark + files.folder);
  return answer;
}

Result<Json> Commands::signal(const std::string& key, int number) const {
  if (number < 1 || number >= NSIG) {
    return Error(ErrorKind::invalid, "there is no signal " + std::to_string(number));
  }
  CommandFiles files = this->files(key);
  Json now = status(files);
  std::string state = now["state"];
  std::optional<PidFile> pid = read_pid_file(files);
  if (state != "running" || !pid || pid->command.pid <= 1) return not_running(key, state);
  // The keeper reaps the command only after it has written rc, so the number is not used again.
  if (number == SIGKILL) kill_tree(pid->keeper.pid, SIGKILL);
  if (::kill(-pid->command.pid, number) != 0) {
    // The command forked a moment ago and has not made its group yet, or it is just ending.
    if (errno != ESRCH) return errno_error("signal the command " + choline::quoted(key), errno);
    if (number == SIGKILL) return Json::object();  // the first blow was enough
    if (::kill(pid->command.pid, number) != 0) return not_running(key, "ending");
  }
  return Json::object();
}

Result<Json> Commands::list() const {
  Json commands = Json::array();
  std::error_code failed;
  std::vector<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, failed)) {
    if (!entry.path().filename().native().starts_with('.'))
      folders.push_back(entry.path().native());
  }
  std::sort(folders.begin(), folders.end());
  for (const std::string& folder : folders) {
    CommandFiles files{folder};
    Result<std::string> key = read_file(files.path("key"), kMaxKey);
    if (!key) continue;  // being made or removed at this moment
    commands.push_back(Json{
        {"key", *key}, {"status", status(files)}, {"info", read_json_file(files.path("info"))}});
  }
  return Json{{"commands", std::move(commands)}};
}

Result<Json> Commands::remove(const std::string& key) const {
  CommandFiles files = this->files(key);
  if (!exists(files.folder)) return Json{{"removed", false}};
  if (status(files)["state"] == "running") {
    return Error(ErrorKind::conflict, "the command " + choline::quoted(key) +
                                          " still runs; end it before it is removed");
  }
  // Out of sight first, so that a start with this key never finds half of it.
  std::string aside = folder_ + "/.gone-" + random_id();
  if (::rename(files.folder.c_str(), aside.c_str()) != 0) {
    return errno_error("remove '" + files.folder + "'", errno);
  }
  std::error_code failed;
  std::filesystem::remove_all(aside, failed);
  if (failed) return errno_error("remove '" + aside + "'", failed.value());
  return Json{{"removed", true}};
}

namespace {

// Waits for what a keeper says on its report pipe: one JSON object, then the end.
struct Starting {
  UniqueFd spec, report;
  std::string rest;  // of the spec, not yet written
  std::string reply;
  Reactor::Id write_watch = 0, read_watch = 0, timer = 0;
  std::function<void(Result<Json>)> finish;
};

void end_start(Reactor& reactor, const std::shared_ptr<Starting>& start, Result<Json> result) {
  if (!start->finish) return;
  if (start->write_watch) reactor.unwatch(start->write_watch);
  if (start->read_watch) reactor.unwatch(start->read_watch);
  reactor.cancel(start->timer);
  start->spec.reset();
  start->report.reset();
  std::function<void(Result<Json>)> finish = std::move(start->finish);
  start->finish = nullptr;
  finish(std::move(result));
}

void read_report(Reactor& reactor, const std::shared_ptr<Starting>& start) {
  char buffer[4096];
  ssize_t got = ::read(start->report.get(), buffer, sizeof buffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) {
    start->reply.append(buffer, static_cast<size_t>(got));
    return;
  }
  Result<Json> reply = parse_json(start->reply);
  if (!reply || !reply->is_object()) {
    end_start(reactor, start, Error(ErrorKind::io, "the keeper of the command ended unexpectedly"));
    return;
  }
  Status told = reply->contains("error") ? error_from_json((*reply)["error"]) : done();
  end_start(reactor, start, told ? std::move(reply) : Result<Json>(told.error()));
}

// The keeper is a grandchild in a session of its own, so that it belongs to nobody.
Status spawn_keeper(const CommandFiles& files, int spec, int report) {
  pid_t child = ::fork();
  if (child < 0) return errno_error("fork", errno);
  if (child == 0) {
    restore_defaults();
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    int in = ::fcntl(spec, F_DUPFD, 10);
    int out = ::fcntl(report, F_DUPFD, 10);
    int nothing = ::open("/dev/null", O_RDWR);
    if (::dup2(in, 0) < 0 || ::dup2(nothing, 1) < 0 || ::dup2(nothing, 2) < 0 ||
        ::dup2(out, 3) < 0) {
      ::_exit(1);
    }
    close_from(4);
    execute_self({"choline-agent", "hold", files.folder.c_str()});
    ::_exit(keep_command(files.folder));
  }
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return done();
}

Status make_folder(const std::string& folder, const std::string& key, const Json& info) {
  size_t slash = folder.rfind('/');
  Status made = make_folders(folder.substr(0, slash));
  if (!made) return made;
  // The test and set: of many that start one key, one makes the folder; see also the keeper's lock.
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return errno_error("make folder '" + folder + "'", errno);
  }
  CommandFiles files{folder};
  if (exists(files.path("pid"))) return done();
  if (!exists(files.path("info"))) {
    Status wrote = write_file(files.path("info"), to_text(info));
    if (!wrote) return wrote;
  }
  if (exists(files.path("key"))) return done();
  return write_file(files.path("key"), key);
}

}  // namespace

void Commands::start(Reactor& reactor, const Json& request,
                     std::function<void(Result<Json>)> finish) const {
  std::string key = request.value("key", "");
  if (key.empty() || key.size() > kMaxKey) {
    return finish(Error(ErrorKind::invalid, "key: expected a string of 1 to 512 bytes"));
  }
  CommandFiles files = this->files(key);
  if (std::optional<PidFile> pid = read_pid_file(files); pid || exists(files.path("rc"))) {
    return finish(Json{{"already", true}, {"pid", pid ? pid->command.pid : 0}});
  }
  Result<Program> program = read_program(request, place_);
  if (!program) return finish(program.error());
  program->env.push_back(kMark + files.folder);
  Status made = make_folder(files.folder, key, request.value("info", Json::object()));
  if (!made) return finish(made.error());
  Result<Pipe> spec = make_pipe();
  if (!spec) return finish(spec.error());
  Result<Pipe> report = make_pipe();
  if (!report) return finish(report.error());
  Status spawned = spawn_keeper(files, spec->read.get(), report->write.get());
  if (!spawned) return finish(spawned.error());

  auto start = std::make_shared<Starting>();  // shared by the two watches and the timer
  start->spec = std::move(spec->write);
  start->report = std::move(report->read);
  start->finish = std::move(finish);
  // Over a pipe, so that what is secret in it never lies on a disk.
  start->rest =
      to_text(Json{{"argv", program->argv}, {"env", program->env}, {"dir", program->dir}});
  ::fcntl(start->spec.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(start->report.get(), F_SETFL, O_NONBLOCK);
  start->write_watch = reactor.watch(start->spec.get(), POLLOUT, [&reactor, start](short) {
    ssize_t wrote = ::write(start->spec.get(), start->rest.data(), start->rest.size());
    if (wrote < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (wrote > 0) start->rest.erase(0, static_cast<size_t>(wrote));
    if (wrote > 0 && !start->rest.empty()) return;
    reactor.unwatch(std::exchange(start->write_watch, 0));  // an early end shows in the report
    start->spec.reset();
  });
  start->read_watch = reactor.watch(start->report.get(), POLLIN,
                                    [&reactor, start](short) { read_report(reactor, start); });
  start->timer = reactor.timer(kStartTimeout, [&reactor, start] {
    end_start(reactor, start,
              Error(ErrorKind::timeout, "the keeper of the command does not answer"));
  });
}

}  // namespace choline
