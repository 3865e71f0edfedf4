#include "transfer/ignore.h"

#include "base/text.h"

namespace choline {

namespace {

// Reads one element of `pattern` at `at` and says whether it takes `letter`; moves `at` behind it.
bool takes(std::string_view pattern, size_t& at, char letter) {
  char element = pattern[at++];
  if (element == '?') return true;
  if (element == '\\' && at < pattern.size()) return pattern[at++] == letter;
  if (element != '[') return element == letter;
  size_t place = at;
  bool negated = place < pattern.size() && (pattern[place] == '!' || pattern[place] == '^');
  if (negated) ++place;
  bool found = false;
  auto byte = [](char value) { return static_cast<unsigned char>(value); };
  for (size_t first = place; place < pattern.size(); ++place) {
    if (pattern[place] == ']' && place > first) {
      at = place + 1;
      return found != negated;
    }
    if (pattern[place] == '\\' && place + 1 < pattern.size()) ++place;
    char low = pattern[place], high = low;
    if (place + 2 < pattern.size() && pattern[place + 1] == '-' && pattern[place + 2] != ']') {
      place += 2;
      if (pattern[place] == '\\' && place + 1 < pattern.size()) ++place;
      high = pattern[place];
    }
    if (byte(low) <= byte(letter) && byte(letter) <= byte(high)) found = true;
  }
  return letter == '[';  // never closed: an ordinary bracket
}

}  // namespace

bool matches_segment(std::string_view pattern, std::string_view name) {
  // Only the last star ever needs to be tried again, so that no pattern takes exponential time.
  size_t p = 0, n = 0, star = std::string_view::npos, star_name = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;
      star_name = n;
      continue;
    }
    size_t next = p;
    if (p < pattern.size() && takes(pattern, next, name[n])) {
      p = next;
      ++n;
      continue;
    }
    if (star == std::string_view::npos) return false;
    p = star;
    n = ++star_name;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

void IgnoreRules::add(const IgnoreFile& file) {
  for (const std::string& line : split(file.text, '\n')) add_line(line, file.folder, file.above);
}

void IgnoreRules::add_patterns(const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) add_line(pattern, "", "");
}

void IgnoreRules::add_line(std::string_view line, const std::string& folder,
                           const std::string& above) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  while (line.ends_with(' ') && !line.ends_with("\\ ")) line.remove_suffix(1);
  if (line.empty() || line.front() == '#') return;
  Rule rule;
  rule.folder = folder;
  rule.above = above;
  if (line.front() == '!') {
    rule.negated = true;
    line.remove_prefix(1);
  }
  if (line.ends_with('/')) {
    rule.folders_only = true;
    line.remove_suffix(1);
  }
  bool anchored = line.find('/') != std::string_view::npos;
  if (line.starts_with('/')) line.remove_prefix(1);
  if (line.empty()) return;
  if (!anchored) rule.segments.push_back("**");
  for (std::string& segment : split(line, '/')) {
    // "a//b" and "**/**" say no more than their short forms.
    if (segment.empty()) continue;
    if (segment == "**" && !rule.segments.empty() && rule.segments.back() == "**") continue;
    rule.segments.push_back(std::move(segment));
  }
  rules_.push_back(std::move(rule));
}

bool IgnoreRules::matches(const Rule& rule, std::string_view path) {
  std::string full;
  if (!rule.above.empty()) {
    full = rule.above + std::string(path);
    path = full;
  } else if (!rule.folder.empty()) {
    if (path.size() <= rule.folder.size() || !path.starts_with(rule.folder) ||
        path[rule.folder.size()] != '/') {
      return false;
    }
    path.remove_prefix(rule.folder.size() + 1);
  }
  std::vector<std::string> names = split(path, '/');
  const std::vector<std::string>& segments = rule.segments;
  // reach[i]: the segments so far can take the first i names.
  std::vector<char> reach(names.size() + 1, 0);
  reach[0] = 1;
  for (size_t s = 0; s < segments.size(); ++s) {
    std::vector<char> next(names.size() + 1, 0);
    bool last = s + 1 == segments.size();
    for (size_t i = 0; i <= names.size(); ++i) {
      if (!reach[i]) continue;
      if (segments[s] == "**") {
        // At the end it means everything below, and so at least one name.
        for (size_t to = i + (last ? 1 : 0); to <= names.size(); ++to) next[to] = 1;
      } else if (i < names.size() && matches_segment(segments[s], names[i])) {
        next[i + 1] = 1;
      }
    }
    reach = std::move(next);
  }
  return reach[names.size()] != 0;
}

bool IgnoreRules::ignores(std::string_view path, bool is_folder) const {
  for (auto rule = rules_.rbegin(); rule != rules_.rend(); ++rule) {
    if (rule->folders_only && !is_folder) continue;
    if (matches(*rule, path)) return !rule->negated;
  }
  return false;
}

bool IgnoreRules::covers(std::string_view path, bool is_folder) const {
  for (size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    if (ignores(path.substr(0, slash), true)) return true;
  }
  return ignores(path, is_folder);
}

}  // namespace choline
