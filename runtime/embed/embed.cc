#include "embed/embed.h"

#include <algorithm>

#include "embed/files.h"

namespace choline {

std::optional<std::string_view> embedded(std::string_view path) {
  const EmbeddedFile* end = kEmbeddedFiles + kEmbeddedCount;
  const EmbeddedFile* found = std::lower_bound(
      kEmbeddedFiles, end, path,
      [](const EmbeddedFile& file, std::string_view wanted) { return file.path < wanted; });
  if (found == end || found->path != path) return std::nullopt;
  return found->text;
}

std::vector<std::string_view> embedded_paths() {
  std::vector<std::string_view> paths;
  for (size_t place = 0; place < kEmbeddedCount; ++place)
    paths.push_back(kEmbeddedFiles[place].path);
  return paths;
}

}  // namespace choline
