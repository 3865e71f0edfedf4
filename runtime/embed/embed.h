// The Lua of the stdlib, byte for byte, inside the program.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace choline {

// Text of a file by its path below stdlib/: "core/text.lua".
std::optional<std::string_view> embedded(std::string_view path);
// All paths, sorted.
std::vector<std::string_view> embedded_paths();

}  // namespace choline
