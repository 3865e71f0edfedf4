// What native.instance has from files of their own.
#pragma once

#include "native/module.h"
#include "native/services.h"

namespace choline {

Co<Result<Json>> instance_attach(Services& services, Json args);

}  // namespace choline
