// native.transfer: files between here and an instance, over a channel of its agent.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "base/text.h"
#include "durable/owned_run.h"
#include "loop/await.h"
#include "native/direct.h"
#include "native/module.h"
#include "native/transfer.h"
#include "store/store.h"
#include "transfer/agent_channel.h"
#include "transfer/checkpoint.h"
#include "transfer/manifest.h"
#include "transfer/shell_lane.h"

namespace choline {
namespace {

constexpr double kShowEvery = 0.25;  // seconds
constexpr int kDirectTries = 2;      // of a connection between two instances that breaks

SyncOptions options_of(const Json& fields) {
  SyncOptions options;
  Json exclude = field(fields, "exclude");
  if (exclude.is_string()) exclude = Json::array({exclude});
  for (const Json& pattern : exclude.is_array() ? exclude : Json::array()) {
    if (pattern.is_string()) options.exclude.push_back(pattern.get<std::string>());
  }
  options.use_ignore_files = field(fields, "include_ignored") != true;
  options.delete_extra = field(fields, "delete") == true;
  options.checkpoints = field(fields, "checkpoints") == true;
  options.compare_content = field(fields, "compare") == true;
  options.dry_run = field(fields, "dry_run") == true;
  options.rate = fields.value("limit", uint64_t{0});
  options.links = fields.value("links", uint64_t{0});
  return options;
}

Json report_json(const SyncReport& report, bool dry_run, double seconds) {
  Json skipped = Json::array();
  for (const SyncNote& note : report.skipped)
    skipped.push_back({{"path", note.path}, {"why", note.why}});
  Json told = {{"files", report.files_moved},   {"bytes", report.bytes_moved},
               {"deleted", report.removed},     {"unchanged", report.unchanged},
               {"skipped", std::move(skipped)}, {"seconds", seconds}};
  if (!dry_run) return told;
  Json plan = Json::array();
  for (const SyncMove& move : report.moves) {
    plan.push_back({{"path", move.path}, {"why", to_text(move.reason)}, {"bytes", move.bytes}});
  }
  told["plan"] = std::move(plan);
  return told;
}

// What could not be moved, and what was moved all the same.
Error some_failed(const std::string& name, const SyncReport& report) {
  Json list = Json::array();
  for (const SyncNote& note : report.failed)
    list.push_back({{"path", note.path}, {"why", note.why}});
  const SyncNote& first = report.failed.front();
  std::string message =
      "sync " + choline::quoted(name) + ": " + choline::quoted(first.path) + ": " + first.why;
  if (report.failed.size() > 1)
    message += ", and " + std::to_string(report.failed.size() - 1) + " more";
  return Error(ErrorKind::io, message,
               {{"failed", std::move(list)},
                {"files", report.files_moved},
                {"bytes", report.bytes_moved},
                {"deleted", report.removed}});
}

// The row "sync/<name>" of the run's views, while the transfer goes on.
class Shown {
 public:
  Shown(Services& services, std::string name, bool to_instance)
      : services_(services),
        name_(std::move(name)),
        to_instance_(to_instance),
        began_(services.loop.ticks()) {}

  void progress(const SyncProgress& now) {
    double at = services_.loop.ticks();
    if (at - shown_ < kShowEvery) return;
    shown_ = at;
    last_ = now;
    show("running");
  }
  void end(const char* state, const SyncReport* report) {
    if (report) {
      last_.files_done = last_.files_total = report->files_moved;
      last_.bytes_done = last_.bytes_total = report->bytes_moved;
    }
    show(state);
  }
  double seconds() const { return services_.loop.ticks() - began_; }

 private:
  void show(const char* state) {
    Json row = {{"name", name_},
                {"state", state},
                {"direction", to_instance_ ? "to" : "from"},
                {"files", last_.files_done},
                {"files_total", last_.files_total},
                {"bytes", last_.bytes_done},
                {"bytes_total", last_.bytes_total},
                {"seconds", seconds()},
                {"at", services_.loop.wall()}};
    services_.transfers[name_] = row;
    if (services_.owned) services_.owned->show("sync/" + name_, std::move(row));
  }

  Services& services_;
  std::string name_;
  bool to_instance_;
  double began_;
  double shown_ = -1;
  SyncProgress last_;
};

// Where the manifests of this sync are; empty when the checkpoints are not a run's own.
Result<std::string> manifest_folder(Services& services, const std::string& name) {
  if (!services.owned) return std::string();
  Result<Store*> store = services.store();
  if (!store) return store.error();
  return (*store)->run_folder(services.owned->id()) + "/checkpoints/" + name;
}

Co<Result<Json>> move_checkpoints(Services& services, Json fields, std::string folder,
                                  Shown& shown) {
  CheckpointPull pull;
  pull.options = options_of(fields);
  pull.fields = std::move(fields);
  pull.progress = [&shown](const SyncProgress& now) { shown.progress(now); };
  pull.folder = std::move(folder);
  std::string name = text_field(pull.fields, "name");
  Result<PulledCheckpoints> pulled = co_await pull_checkpoints(services, std::move(pull));
  if (!pulled) co_return pulled.error();
  const SyncReport& report = pulled->report;
  shown.end(report.failed.empty() && pulled->damaged.empty() ? "done" : "failed", &report);
  if (!report.failed.empty()) co_return some_failed(name, report);
  Json told = report_json(report, false, shown.seconds());
  told["sealed"] = pulled->sealed;
  told["damaged"] = pulled->damaged;
  told["dropped"] = pulled->dropped;
  told["again"] = pulled->again;
  co_return told;
}

Result<Json> finish_tree(const Json& fields, Shown& shown, const SyncReport& report) {
  shown.end(report.failed.empty() ? "done" : "failed", &report);
  if (!report.failed.empty()) return some_failed(text_field(fields, "name"), report);
  return report_json(report, field(fields, "dry_run") == true, shown.seconds());
}

// Between two instances without a way through here. Nothing: it must go through here, and `why`
// says what for.
Co<std::optional<Result<Json>>> move_between(Services& services, Json fields, Shown& shown,
                                             std::string& why) {
  Result<TransferSide> from = co_await reach_side(services, field(fields, "from"));
  if (!from) co_return Result<Json>(from.error());
  Result<TransferSide> to = co_await reach_side(services, field(fields, "to"));
  if (!to) co_return Result<Json>(to.error());
  if (!from->agent || !to->agent) {
    why = "one side is here";
    co_return std::nullopt;
  }
  SyncProgressFn progress = [&shown](const SyncProgress& now) { shown.progress(now); };
  SyncOptions options = options_of(fields);
  DirectMove direct = co_await move_directly(services, *from, *to, std::move(options), progress);
  why = direct.why;
  if (!direct.report) co_return std::nullopt;
  if (!direct.report->ok()) co_return Result<Json>(direct.report->error());
  Result<Json> told = finish_tree(fields, shown, **direct.report);
  if (told) (*told)["direct"] = true;
  co_return told;
}

Co<Result<Json>> move_tree(Services& services, Json fields, Shown& shown, int tries) {
  SyncOptions options = options_of(fields);
  std::string relayed;
  bool direct = field(fields, "direct") == true;
  if (direct && tries > kDirectTries) {
    relayed = "the connection between the two broke";
  } else if (direct) {
    std::optional<Result<Json>> moved = co_await move_between(services, fields, shown, relayed);
    if (moved) co_return *moved;
  }
  Result<TransferSide> from = co_await open_side(services, field(fields, "from"));
  if (!from) co_return from.error();
  Result<TransferSide> to = co_await open_side(services, field(fields, "to"));
  if (!to) co_return to.error();
  SyncEnd source = end_of(*from), target = end_of(*to);
  SyncProgressFn progress = [&shown](const SyncProgress& now) { shown.progress(now); };
  Result<SyncReport> report =
      co_await sync_files(services.loop, std::move(source), std::move(target), options, progress);
  if (!report) co_return report.error();
  Result<Json> told = finish_tree(fields, shown, *report);
  if (told && !relayed.empty()) (*told)["relayed"] = relayed;
  co_return told;
}

Co<Result<Json>> move_both_ways(Services& services, Json fields, Shown& shown) {
  SyncOptions options = options_of(fields);
  SyncProgressFn progress = [&shown](const SyncProgress& now) { shown.progress(now); };
  Result<Json> told =
      co_await sync_two_ways(services, std::move(fields), std::move(options), std::move(progress));
  if (!told) co_return told;
  SyncReport report;
  report.files_moved = told->value("files", uint64_t{0});
  report.bytes_moved = told->value("bytes", uint64_t{0});
  shown.end("done", &report);
  (*told)["seconds"] = shown.seconds();
  co_return told;
}

// One transfer of a sync at a time, whoever asks for it.
class Turn {
 public:
  Turn(Services& services, std::string name) : services_(services), name_(std::move(name)) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    if (!mine_) return;
    std::shared_ptr<Event> freed = services_.syncs_under_way[name_];
    services_.syncs_under_way.erase(name_);
    freed->set();
  }
  Co<Status> take() {
    for (;;) {
      auto found = services_.syncs_under_way.find(name_);
      if (found == services_.syncs_under_way.end()) break;
      std::shared_ptr<Event> freed = found->second;
      Event::Waiter waiter(*freed);
      co_await waiter;
    }
    services_.syncs_under_way[name_] = std::make_shared<Event>(services_.loop);
    mine_ = true;
    co_return done();
  }

 private:
  Services& services_;
  std::string name_;
  bool mine_ = false;
};

Co<Result<Json>> transfer_sync(Services& services, Json args, StepContext) {
  Result<Json> moved = co_await move_files(services, arg(args, 0));
  co_return moved;
}

// How far a transfer of this process is.
Result<Json> transfer_progress(Services& services, const Json& args) {
  Result<std::string> name = string_arg(args, 0, "native.transfer.progress");
  if (!name) return name.error();
  auto found = services.transfers.find(*name);
  return found == services.transfers.end() ? Json() : found->second;
}

// The newest checkpoint of a sync of this run that is here and whole.
Co<Result<Json>> transfer_newest(Services& services, Json args, StepContext) {
  Json fields = arg(args, 0);
  Result<std::string> folder = manifest_folder(services, text_field(fields, "name"));
  if (!folder) co_return folder.error();
  if (folder->empty()) {
    co_return Error(ErrorKind::conflict, "native.transfer.newest: this process owns no run");
  }
  std::string place = text_field(fields, "path");
  std::function<Result<ManifestFolder::Newest>()> job =
      [manifests = ManifestFolder(*folder, place)] { return manifests.newest(); };
  OnWorker<Result<ManifestFolder::Newest>> working(services.loop, std::move(job));
  Result<ManifestFolder::Newest> newest = co_await working;
  if (!newest) co_return newest.error();
  std::function<Result<std::vector<Checkpoint>>()> listing = [place] {
    return find_checkpoints(place);
  };
  OnWorker<Result<std::vector<Checkpoint>>> looking(services.loop, std::move(listing));
  Result<std::vector<Checkpoint>> all = co_await looking;
  if (!all) co_return all.error();
  Json out = {{"damaged", Json::array()}, {"others", Json::array()}};
  for (const SyncNote& note : newest->damaged)
    out["damaged"].push_back({{"name", note.path}, {"why", note.why}});
  if (newest->manifest) out["checkpoint"] = to_json(*newest->manifest, false);
  for (const Checkpoint& each : *all) {
    bool is_it = newest->manifest && newest->manifest->checkpoint.name == each.name;
    if (!is_it) out["others"].push_back(each.name);
  }
  co_return out;
}

// Digests of complete checkpoints, read where they are.
Co<Result<Json>> transfer_digests(Services& services, Json args, StepContext) {
  Result<TransferSide> side = co_await open_side(services, arg(args, 0));
  if (!side) co_return side.error();
  Result<std::vector<std::string>> names = texts_arg(args, 1, "native.transfer.digests");
  if (!names) co_return names.error();
  SyncEnd end = end_of(*side);
  Result<std::vector<Manifest>> found =
      co_await fetch_manifests(services.loop, std::move(end), std::move(*names));
  if (!found && found.error().kind != ErrorKind::not_found) co_return found.error();
  Json list = Json::array();
  if (!found) co_return list;
  for (const Manifest& each : *found) list.push_back(to_json(each, false));
  co_return list;
}

Co<Result<Json>> transfer_checkpoints(Services& services, Json args, StepContext) {
  Json place = arg(args, 0);
  Result<TransferSide> side = co_await open_side(services, place);
  if (!side) co_return side.error();
  SyncEnd end = end_of(*side);
  Result<std::vector<Checkpoint>> found = co_await list_checkpoints(services.loop, std::move(end));
  if (!found) {
    if (found.error().kind == ErrorKind::not_found) co_return Json(Json::array());
    co_return found.error();
  }
  std::string folder = text_field(place, "path");
  Json list = Json::array();
  for (const Checkpoint& one : *found) {
    Json told = to_json(one);
    told["path"] = folder + "/" + one.name;
    list.push_back(std::move(told));
  }
  co_return list;
}

}  // namespace

Co<Result<Json>> move_files(Services& services, Json fields) {
  std::string name = text_field(fields, "name");
  std::string from_tag = text_field(field(fields, "from"), "tag");
  std::string to_tag = text_field(field(fields, "to"), "tag");
  Turn turn(services, name);
  Status taken = co_await turn.take();
  if (!taken) co_return taken.error();
  bool sealing = field(fields, "checkpoints") == true && !from_tag.empty() && to_tag.empty() &&
                 field(fields, "dry_run") != true;
  Result<std::string> folder = std::string();
  if (sealing) folder = manifest_folder(services, name);
  if (!folder) co_return folder.error();
  Shown shown(services, name, !to_tag.empty());
  for (int tries = 1;; ++tries) {
    Co<Result<Json>> moving =
        field(fields, "two_way") == true ? move_both_ways(services, fields, shown)
        : folder->empty()                ? move_tree(services, fields, shown, tries)
                                         : move_checkpoints(services, fields, *folder, shown);
    Result<Json> moved = co_await moving;
    bool broken = !moved && moved.error().kind == ErrorKind::lost && tries < 5;
    if (broken) continue;
    if (!moved) shown.end("failed", nullptr);
    co_return moved;
  }
}

Co<Result<TransferSide>> reach_side(Services& services, Json side) {
  TransferSide opened;
  opened.path = text_field(side, "path");
  if (opened.path.empty())
    co_return Error(ErrorKind::invalid, "native.transfer: a side has no path");
  std::string tag = text_field(side, "tag");
  opened.tag = tag;
  opened.label = text_field(side, "label");
  if (opened.label.empty()) opened.label = tag;
  if (tag.empty()) co_return opened;
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<Instances::Client> agent = co_await (*instances)->reach(tag);
  if (!agent) co_return agent.error();
  opened.path = (*instances)->true_path(tag, opened.path);
  if (std::optional<AgentRoute> route = (*instances)->route(tag)) {
    opened.lanes = shell_lanes({route->shell.argv, route->shell.env, route->shell.clean_env,
                                route->shell.dir, route->agent});
  }
  opened.agent = std::move(*agent);
  const Json& hello = opened.agent->hello();
  opened.squeezes = hello.is_object() && hello.value("zstd", Json()) == true;
  co_return opened;
}

SyncEnd end_of(TransferSide& side) {
  SyncEnd end;
  end.path = side.path;
  end.channel = std::move(side.channel);
  end.lanes = side.lanes;
  end.squeezes = side.squeezes;
  return end;
}

Co<Result<TransferSide>> open_side(Services& services, Json side) {
  Result<TransferSide> reached = co_await reach_side(services, std::move(side));
  if (!reached || !reached->agent) co_return reached;
  Result<std::unique_ptr<Channel>> channel = open_transfer_channel(*reached->agent);
  if (!channel) co_return channel.error();
  reached->channel = std::move(*channel);
  co_return reached;
}

NativeModule transfer_module() {
  NativeModule module;
  module.name = "transfer";
  module.functions = {
      {"sync", StepClass::idempotent, transfer_sync},
      {"follow", StepClass::idempotent, transfer_follow},
      {"progress", transfer_progress},
      {"checkpoints", StepClass::query, transfer_checkpoints},
      {"newest", StepClass::query, transfer_newest},
      {"digests", StepClass::query, transfer_digests},
  };
  return module;
}

}  // namespace choline
