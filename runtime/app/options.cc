#include "app/options.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "embed/embed.h"

namespace choline {

namespace fs = std::filesystem;

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// XDG says that a relative path in these variables is to be ignored.
std::string xdg_folder(const char* variable, const std::string& home, std::string_view below) {
  std::string base = environment(variable);
  if (base.empty() || base[0] != '/') base = home + "/" + std::string(below);
  return base + "/choline";
}

std::string executable_path() {
  std::error_code problem;
  fs::path path = fs::read_symlink("/proc/self/exe", problem);
  return problem ? std::string() : path.string();
}

std::string find_agent(const fs::path& folder) {
  std::string given = environment("CHOLINE_AGENT");
  if (!given.empty()) return given;
  const fs::path candidates[] = {folder / "choline-agent",
                                 folder.parent_path() / "libexec/choline/choline-agent",
                                 folder / "runtime/agent/choline-agent"};
  for (const fs::path& candidate : candidates) {
    if (access(candidate.c_str(), X_OK) == 0) return candidate.lexically_normal().string();
  }
  return candidates[0].string();
}

}  // namespace

Folders find_folders() {
  std::string home = environment("HOME");
  if (home.empty()) home = "/";
  Folders folders;
  folders.config = xdg_folder("XDG_CONFIG_HOME", home, ".config");
  folders.state = xdg_folder("XDG_STATE_HOME", home, ".local/state");
  folders.cache = xdg_folder("XDG_CACHE_HOME", home, ".cache");
  folders.executable = executable_path();
  fs::path folder = fs::path(folders.executable).parent_path();
  folders.agent = find_agent(folder);
  folders.share = (folder.parent_path() / "share/choline").string();
  return folders;
}

std::optional<std::string> stdlib_source(std::string_view path) {
  std::string folder = environment("CHOLINE_STDLIB");
  if (folder.empty()) {
    std::optional<std::string_view> text = embedded(path);
    if (!text) return std::nullopt;
    return std::string(*text);
  }
  std::ifstream file(fs::path(folder) / path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::string> stdlib_modules() {
  std::vector<std::string> paths;
  std::string folder = environment("CHOLINE_STDLIB");
  if (folder.empty()) {
    for (std::string_view path : embedded_paths()) paths.emplace_back(path);
  } else {
    std::error_code problem;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, problem)) {
      paths.push_back(entry.path().lexically_relative(folder).string());
    }
  }
  std::vector<std::string> modules;
  for (std::string& path : paths) {
    if (!path.ends_with(".lua") || path.starts_with("meta/") || path == "main.lua") continue;
    path.resize(path.size() - 4);
    std::replace(path.begin(), path.end(), '/', '.');
    modules.push_back(std::move(path));
  }
  std::sort(modules.begin(), modules.end());
  return modules;
}

}  // namespace choline
