// Rows of the store as the tables that stdlib/meta/native.lua describes.
#pragma once

#include "base/json.h"

namespace choline {

class Store;
struct EventRow;
struct RunRow;

Json run_to_json(const Store& store, const RunRow& row);  // native.RunRow
Json event_to_json(const EventRow& row);

}  // namespace choline
