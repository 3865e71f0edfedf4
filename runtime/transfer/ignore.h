// The rules of gitignore(5), from .gitignore and .cholineignore files and from options.
#pragma once

#include <cstdint>
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

  // A walk that leaves a folder takes its rules back.
  size_t mark() const { return scopes_.size(); }
  void rewind(size_t mark) { scopes_.resize(mark); }

  // Of the thing itself; whoever walks a tree does not enter an ignored folder.
  bool ignores(std::string_view path, bool is_folder) const;
  // Of the thing or any folder above it.
  bool covers(std::string_view path, bool is_folder) const;

 private:
  // How the last segment is matched; nearly all rules are one of the first three.
  enum class Shape : uint8_t { word, ending, beginning, pattern };
  struct Rule {
    std::vector<std::string> segments;  // "**" stands for any number of folders
    std::string text;                   // of the first three shapes, without the star
    Shape shape = Shape::pattern;
    bool any_folder = false;  // no slash in it: the last name alone decides
    bool negated = false;
    bool folders_only = false;
  };
  struct Scope {
    std::string folder;
    std::string above;
    std::vector<Rule> rules;
  };
  static void add_line(std::string_view line, Scope& scope);
  static bool matches(const Rule& rule, std::string_view path, std::string_view name);
  std::vector<Scope> scopes_;
};

// One path segment against a pattern with *, ?, [a-z], [!a-z], [[:alpha:]] and backslashes.
bool matches_segment(std::string_view pattern, std::string_view name);

}  // namespace choline
