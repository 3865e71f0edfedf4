#include "transfer/serve.h"

#include <signal.h>

#include "transfer/checkpoint.h"
#include "transfer/frame.h"
#include "transfer/manifest.h"
#include "transfer/session.h"
#include "transfer/squeeze.h"
#include "transfer/two_way_side.h"

namespace choline {

namespace {

std::string string_field(const Json& value, const char* key) {
  auto found = value.find(key);
  return found != value.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string place_of(const std::string& path, const ServeOptions& options) {
  if (path.starts_with('/') || options.root.empty()) return path.empty() ? "." : path;
  return path.empty() ? options.root : options.root + "/" + path;
}

Status serve_checkpoints(FrameWriter& out, const std::string& path) {
  Result<std::vector<Checkpoint>> found = find_checkpoints(path);
  if (!found.ok()) {
    tell_failure(out, found.error());
    return found.error();
  }
  Json list = Json::array();
  for (const Checkpoint& each : *found) list.push_back(to_json(each));
  Status status = out.put_json(FrameType::report, list);
  return status.ok() ? out.flush() : status;
}

Status serve_manifests(FrameWriter& out, const std::string& path, const Json& asked) {
  std::vector<std::string> names;
  for (const Json& name : asked.is_array() ? asked : Json::array()) {
    if (!name.is_string()) return protocol_error("names that are none");
    names.push_back(name.get<std::string>());
  }
  Result<std::vector<Manifest>> found = read_manifests(path, names, nullptr);
  if (!found.ok()) {
    tell_failure(out, found.error());
    return found.error();
  }
  Json list = Json::array();
  for (const Manifest& each : *found) list.push_back(to_json(each, false));
  Status status = out.put_json(FrameType::report, list);
  return status.ok() ? out.flush() : status;
}

// Before anything else, so that no lane comes too early.
std::unique_ptr<LaneSource> lanes_of(const Json& request) {
  Json asked = request.value("lanes", Json());
  if (!asked.is_object()) return nullptr;
  return take_lanes(LaneKey{string_field(asked, "id"), string_field(asked, "secret")});
}

Status check_version(const Json& request) {
  Json version = request.value("version", Json());
  if (string_field(request, "magic") == "choline-files" && version == Json(kTransferVersion)) {
    return done();
  }
  return Error(ErrorKind::unsupported, "transfer: this end speaks version " +
                                           std::to_string(kTransferVersion) +
                                           ", the other asked for " + to_text(version));
}

Result<SyncReport> serve_tree(FrameReader& in, FrameWriter& out, const Json& request,
                              const ServeOptions& serve, SessionHooks hooks) {
  Result<SyncOptions> options = sync_options_from_json(request.value("options", Json::object()));
  std::string role = string_field(request, "role");
  Status known = options.ok() ? done() : Status(options.error());
  if (known.ok() && role != "send" && role != "receive") {
    known = protocol_error("the unknown role '" + role + "'");
  }
  if (!known.ok()) {
    tell_failure(out, known.error());
    return known.error();
  }
  if (!can_squeeze()) options->packing = Packing::never;
  std::string path = place_of(string_field(request, "path"), serve);
  std::unique_ptr<LaneSource> lanes = lanes_of(request);
  hooks.lanes = lanes.get();
  return role == "send" ? send_tree(in, out, path, *options, hooks)
                        : receive_tree(in, out, path, *options, hooks);
}

}  // namespace

Status serve_transfer(Stream& stream, const ServeOptions& serve) {
  FrameReader in(stream);
  FrameWriter out(stream);
  Result<Json> request = in.expect_json(FrameType::request);
  if (!request.ok() || !request->is_object()) {
    Error error = request.ok() ? protocol_error("a bad request") : request.error();
    tell_failure(out, error);
    return error;
  }
  Status version = check_version(*request);
  if (!version.ok()) {
    tell_failure(out, version.error());
    return version;
  }
  std::string path = place_of(string_field(*request, "path"), serve);
  std::string role = string_field(*request, "role");
  if (role == "checkpoints") return serve_checkpoints(out, path);
  if (role == "manifests") return serve_manifests(out, path, request->value("names", Json()));
  if (role == "two-way") return serve_side(in, out, path, *request);
  Result<SyncReport> report = serve_tree(in, out, *request, serve, {});
  return report.ok() ? done() : Status(std::move(report).error());
}

Result<SyncReport> serve_given(Stream& stream, const Json& request, const ServeOptions& serve,
                               std::function<void(const SyncProgress&)> progress) {
  FrameReader in(stream);
  FrameWriter out(stream);
  Status version = request.is_object() ? check_version(request) : protocol_error("a bad request");
  if (!version.ok()) {
    tell_failure(out, version.error());
    return version.error();
  }
  SessionHooks hooks;
  hooks.progress = std::move(progress);
  return serve_tree(in, out, request, serve, std::move(hooks));
}

int serve_transfer(int in, int out, const ServeOptions& options) {
  signal(SIGPIPE, SIG_IGN);
  FdStream stream(in, out);
  return serve_transfer(stream, options).ok() ? 0 : 1;
}

}  // namespace choline
