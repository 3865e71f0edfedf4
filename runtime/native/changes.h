// What native.fs has from a file of its own.
#pragma once

#include "native/module.h"
#include "native/services.h"

namespace choline {

Co<Result<Json>> fs_changed(Services& services, Json args);

}  // namespace choline
