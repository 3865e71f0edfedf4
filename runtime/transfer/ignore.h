// The rules of gitignore(5), from .gitignore and .cholineignore files and from options.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace choline {

// One file of rules. `folder` is where it lies, relative to the root of the tree ("" at the root).
// `above` is set for a file in a folder over the root: the root's path below that folder, with a
// '/' at its end.
struct IgnoreFile {
  std::string folder;
  std::string text;
  std::string above;
};

class IgnoreRules {
 public:
  // Later rules win over earlier ones, so that files go in from the top down.
  void add(const IgnoreFile& file);
  void add_patterns(const std::vector<std::string>& patterns);

  // Of the thing itself; whoever walks a tree does not enter an ignored folder.
  bool ignores(std::string_view path, bool is_folder) const;
  // Of the thing or any folder above it.
  bool covers(std::string_view path, bool is_folder) const;

 private:
  struct Rule {
    std::string folder;
    std::string above;
    std::vector<std::string> segments;  // "**" stands for any number of folders
    bool negated = false;
    bool folders_only = false;
  };
  void add_line(std::string_view line, const std::string& folder, const std::string& above);
  static bool matches(const Rule& rule, std::string_view path);
  std::vector<Rule> rules_;
};

// One path segment against a pattern with *, ?, [a-z], [!a-z] and backslashes.
bool matches_segment(std::string_view pattern, std::string_view name);

}  // namespace choline
