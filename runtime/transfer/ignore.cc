#include "transfer/ignore.h"

#include "base/text.h"

namespace choline {

namespace {

// The classes of POSIX, in the C locale.
bool in_class(std::string_view name, char letter) {
  auto byte = static_cast<unsigned char>(letter);
  bool upper = byte >= 'A' && byte <= 'Z', lower = byte >= 'a' && byte <= 'z';
  bool digit = byte >= '0' && byte <= '9', graph = byte > ' ' && byte < 127;
  if (name == "alpha") return upper || lower;
  if (name == "digit") return digit;
  if (name == "alnum") return upper || lower || digit;
  if (name == "upper") return upper;
  if (name == "lower") return lower;
  if (name == "space") return byte == ' ' || (byte >= '\t' && byte <= '\r');
  if (name == "blank") return byte == ' ' || byte == '\t';
  if (name == "punct") return graph && !upper && !lower && !digit;
  if (name == "graph") return graph;
  if (name == "print") return graph || byte == ' ';
  if (name == "cntrl") return byte < ' ' || byte == 127;
  if (name == "xdigit")
    return digit || (byte >= 'A' && byte <= 'F') || (byte >= 'a' && byte <= 'f');
  return false;
}

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
    if (pattern[place] == '[' && place + 1 < pattern.size() && pattern[place + 1] == ':') {
      size_t end = pattern.find(":]", place + 2);
      if (end != std::string_view::npos) {
        if (in_class(pattern.substr(place + 2, end - place - 2), letter)) found = true;
        place = end + 1;
        continue;
      }
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
  Scope scope{file.folder, file.above, {}};
  std::string_view text = file.text;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  for (const std::string& line : split(text, '\n')) add_line(line, scope);
  scopes_.push_back(std::move(scope));
}

void IgnoreRules::add_patterns(const std::vector<std::string>& patterns) {
  Scope scope;
  for (const std::string& pattern : patterns) add_line(pattern, scope);
  scopes_.push_back(std::move(scope));
}

void IgnoreRules::add_line(std::string_view line, Scope& scope) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  while (line.ends_with(' ') && !line.ends_with("\\ ")) line.remove_suffix(1);
  if (line.empty() || line.front() == '#') return;
  Rule rule;
  if (line.front() == '!') {
    rule.negated = true;
    line.remove_prefix(1);
  }
  if (line.ends_with('/')) {
    rule.folders_only = true;
    line.remove_suffix(1);
  }
  rule.any_folder = line.find('/') == std::string_view::npos;
  if (line.starts_with('/')) line.remove_prefix(1);
  if (line.empty()) return;
  for (std::string& segment : split(line, '/')) {
    // "a//b" and "**/**" say no more than their short forms.
    if (segment.empty()) continue;
    if (segment == "**" && !rule.segments.empty() && rule.segments.back() == "**") continue;
    rule.segments.push_back(std::move(segment));
  }
  if (rule.segments.empty()) return;
  const std::string& last = rule.segments.back();
  std::string_view plain = last;
  if (last.starts_with('*')) {
    rule.shape = Shape::ending;
    plain.remove_prefix(1);
  } else if (last.ends_with('*')) {
    rule.shape = Shape::beginning;
    plain.remove_suffix(1);
  } else {
    rule.shape = Shape::word;
  }
  rule.text = plain;
  if (plain.find_first_of("*?[\\") != std::string_view::npos) rule.shape = Shape::pattern;
  scope.rules.push_back(std::move(rule));
}

bool IgnoreRules::matches(const Rule& rule, std::string_view path, std::string_view name) {
  const std::vector<std::string>& segments = rule.segments;
  // The last name first: it refuses nearly everything.
  switch (rule.shape) {
    case Shape::word:
      if (name != rule.text) return false;
      break;
    case Shape::ending:
      if (!name.ends_with(rule.text)) return false;
      break;
    case Shape::beginning:
      if (!name.starts_with(rule.text)) return false;
      break;
    case Shape::pattern:
      if (segments.back() != "**" && !matches_segment(segments.back(), name)) return false;
      break;
  }
  if (rule.any_folder) return true;
  std::vector<std::string> names = split(path, '/');
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
  size_t slash = path.find_last_of('/');
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  std::string whole;
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    std::string_view below = path;
    if (!scope->above.empty()) {
      whole = scope->above + std::string(path);
      below = whole;
    } else if (!scope->folder.empty()) {
      size_t length = scope->folder.size();
      if (path.size() <= length || path[length] != '/' || !path.starts_with(scope->folder)) {
        continue;
      }
      below = path.substr(length + 1);
    }
    for (auto rule = scope->rules.rbegin(); rule != scope->rules.rend(); ++rule) {
      if (rule->folders_only && !is_folder) continue;
      if (matches(*rule, below, name)) return !rule->negated;
    }
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
