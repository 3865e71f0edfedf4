// Where everything of this process is: XDG folders, the program, its agent, the stdlib.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "native/services.h"

namespace choline {

Folders find_folders();

// The stdlib: CHOLINE_STDLIB=DIR loads from there, otherwise what is embedded.
std::optional<std::string> stdlib_source(std::string_view path);
// "core.text" and so on, sorted; without meta.
std::vector<std::string> stdlib_modules();

}  // namespace choline
