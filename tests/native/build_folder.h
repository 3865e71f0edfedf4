// Where the build is that a test belongs to; asked of the running test rather than compiled in, so
// that the objects of two builds are the same.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace choline {

// Tests are at tests/test_<floor> below it.
inline std::string build_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}

// Where it was configured from, as its cache of CMake says.
inline std::string source_folder() {
  constexpr std::string_view kHome = "CMAKE_HOME_DIRECTORY:INTERNAL=";
  std::ifstream cache(build_folder() + "/CMakeCache.txt");
  for (std::string line; std::getline(cache, line);) {
    if (line.starts_with(kHome)) return line.substr(kHome.size());
  }
  return "";
}

inline std::string agent_program() {
  return build_folder() + "/choline-agent";
}

}  // namespace choline
