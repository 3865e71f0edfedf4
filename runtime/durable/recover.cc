#include "durable/recover.h"

#include "base/text.h"
#include "provider/providers.h"
#include "store/resources.h"
#include "store/runs.h"

namespace choline {

namespace {

// cho-<install>-<run>-<step>-<attempt>
struct TagParts {
  std::string install, run;
};

std::optional<TagParts> parts_of(const std::string& tag) {
  std::vector<std::string> parts = split(tag, '-');
  if (parts.size() != 5 || parts[0] != "cho" || parts[1].empty() || parts[2].empty())
    return std::nullopt;
  return TagParts{parts[1], parts[2]};
}

RunRow lost_run(const std::string& id, const Instance& one, double now) {
  RunRow row;
  row.id = id;
  row.name = "recovered";
  row.state = "paused";
  row.created = one.created > 0 ? one.created : now;
  row.env = {{"recovered", true}};
  return row;
}

Status write_rows(Txn& txn, const std::string& run, const std::string& name, const Instance& one,
                  double now) {
  Result<std::optional<RunRow>> known = get_run(txn.db(), run, now);
  if (!known) return known.error();
  if (!*known) {
    RunRow lost = lost_run(run, one, now);
    if (Status made = insert_run(txn, lost, {}); !made) return made;
    Json why = {
        {"kind", "lost"},
        {"message", "its record was lost with the state folder, so it cannot go on by itself"}};
    if (Status paused = set_run_state(txn, run, "paused", why, now); !paused) return paused;
  }
  Result<std::optional<ResourceRow>> there = find_resource(txn.db(), one.handle.tag);
  if (!there) return there.error();
  if (*there) return done();
  ResourceRow row;
  row.tag = one.handle.tag;
  row.run = run;
  row.step = "recovered/" + one.handle.tag;
  row.name = name;
  row.provider = one.handle.provider;
  row.spec = Json::object();
  row.price = one.price;
  row.intended_at = one.created > 0 ? one.created : now;
  if (Status intended = insert_intended(txn, row); !intended) return intended;
  LiveFacts facts;
  facts.provider_id = one.handle.id;
  facts.price = one.price;
  facts.host = one.host;
  facts.handle = to_json(one.handle);
  facts.at = row.intended_at;
  return set_live(txn, row.tag, facts);
}

ProcRow proc_of(Instances& instances, const std::string& run, const std::string& tag,
                const CommandInfo& command) {
  const Json info = command.info.is_object() ? command.info : Json::object();
  ProcRow row;
  row.run = run;
  row.tag = tag;
  row.key = info.value("key", command.key);
  row.task = info.value("task", std::string("?"));
  row.attempt = info.value("attempt", 1);
  std::string name = row.key.starts_with(run + ".") ? row.key.substr(run.size() + 1) : row.key;
  for (char& letter : name) {
    if (letter == '/') letter = '-';
  }
  row.log = instances.store().run_folder(run) + "/logs/" + name + ".log";
  row.state = "running";  // its end is read by whoever waits for it
  row.started = command.status.started;
  return row;
}

std::string state_text(CommandState state) {
  switch (state) {
    case CommandState::running:
      return "running";
    case CommandState::finished:
      return "finished";
    case CommandState::lost:
      return "lost";
    case CommandState::unknown:
      break;
  }
  return "unknown";
}

}  // namespace

Co<Result<Json>> find_tagged(RentWorld world) {
  Json list = Json::array(), incomplete = Json::array();
  for (const std::string& name : world.providers.names()) {
    Result<Provider*> provider = world.providers.find(name);
    if (!provider) co_return provider.error();
    if (!(*provider)->has_account()) continue;
    Result<Found> found = co_await (*provider)->list_all("cho-");
    if (!found || !found->complete) {
      std::string why = found ? std::string("the list is partial") : found.error().message;
      incomplete.push_back(name + ": " + why);
    }
    if (!found) continue;
    for (const Instance& one : found->instances) {
      std::optional<TagParts> parts = parts_of(one.handle.tag);
      if (!parts) continue;
      Result<std::optional<ResourceRow>> row = find_resource(world.store.db(), one.handle.tag);
      if (!row) co_return row.error();
      Json told = {{"tag", one.handle.tag},
                   {"install", parts->install},
                   {"run", parts->run},
                   {"provider", name},
                   {"provider_id", one.handle.id},
                   {"state", one.state ? std::string(to_text(*one.state)) : one.state_raw},
                   {"price", one.price},
                   {"host", one.host},
                   {"known", row->has_value()}};
      if (one.created > 0) told["created"] = one.created;
      list.push_back(std::move(told));
    }
  }
  co_return Json{{"instances", std::move(list)}, {"incomplete", std::move(incomplete)}};
}

Co<Result<Json>> adopt_instance(Instances& instances, std::string provider, std::string tag,
                                std::string name) {
  std::optional<TagParts> parts = parts_of(tag);
  if (!parts) co_return Error(ErrorKind::invalid, choline::quoted(tag) + " is no tag of choline");
  Result<Provider*> of = instances.world().providers.find(provider);
  if (!of) co_return of.error();
  Result<Found> found = co_await (*of)->find(tag);
  if (!found) co_return found.error();
  if (found->instances.empty()) {
    co_return Error(ErrorKind::not_found, provider + " has no instance " + tag + " any more");
  }
  double now = instances.loop().wall();
  Change change = [run = parts->run, name, one = found->instances.front(), now](Txn& txn) {
    return write_rows(txn, run, name, one, now);
  };
  Status written = co_await instances.store().commit(std::move(change));
  if (!written) co_return written.error();
  Result<Instances::Client> agent = co_await instances.client(tag);
  if (!agent) co_return agent.error();
  Result<std::vector<CommandInfo>> commands = co_await (*agent)->list();
  if (!commands) co_return commands.error();
  Json list = Json::array();
  for (const CommandInfo& command : *commands) {
    ProcRow row = proc_of(instances, parts->run, tag, command);
    Change insert = [row](Txn& txn) { return insert_proc(txn, row); };
    Status kept = co_await instances.store().commit(std::move(insert));
    if (!kept) co_return kept.error();
    Json told = {{"key", row.key},
                 {"task", row.task},
                 {"attempt", row.attempt},
                 {"state", state_text(command.status.state)},
                 {"seconds", command.status.seconds},
                 {"log_bytes", command.status.log_size}};
    if (command.status.state == CommandState::finished) told["code"] = command.status.code;
    list.push_back(std::move(told));
  }
  co_return Json{{"run", parts->run}, {"commands", std::move(list)}};
}

}  // namespace choline
