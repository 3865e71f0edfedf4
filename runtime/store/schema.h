// The tables of the store and how older stores become newer ones.
#pragma once

#include <string>

#include "base/result.h"

namespace choline {

class Database;

// Brings the database to the newest schema, in one transaction. Refuses one that a newer choline
// wrote (`unsupported`) and one that is not ours (`invalid`).
Status migrate(Database& db);
// For a database that can only be read: the same refusals, and one of an older schema.
Status check_schema(Database& db);

}  // namespace choline
