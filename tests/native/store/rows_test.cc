// Runs, instances, commands, metrics, events and steps as rows.
#include <cmath>

#include "base/digest.h"
#include "store/events.h"
#include "store/metrics.h"
#include "store/resources.h"
#include "store/steps.h"
#include "support.h"

namespace choline {

namespace {

ResourceRow a_resource(const std::string& tag, const std::string& step = "main/create#0") {
  ResourceRow row;
  row.tag = tag;
  row.run = "r1";
  row.step = step;
  row.name = "gpu";
  row.provider = "local";
  row.spec = {{"gpu", "any"}};
  row.intended_at = 100;
  return row;
}

Status change_store(Store& store, const std::function<Status(Txn&)>& change) {
  return store.write(change);
}

LiveFacts live_at(double at, double price) {
  return {"p-1", price, "10.0.0.1", {{"id", "p-1"}}, at};
}

std::string id_of(Store& store, const std::string& reference) {
  Result<RunRow> row = find_run(store.db(), reference, 0);
  if (row) return row->id;
  return std::string(to_text(row.error().kind)) + ": " + row.error().message;
}

}  // namespace

TEST_CASE("a run keeps what it was started with") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  RunRow row = a_run("abc12345");
  row.params = {{"epochs", 3}, {"rate", 0.5}};
  row.env = {{"host", "here"}};
  row.budget = 40.0;
  row.parent = "zzz/main/fire#1";
  std::vector<SourceRow> sources = {{"Cholfile.lua", std::string("a\0b", 3), ""},
                                    {"a.lua", "return 1", ""}};
  REQUIRE_OK(change_store(*store, [&](Txn& txn) { return insert_run(txn, row, sources); }));
  Result<std::optional<RunRow>> back = get_run(store->db(), row.id, 0);
  REQUIRE_OK(back);
  CHECK((*back)->params == row.params);
  CHECK((*back)->env == row.env);
  CHECK((*back)->budget == 40.0);
  CHECK((*back)->parent == row.parent);
  CHECK((*back)->seed == 7);
  CHECK((*back)->state == "running");
  Result<std::vector<SourceRow>> kept = list_sources(store->db(), row.id);
  REQUIRE_OK(kept);
  REQUIRE(kept->size() == 2);
  CHECK((*kept)[0].path == "Cholfile.lua");
  CHECK((*kept)[0].text == std::string("a\0b", 3));
  CHECK((*kept)[1].sha256 == sha256_hex("return 1"));
}

TEST_CASE("a run is found by id, by the start of it, by name, or as the newest") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  CHECK(id_of(*store, "") == "not_found: there is no run yet; 'choline run' starts one");
  RunRow first = a_run("abc11111", 10), second = a_run("abc22222", 20),
         third = a_run("xyz33333", 30);
  first.name = "train";
  second.name = "train";
  third.name = "ab%";
  for (const RunRow& row : {first, second, third}) add_run(*store, row);
  CHECK(id_of(*store, "") == "xyz33333");
  CHECK(id_of(*store, "abc11111") == "abc11111");
  CHECK(id_of(*store, "abc1") == "abc11111");
  CHECK(id_of(*store, "train") == "abc22222");
  CHECK(id_of(*store, "ab%") == "xyz33333");
  CHECK(id_of(*store, "xyz") == "xyz33333");
  CHECK(id_of(*store, "abc") ==
        "conflict: 'abc' is the start of more than one run: abc22222, abc11111; give more letters");
  CHECK(id_of(*store, "%") == "not_found: there is no run '%'; 'choline ls' shows all runs");
  CHECK(id_of(*store, "tarin") == "not_found: there is no run 'tarin'; did you mean 'train'?");
}

TEST_CASE("the state of a run is one of seven words, and an end has a time") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  add_run(*store, a_run("r1"));
  auto set = [&](const std::string& state, const Json& failure) {
    return change_store(*store,
                        [&](Txn& txn) { return set_run_state(txn, "r1", state, failure, 50); });
  };
  REQUIRE_OK(set("failed", {{"kind", "crashed"}}));
  Result<std::optional<RunRow>> row = get_run(store->db(), "r1", 0);
  REQUIRE_OK(row);
  CHECK((*row)->state == "failed");
  CHECK((*row)->failure == Json{{"kind", "crashed"}});
  CHECK((*row)->finished == 50.0);
  REQUIRE_OK(set("running", nullptr));
  row = get_run(store->db(), "r1", 0);
  REQUIRE_OK(row);
  CHECK_FALSE((*row)->finished.has_value());
  CHECK((*row)->failure.is_null());
  CHECK_FALSE(set("finished", nullptr).ok());
}

TEST_CASE("an instance goes through its states and only forward") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  add_run(*store, a_run("r1"));
  REQUIRE_OK(change_store(*store, [](Txn& txn) { return insert_intended(txn, a_resource("t1")); }));
  REQUIRE_OK(change_store(*store, [](Txn& txn) { return set_live(txn, "t1", live_at(200, 3.6)); }));
  // The same again, as after a crash, keeps the first time.
  REQUIRE_OK(change_store(*store, [](Txn& txn) { return set_live(txn, "t1", live_at(250, 3.6)); }));
  Result<std::optional<ResourceRow>> row = find_resource(store->db(), "t1");
  REQUIRE_OK(row);
  CHECK((*row)->live_at == 200.0);
  CHECK((*row)->handle == Json{{"id", "p-1"}});
  CHECK((*row)->cost(1200) == doctest::Approx(1.0));
  Status voided = change_store(*store, [](Txn& txn) { return set_void(txn, "t1", 300); });
  REQUIRE_FALSE(voided.ok());
  CHECK(voided.error().message == "instance 't1' is live and cannot become void");
  REQUIRE_OK(change_store(*store, [](Txn& txn) { return set_lost(txn, "t1", 1200); }));
  REQUIRE_OK(change_store(*store, [](Txn& txn) { return set_releasing(txn, "t1"); }));
  REQUIRE_OK(change_store(*store, [](Txn& txn) { return set_gone(txn, "t1", 2200); }));
  REQUIRE_OK(change_store(*store, [](Txn& txn) { return set_gone(txn, "t1", 9999); }));
  row = find_resource(store->db(), "t1");
  REQUIRE_OK(row);
  CHECK((*row)->state == ResourceState::gone);
  CHECK((*row)->gone_at == 2200.0);
  CHECK((*row)->cost(1e9) == doctest::Approx(2.0));
  CHECK_FALSE(
      change_store(*store, [](Txn& txn) { return set_live(txn, "t1", live_at(1, 1)); }).ok());
  Status unknown = change_store(*store, [](Txn& txn) { return set_releasing(txn, "t9"); });
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().kind == ErrorKind::not_found);
}

TEST_CASE("the database allows one living instance for each step") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  REQUIRE_OK(change_store(*store, [](Txn& txn) { return insert_intended(txn, a_resource("t1")); }));
  Status second =
      change_store(*store, [](Txn& txn) { return insert_intended(txn, a_resource("t2")); });
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().kind == ErrorKind::conflict);
  REQUIRE_OK(change_store(*store, [](Txn& txn) {
    if (Status voided = set_void(txn, "t1", 5); !voided) return voided;
    return insert_intended(txn, a_resource("t2"));
  }));
}

TEST_CASE("a run costs what its instances cost until the given time") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  add_run(*store, a_run("r1"));
  add_run(*store, a_run("r2"));
  REQUIRE_OK(change_store(*store, [](Txn& txn) {
    for (const char* tag : {"t1", "t2", "t3"}) {
      if (Status in = insert_intended(txn, a_resource(tag, tag)); !in) return in;
    }
    if (Status live = set_live(txn, "t1", live_at(1000, 3.6)); !live) return live;
    if (Status live = set_live(txn, "t2", live_at(2000, 7.2)); !live) return live;
    return set_gone(txn, "t1", 3000);
  }));
  auto cost = [&](double now) {
    Result<double> usd = run_cost(store->db(), "r1", now);
    REQUIRE_OK(usd);
    Result<std::vector<RunRow>> rows = list_runs(store->db(), {}, now);
    REQUIRE_OK(rows);
    REQUIRE(rows->size() == 2);
    CHECK((*rows)[0].cost == 0.0);  // r2
    CHECK((*rows)[1].cost == doctest::Approx(*usd));
    return *usd;
  };
  CHECK(cost(500) == 0.0);
  CHECK(cost(1500) == doctest::Approx(0.5));
  CHECK(cost(2500) == doctest::Approx(1.5 + 1.0));
  CHECK(cost(4000) == doctest::Approx(2.0 + 4.0));
}

TEST_CASE("instances are listed by run, name, provider and state") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  REQUIRE_OK(change_store(*store, [](Txn& txn) {
    ResourceRow other = a_resource("t2", "s2");
    other.run = "r2";
    other.name = "cpu";
    if (Status in = insert_intended(txn, other); !in) return in;
    if (Status in = insert_intended(txn, a_resource("t1")); !in) return in;
    return set_live(txn, "t1", live_at(1, 1));
  }));
  auto tags = [&](const ResourceFilter& filter) {
    Result<std::vector<ResourceRow>> rows = list_resources(store->db(), filter);
    REQUIRE_OK(rows);
    std::string out;
    for (const ResourceRow& row : *rows) out += row.tag;
    return out;
  };
  CHECK(tags({}) == "t2t1");
  CHECK(tags({.run = "r1"}) == "t1");
  CHECK(tags({.name = "cpu"}) == "t2");
  CHECK(tags({.provider = "vast"}) == "");
  CHECK(tags({.states = {ResourceState::intended, ResourceState::gone}}) == "t2");
  CHECK(tags({.states = {ResourceState::live, ResourceState::intended}}) == "t2t1");
}

TEST_CASE("a command is inserted once and keeps its log offset through updates") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  ProcRow proc;
  proc.run = "r1";
  proc.key = "train@1";
  proc.tag = "t1";
  proc.task = "train";
  proc.cmd = {{"shell", "python x.py"}};
  proc.log = "/tmp/x.log";
  REQUIRE_OK(change_store(*store, [&](Txn& txn) {
    if (Status in = insert_intended(txn, a_resource("t1")); !in) return in;
    if (Status in = insert_proc(txn, proc); !in) return in;
    if (Status set = set_log_offset(txn, "r1", "train@1", 77); !set) return set;
    return insert_proc(txn, proc);
  }));
  proc.state = "done";
  proc.code = 3;
  proc.ended = 9.5;
  REQUIRE_OK(change_store(*store, [&](Txn& txn) { return update_proc(txn, proc); }));
  Result<std::vector<ProcRow>> rows = list_procs(store->db(), "r1");
  REQUIRE_OK(rows);
  REQUIRE(rows->size() == 1);
  CHECK((*rows)[0].log_offset == 77);
  CHECK((*rows)[0].code == 3);
  CHECK_FALSE((*rows)[0].signal.has_value());
  CHECK((*rows)[0].cmd == proc.cmd);
}

TEST_CASE("a metric's later attempt replaces earlier points from its first step on") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  auto point = [](int attempt, double step, double value) {
    return MetricRow{"r1", "train", attempt, "loss", step, value, 5};
  };
  REQUIRE_OK(change_store(*store, [&](Txn& txn) {
    return put_metrics(txn, {point(1, 1, 0.9),
                             point(1, 2, 0.8),
                             point(1, 3, 0.7),
                             point(2, 2, 0.75),
                             point(2, 3, 0.6),
                             point(2, 3, 0.61),
                             {"r1", "train", 1, "acc", 1, std::nan(""), 5}});
  }));
  Result<std::vector<MetricCurve>> curves = list_metrics(store->db(), "r1", {});
  REQUIRE_OK(curves);
  REQUIRE(curves->size() == 2);
  CHECK((*curves)[0].name == "acc");
  CHECK(std::isnan((*curves)[0].points[0].value));
  std::string seen;
  for (const MetricRow& each : (*curves)[1].points) {
    seen += std::to_string(each.attempt) + ":" + Json(each.step).dump() + "=" +
            Json(each.value).dump() + " ";
  }
  CHECK(seen == "1:1.0=0.9 2:2.0=0.75 2:3.0=0.61 ");
  Result<std::vector<MetricCurve>> none = list_metrics(store->db(), "r1", {"train", "nothing"});
  REQUIRE_OK(none);
  CHECK(none->empty());
}

TEST_CASE("an event with a known key is not recorded again") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  auto append = [&](const std::string& key, const Json& data) {
    EventRow kept;
    REQUIRE_OK(change_store(*store, [&](Txn& txn) -> Status {
      EventRow row;
      row.key = key;
      row.at = 4;
      row.kind = "task_started";
      row.data = data;
      Result<EventRow> done_row = append_event(txn, "r1", row);
      if (!done_row) return done_row.error();
      kept = *done_row;
      return done();
    }));
    return kept;
  };
  CHECK(append("main/x#0", {{"n", 1}}).id == 1);
  CHECK(append("", {{"n", 2}}).id == 2);
  EventRow again = append("main/x#0", {{"n", 3}});
  CHECK(again.id == 1);
  CHECK(again.data == Json{{"n", 1}});
  CHECK(append("", nullptr).id == 3);
  Result<std::vector<EventRow>> page = list_events(store->db(), "r1", 1, 1);
  REQUIRE_OK(page);
  REQUIRE(page->size() == 1);
  CHECK((*page)[0].data == Json{{"n", 2}});
}

TEST_CASE("steps are listed by state and verb, the first or the last of them") {
  TempFolder temp;
  SimLoop loop;
  auto store = open_store(loop, temp.path());
  add_run(*store, a_run("r1"));
  REQUIRE_OK(change_store(*store, [](Txn& txn) {
    for (int number = 0; number < 5; ++number) {
      StepRow row;
      row.key = "main/s" + std::to_string(number);
      row.verb = number % 2 ? "sync" : "exec";
      row.cls = "idempotent";
      row.args = "[1]";
      row.args_hash = "h";
      row.intent_at = 10 + number;
      if (Status in = insert_step(txn, "r1", row); !in) return in;
      if (number == 4) continue;
      row.state = StepState::ok;
      row.result = "2";
      row.seq = number + 1;
      row.done_at = 20;
      if (Status finished = finish_step(txn, "r1", row); !finished) return finished;
    }
    return done();
  }));
  auto keys = [&](const StepFilter& filter) {
    Result<std::vector<StepRow>> rows = list_steps(store->db(), "r1", filter);
    REQUIRE_OK(rows);
    std::string out;
    for (const StepRow& row : *rows) out += row.key.substr(6);
    return out;
  };
  CHECK(keys({}) == "01234");
  CHECK(keys({.most = 2}) == "01");
  CHECK(keys({.most = 2, .newest = true}) == "34");
  CHECK(keys({.verb = "sync"}) == "13");
  CHECK(keys({.state = StepState::intent}) == "4");
  StepRow twice;
  twice.key = "main/s0";
  twice.state = StepState::ok;
  Status again = change_store(*store, [&](Txn& txn) { return finish_step(txn, "r1", twice); });
  CHECK_FALSE(again.ok());
  REQUIRE_OK(change_store(*store, [](Txn& txn) { return abandon_step(txn, "r1", "main/s0", 30); }));
  CHECK(keys({.state = StepState::abandoned}) == "");
}

}  // namespace choline
