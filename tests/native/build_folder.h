// Where the build is that a test belongs to; asked of the running test rather than compiled in, so
// that the objects of two builds are the same.
#pragma once

#include <filesystem>
#include <string>

namespace choline {

// Tests are at tests/test_<floor> below it.
inline std::string build_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}

inline std::string agent_program() {
  return build_folder() + "/choline-agent";
}

}  // namespace choline
