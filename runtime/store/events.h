// What happened in a run, for people and programs; replay reads it only to say nothing twice.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace choline {

class Database;
class Txn;

struct EventRow {
  int64_t id = 0;   // counts from 1 within the run
  std::string key;  // an event with a key that is there already is not recorded again
  double at = 0;
  std::string kind;
  Json data;
};

// Takes the run's next id; gives the row as it is now in the store.
Result<EventRow> append_event(Txn& txn, const std::string& run, EventRow row);
Result<std::vector<EventRow>> list_events(Database& db, const std::string& run, int64_t after_id,
                                          int64_t most);

// Of all runs, since a moment in wall seconds, newest first.
Result<std::vector<EventRow>> list_events_of_kind(Database& db, const std::string& kind,
                                                  double since);

}  // namespace choline
