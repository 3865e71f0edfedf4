// After the state folder was lost: what the providers still have with a tag of ours, taken into the
// store again. See docs/design/recover.md.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "durable/instances.h"
#include "loop/co.h"

namespace choline {

// {instances = {tag, install, run, provider, provider_id, state, price, host, created, known},
// incomplete = providers that could not be asked}. Touches nothing.
Co<Result<Json>> find_tagged(RentWorld world);

// Writes a row for the instance `tag` of `provider`, and for its run when there is none, and asks
// its agent for the commands there: {run, commands = {key, task, attempt, state, code}}. A second
// time it changes nothing.
Co<Result<Json>> adopt_instance(Instances& instances, std::string provider, std::string tag,
                                std::string name);

}  // namespace choline
