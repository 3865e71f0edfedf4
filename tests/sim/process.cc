#include "sim/process.h"

#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "base/mutant.h"
#include "durable/instances.h"
#include "durable/owned_run.h"
#include "durable/requests.h"
#include "loop/await.h"
#include "native/module.h"
#include "provider/providers.h"
#include "sim/agent.h"
#include "sim/mutants.h"
#include "store/crash.h"
#include "store/database.h"

namespace choline::sim {

namespace {

namespace fs = std::filesystem;

Process* running = nullptr;                         // the one that has the processor
std::map<const Services*, Process*> all_processes;  // for natives, which know their services only

void on_crash_point(const char*) {
  if (running) running->passed_point();
}

// The dead commit nothing, whatever is left of the present turn.
int on_commit(void* process) {
  return static_cast<Process*>(process)->line().dead ? 1 : 0;
}

int on_open(sqlite3* db, char**, const sqlite3_api_routines*) {
  if (running) sqlite3_commit_hook(db, on_commit, running);
  return SQLITE_OK;
}

Json field(const Json& fields, const char* key) {
  return fields.is_object() && fields.contains(key) ? fields[key] : Json(nullptr);
}

// The checkpoints of a place: of an instance, or here.
std::set<std::string>* place(Line& line, Services& services, const Json& side) {
  Json tag = field(side, "tag");
  if (!tag.is_string()) return &line.world.checkpoints_here;
  Result<std::optional<ResourceRow>> row =
      find_resource((*services.store())->db(), tag.get<std::string>());
  if (!row || !*row) return nullptr;
  Server* server = line.world.find((*row)->provider_id);
  return server && server->alive(line.world.now()) ? &server->checkpoints : nullptr;
}

Json checkpoint(const std::string& name) {
  return {{"name", name}, {"path", name}, {"step", std::stoi(name.substr(5))},
          {"bytes", 10},  {"mtime", 0},   {"digest", name}};
}

Co<Result<Json>> move_once(Services& services, Json fields) {
  Line& line = all_processes.at(&services)->line();
  Json from = field(fields, "from"), to = field(fields, "to");
  Json far = field(from, "tag").is_string() ? field(from, "tag") : field(to, "tag");
  line.world.touch("sync");
  if (far.is_string()) {
    Result<Instances*> instances = services.instances();
    if (!instances) co_return instances.error();
    Result<Instances::Client> agent = co_await (*instances)->reach(far.get<std::string>());
    if (!agent) co_return agent.error();
  }
  Sleep wait(services.loop, line.world.dice().between(0.05, 5));
  co_await wait;
  line.catch_up();
  std::set<std::string>* source = place(line, services, from);
  std::set<std::string>* target = place(line, services, to);
  if (!source || !target) co_return Error(ErrorKind::lost, "the instance went away");
  Json sealed = Json::array();
  size_t moved = 0;
  for (const std::string& name : *source) {
    if (target->contains(name)) continue;
    ++moved;
    if (from.contains("tag")) sealed.push_back(checkpoint(name));
  }
  if (!line.dead) target->insert(source->begin(), source->end());
  Json none = Json::array();
  co_return Json{{"files", moved},  {"bytes", 10},  {"deleted", 0},     {"unchanged", 0},
                 {"skipped", none}, {"seconds", 1}, {"sealed", sealed}, {"damaged", none},
                 {"dropped", none}, {"again", 0}};
}

Co<Result<Json>> move_files(Services& services, Json args, StepContext) {
  Result<Json> moved = co_await move_once(services, arg(args, 0));
  co_return moved;
}

// As the real one: one step until there is something to tell.
Co<Result<Json>> follow_files(Services& services, Json args, StepContext) {
  Json fields = arg(args, 0);
  for (;;) {
    Sleep wait(services.loop, fields.value("every", 10.0));
    co_await wait;
    Result<Json> moved = co_await move_once(services, fields);
    if (!moved || moved->value("files", 0) > 0) co_return moved;
  }
}

Co<Result<Json>> newest_checkpoint(Services& services, Json, StepContext) {
  Line& line = all_processes.at(&services)->line();
  line.world.touch("newest checkpoint");
  line.catch_up();
  Json out = {{"damaged", Json::array()}, {"others", Json::array()}};
  int newest = -1;
  for (const std::string& name : line.world.checkpoints_here) {
    if (std::stoi(name.substr(5)) <= newest) continue;
    newest = std::stoi(name.substr(5));
    out["checkpoint"] = checkpoint(name);
  }
  for (const std::string& name : line.world.checkpoints_here) {
    if (name != out["checkpoint"]["name"]) out["others"].push_back(name);
  }
  co_return out;
}

Co<Result<Json>> list_checkpoints(Services& services, Json args, StepContext) {
  Line& line = all_processes.at(&services)->line();
  line.world.touch("list of checkpoints");
  Sleep wait(services.loop, line.world.dice().between(0.01, 1));
  co_await wait;
  line.catch_up();
  std::set<std::string>* found = place(line, services, arg(args, 0));
  Json list = Json::array();
  if (!found) co_return Error(ErrorKind::lost, "the instance went away");
  Json names = arg(args, 1);
  for (const std::string& name : *found) {
    bool wanted = !names.is_array() || std::find(names.begin(), names.end(), name) != names.end();
    if (wanted) list.push_back(checkpoint(name));
  }
  co_return list;
}

Co<Result<Json>> run_nothing(Services&, Json) {
  co_return Json{{"code", 127}, {"out", ""}, {"err", "not in a simulation"}};
}

std::vector<std::string> stdlib_modules() {
  static std::vector<std::string> modules = [] {
    std::vector<std::string> names;
    fs::path folder = fs::path(CHOLINE_SOURCE_DIR) / "stdlib";
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
      std::string path = entry.path().lexically_relative(folder).string();
      if (!path.ends_with(".lua") || path.starts_with("meta/") || path == "main.lua") continue;
      path.resize(path.size() - 4);
      std::replace(path.begin(), path.end(), '/', '.');
      names.push_back(path);
    }
    std::sort(names.begin(), names.end());
    return names;
  }();
  return modules;
}

}  // namespace

const std::string& project_file(const std::string& path) {
  static std::map<std::string, std::string> kept;
  auto found = kept.find(path);
  if (found != kept.end()) return found->second;
  std::ifstream file(fs::path(CHOLINE_SOURCE_DIR) / path, std::ios::binary);
  std::string source(std::istreambuf_iterator<char>(file), {});
  mutate(path, source);
  return kept[path] = std::move(source);
}

void prepare_process() {
  crash_points_on = true;
  crash_hook = on_crash_point;
  sqlite3_auto_extension(reinterpret_cast<void (*)()>(on_open));
}

Process::Process(World& world, ProcessOptions options)
    : world_(world),
      options_(std::move(options)),
      loop_(1'800'000'000 + world.now() - 1000 + options_.skew),
      line_{world, loop_} {
  line_.base = world.now() - loop_.ticks();
  running = this;
  Folders folders;
  folders.state = options_.state;
  folders.config = options_.state + "/config";
  folders.cache = options_.state + "/cache";
  folders.executable = "/usr/bin/choline";
  folders.agent = "/bin/sh";  // is looked for, never sent
  services_ = std::make_unique<Services>(loop_, folders);
  all_processes[services_.get()] = this;
  if (mutant("no-sync")) {
    (void)(*services_->store())->db().script("PRAGMA synchronous=NORMAL");
  }
  (*services_->providers())->add(std::make_unique<CloudProvider>(line_));
  (*services_->instances())->open_agent = [this](const Instance& instance) {
    return Result<std::unique_ptr<Link>>(open_agent_link(line_, instance.handle.id));
  };
  host_ = std::make_unique<Host>(loop_, HostOptions());
  host_->version = "sim";
  host_->find_source = [](std::string_view path) {
    return std::optional<std::string>(project_file("stdlib/" + std::string(path)));
  };
  add_native_modules(*host_, *services_);
  replace_natives();
  auto ended = [this](Outcome outcome) {
    if (!outcome.ok) output_ += outcome.message + "\n" + outcome.traceback;
    exit_code_ = outcome.ok && outcome.value.is_number_integer() ? outcome.value.get<int>()
                 : outcome.ok                                    ? 0
                                                                 : 70;
    loop_.stop();
  };
  if (options_.program.empty()) {
    host_->modules = stdlib_modules();
    host_->start(options_.argv, ended);
  } else {
    host_->start_text(options_.program, "@small.lua", options_.argv, ended);
  }
  auto at = [this](double seconds, std::function<void()> fn) {
    if (seconds > 0) loop_.timer(seconds, std::move(fn));
  };
  at(options_.crash_after, [this] { die(); });
  at(options_.suspended_at, [this] { loop_.suspend(options_.suspended); });
  at(options_.jump_at, [this] { loop_.jump_wall(options_.jump); });
  for (const Ask& wanted : options_.asks) at(wanted.at, [this, wanted] { ask(wanted); });
  running = nullptr;
}

Process::~Process() {
  line_.dead = true;  // whatever its end does, nobody outside hears of it
  running = this;
  asking_.clear();
  host_.reset();
  all_processes.erase(services_.get());
  services_.reset();
  running = nullptr;
}

void Process::run_for(double seconds) {
  if (over()) return;
  running = this;
  loop_.run_for(seconds);
  line_.catch_up();
  running = nullptr;
}

void Process::wake(bool told) {
  double missed = world_.now() - line_.now();
  if (missed <= 0) return;
  if (told) {
    loop_.suspend(missed);
  } else {
    loop_.stall(missed);
  }
}

void Process::die() {
  if (line_.dead) return;
  died_ = line_.dead = true;
  loop_.stop();
}

void Process::passed_point() {
  if (!line_.dead && ++points_ == options_.crash_at_point) die();
}

void Process::exit_now(int code) {
  if (line_.dead) return;
  exit_code_ = code;
  line_.dead = true;
  loop_.stop();
}

void Process::ask(const Ask& wanted) {
  if (over() || !services_->owned) return;
  std::function<void(Result<std::optional<Json>>)> told =
      [this, wanted](Result<std::optional<Json>> answer) {
        if (line_.dead || !answer || !*answer) return;
        answered_.push_back({wanted, line_.now(), **answer});
        if (wanted.dies) die();
      };
  asking_.emplace_back(
      send_request(loop_, services_->owned->folder(), wanted.verb, wanted.args, 10), told);
}

void Process::replace_natives() {
  Binding write;
  write.name = "write";
  write.call = [this](const Json& args) {
    if (arg(args, 1).is_string() && output_.size() < 20000) output_ += arg(args, 1);
    return Result<Json>(Json());
  };
  host_->add("sys", write);
  Binding exit;
  exit.name = "exit";
  exit.call = [this](const Json& args) {
    exit_now(arg(args, 0).is_number() ? arg(args, 0).get<int>() : 0);
    return Result<Json>(Json());
  };
  host_->add("sys", exit);
  NativeModule programs;
  programs.name = "sys";
  programs.functions = {{"run", run_nothing}};
  add_native_module(*host_, *services_, programs);
  NativeModule transfers;
  transfers.name = "transfer";
  transfers.functions = {{"sync", StepClass::idempotent, move_files},
                         {"follow", StepClass::idempotent, follow_files},
                         {"checkpoints", StepClass::query, list_checkpoints},
                         {"newest", StepClass::query, newest_checkpoint},
                         {"digests", StepClass::query, list_checkpoints}};
  add_native_module(*host_, *services_, transfers);
  // The real one, but for the end of the process when its run is lost.
  CallFn real = nullptr;
  for (const NativeFunction& function : run_module().functions) {
    if (function.name == "own") real = function.call;
  }
  Binding own;
  own.name = "own";
  own.call = [this, real](const Json& args) {
    Result<Json> owned = real(*services_, args);
    if (!owned) return owned;
    OwnedRun* run = services_->owned.get();
    run->on_broken = [this, run](const Error& error) {
      if (error.kind == ErrorKind::conflict) {
        lost_its_run_ = true;
        exit_now(8);
      } else if (!run->steps().somebody_was_told()) {
        output_ += error.message;
        exit_now(1);
      }
    };
    return owned;
  };
  host_->add("run", own);
}

}  // namespace choline::sim
