// What embed.cmake generates.
#pragma once

#include <cstddef>
#include <string_view>

namespace choline {

struct EmbeddedFile {
  std::string_view path;
  std::string_view text;
};

extern const EmbeddedFile kEmbeddedFiles[];  // sorted by path
extern const size_t kEmbeddedCount;

}  // namespace choline
