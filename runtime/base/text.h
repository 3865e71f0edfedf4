// Small helpers over text and bytes that the standard library lacks.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace choline {

// The pieces between separators; "a,,b" gives three, "" gives one that is empty.
std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);

// Each `from` in `text` becomes `to`, which is not looked at again.
void replace_all(std::string& text, std::string_view from, std::string_view to);

// `text` without blanks, tabs and line ends at both sides.
std::string_view trim(std::string_view text);
// ASCII only.
std::string to_lower(std::string_view text);
bool is_utf8(std::string_view text);

// The least number of inserted, removed, changed or swapped neighbouring letters between two words.
size_t edit_distance(std::string_view a, std::string_view b);
// The candidate most like `word`, when one is near enough to be a misspelling of it.
std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);

std::string to_hex(std::string_view bytes);
std::optional<std::string> from_hex(std::string_view hex);
// Standard alphabet with padding; decoding refuses anything else, blanks included.
std::string to_base64(std::string_view bytes);
std::optional<std::string> from_base64(std::string_view text);

// For a part of a URL: all but letters, digits, "-._~" and what is in `keep` as %XX.
std::string percent_encode(std::string_view text, std::string_view keep = "");

// `word` as one word of a POSIX shell; left bare when it needs no quotes.
std::string shell_quote(std::string_view word);
// For messages: in single quotes, control and non-UTF-8 bytes as \xNN. Call it choline::quoted with
// a std::string, for which the name alone also finds std::quoted.
std::string quoted(std::string_view text);

}  // namespace choline
