// native.transfer: files between here and an instance, over a channel of its agent.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "base/text.h"
#include "durable/instances.h"
#include "durable/owned_run.h"
#include "native/module.h"
#include "native/services.h"
#include "transfer/agent_channel.h"
#include "transfer/sync.h"

namespace choline {
namespace {

constexpr double kShowEvery = 0.25;  // seconds

struct Opened {
  std::string path;
  Instances::Client agent;           // keeps the link open while the transfer goes on
  std::unique_ptr<Channel> channel;  // null: here
};

Co<Result<Opened>> open_side(Services& services, Json side) {
  Opened opened;
  opened.path = text_field(side, "path");
  if (opened.path.empty())
    co_return Error(ErrorKind::invalid, "native.transfer: a side has no path");
  std::string tag = text_field(side, "tag");
  if (tag.empty()) co_return opened;
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<Instances::Client> agent = co_await (*instances)->reach(tag);
  if (!agent) co_return agent.error();
  opened.path = (*instances)->true_path(tag, opened.path);
  Result<std::unique_ptr<Channel>> channel = open_transfer_channel(**agent);
  if (!channel) co_return channel.error();
  opened.channel = std::move(*channel);
  opened.agent = std::move(*agent);
  co_return opened;
}

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
  options.dry_run = field(fields, "dry_run") == true;
  return options;
}

Json report_json(const SyncReport& report, bool dry_run, double seconds) {
  uint64_t moved = std::min(report.files_moved, report.entries);
  Json skipped = Json::array();
  for (const SyncNote& note : report.skipped)
    skipped.push_back({{"path", note.path}, {"why", note.why}});
  Json told = {{"files", report.files_moved},   {"bytes", report.bytes_moved},
               {"deleted", report.removed},     {"unchanged", report.entries - moved},
               {"skipped", std::move(skipped)}, {"seconds", seconds}};
  if (!dry_run) return told;
  Json plan = Json::array();
  for (const SyncMove& move : report.moves) {
    plan.push_back({{"path", move.path}, {"why", to_text(move.reason)}, {"bytes", move.bytes}});
  }
  told["plan"] = std::move(plan);
  return told;
}

Error some_failed(const std::string& name, const SyncReport& report) {
  Json list = Json::array();
  for (const SyncNote& note : report.failed)
    list.push_back({{"path", note.path}, {"why", note.why}});
  const SyncNote& first = report.failed.front();
  std::string message =
      "sync " + choline::quoted(name) + ": " + choline::quoted(first.path) + ": " + first.why;
  if (report.failed.size() > 1)
    message += ", and " + std::to_string(report.failed.size() - 1) + " more";
  return Error(ErrorKind::io, message, {{"failed", std::move(list)}});
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
    if (!services_.owned) return;
    Json row = {{"name", name_},
                {"state", state},
                {"direction", to_instance_ ? "to" : "from"},
                {"files", last_.files_done},
                {"files_total", last_.files_total},
                {"bytes", last_.bytes_done},
                {"bytes_total", last_.bytes_total},
                {"seconds", seconds()},
                {"at", services_.loop.wall()}};
    services_.owned->show("sync/" + name_, std::move(row));
  }

  Services& services_;
  std::string name_;
  bool to_instance_;
  double began_;
  double shown_ = -1;
  SyncProgress last_;
};

// One of the sides, or none, is on an instance; a link that dies under the transfer is a new try.
Co<Result<Json>> transfer_sync(Services& services, Json args, StepContext) {
  Json fields = arg(args, 0);
  std::string name = text_field(fields, "name");
  std::string from_tag = text_field(field(fields, "from"), "tag");
  std::string to_tag = text_field(field(fields, "to"), "tag");
  if (!from_tag.empty() && !to_tag.empty()) {
    co_return Error(ErrorKind::unsupported,
                    "sync " + choline::quoted(name) +
                        ": one side must be here; two instances are not connected");
  }
  SyncOptions options = options_of(fields);
  Shown shown(services, name, !to_tag.empty());
  SyncProgressFn progress = [&shown](const SyncProgress& now) { shown.progress(now); };
  for (int tries = 1;; ++tries) {
    Result<Opened> from = co_await open_side(services, field(fields, "from"));
    if (!from) co_return from.error();
    Result<Opened> to = co_await open_side(services, field(fields, "to"));
    if (!to) co_return to.error();
    SyncEnd source;
    source.path = from->path;
    source.channel = std::move(from->channel);
    SyncEnd target;
    target.path = to->path;
    target.channel = std::move(to->channel);
    Result<SyncReport> report =
        co_await sync_files(services.loop, std::move(source), std::move(target), options, progress);
    if (report) {
      shown.end(report->failed.empty() ? "done" : "failed", &*report);
      if (!report->failed.empty()) co_return some_failed(name, *report);
      co_return report_json(*report, options.dry_run, shown.seconds());
    }
    bool broken = report.error().kind == ErrorKind::lost && tries < 5;
    if (!broken) {
      shown.end("failed", nullptr);
      co_return report.error();
    }
  }
}

Co<Result<Json>> transfer_checkpoints(Services& services, Json args, StepContext) {
  Json place = arg(args, 0);
  Result<Opened> side = co_await open_side(services, place);
  if (!side) co_return side.error();
  SyncEnd end;
  end.path = side->path;
  end.channel = std::move(side->channel);
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

NativeModule transfer_module() {
  NativeModule module;
  module.name = "transfer";
  module.functions = {
      {"sync", StepClass::idempotent, transfer_sync},
      {"checkpoints", StepClass::query, transfer_checkpoints},
  };
  return module;
}

}  // namespace choline
