#include "store/rewrite.h"

#include "store/database.h"
#include "store/resources.h"
#include "store/store.h"

namespace choline {

namespace {

Status change_step(Txn& txn, const std::string& run, int version, const ChangedStep& step) {
  Status changed = Query(txn.db(),
                         "UPDATE step SET args=?, args_hash=?, code_version=?, "
                         "deadline=coalesce(intent_at+?,deadline) WHERE run=? AND key=?",
                         step.args, step.args_hash, version, step.wait, run, step.key)
                       .run();
  if (!changed || !step.again) return changed;
  return Query(txn.db(), "UPDATE step SET state=0, result=NULL, blob=NULL WHERE run=? AND key=?",
               run, step.key)
      .run();
}

}  // namespace

Status rewrite_steps(Txn& txn, const std::string& run, int version,
                     const std::vector<std::string>& order, const std::vector<ChangedStep>& changed,
                     const std::vector<std::string>& dropped) {
  for (const std::string& key : dropped) {
    Status gone = Query(txn.db(), "DELETE FROM step WHERE run=? AND key=?", run, key).run();
    if (!gone) return gone;
  }
  // Aside first, since no number may be there twice.
  Status aside =
      Query(txn.db(), "UPDATE step SET seq=-seq WHERE run=? AND seq IS NOT NULL", run).run();
  if (!aside) return aside;
  int64_t seq = 0;
  for (const std::string& key : order) {
    Status placed =
        Query(txn.db(), "UPDATE step SET seq=? WHERE run=? AND key=? AND seq<0", ++seq, run, key)
            .run();
    if (!placed) return placed;
    if (txn.db().changes() != 1) {
      return Error(ErrorKind::conflict,
                   "step '" + key + "' is not as it was when it was rehearsed");
    }
  }
  Query left(txn.db(), "SELECT key FROM step WHERE run=? AND seq<0 LIMIT 1", run);
  if (left.next()) {
    return Error(ErrorKind::conflict,
                 "step '" + left.text(0) + "' was recorded after the rehearsal; try again");
  }
  if (Status read = left.status(); !read) return read;
  for (const ChangedStep& step : changed) {
    if (Status done_so = change_step(txn, run, version, step); !done_so) return done_so;
  }
  return done();
}

Status replace_code(Txn& txn, const RunRow& row, const std::vector<SourceRow>& sources) {
  Status kept = insert_sources(txn, row, sources);
  if (!kept) return kept;
  return Query(txn.db(), "UPDATE run SET code_version=?, params=?, env=?, budget_usd=? WHERE id=?",
               row.code_version, to_text(row.params), to_text(row.env), row.budget, row.id)
      .run();
}

Status free_events(Txn& txn, const std::string& run, int version,
                   const std::unordered_set<std::string>& keep) {
  std::vector<int64_t> freed;
  {
    Query query(txn.db(), "SELECT id,key FROM event WHERE run=? AND key<>''", run);
    while (query.next()) {
      if (!keep.contains(query.text(1))) freed.push_back(query.integer(0));
    }
    if (Status read = query.status(); !read) return read;
  }
  for (int64_t id : freed) {
    Status done_so =
        Query(txn.db(), "UPDATE event SET key='v' || ?1 || '/' || key WHERE run=?2 AND id=?3",
              version, run, id)
            .run();
    if (!done_so) return done_so;
  }
  return done();
}

Result<std::vector<std::string>> release_of_step(Txn& txn, const std::string& run,
                                                 const std::string& step) {
  ResourceFilter filter;
  filter.run = run;
  filter.step = step;
  filter.states = {ResourceState::intended, ResourceState::live, ResourceState::releasing};
  Result<std::vector<ResourceRow>> rows = list_resources(txn.db(), filter);
  if (!rows) return rows.error();
  std::vector<std::string> tags;
  for (const ResourceRow& row : *rows) {
    if (Status set = set_releasing(txn, row.tag); !set) return set.error();
    tags.push_back(row.tag);
  }
  return tags;
}

Result<bool> replace_proc(Txn& txn, const std::string& run, const std::string& key) {
  Result<std::optional<ProcRow>> found = find_proc(txn.db(), run, key);
  if (!found) return found.error();
  if (!*found) return false;
  bool runs = (*found)->state == "starting" || (*found)->state == "running";
  if (!runs) return false;
  (*found)->state = "replaced";
  if (Status written = update_proc(txn, **found); !written) return written.error();
  return true;
}

}  // namespace choline
