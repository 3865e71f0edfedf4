// Lua 5.4 patterns over lines of output, with a bound on the work: a pattern that would backtrack
// for ever gives up instead. The syntax is that of the Lua manual, §6.4.1.
#pragma once

#include <bitset>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace choline {

struct PatternMatch {
  size_t begin = 0;                   // from 0
  size_t end = 0;                     // one past the last byte
  std::vector<std::string> captures;  // a position capture is its number, from 1, as text
};

class Pattern {
 public:
  // An `invalid` error says what is wrong and where.
  static Result<Pattern> compile(std::string_view text);

  // The first match; nullopt also when `limit` single steps were not enough, which sets *exhausted.
  std::optional<PatternMatch> find(std::string_view subject, bool* exhausted = nullptr,
                                   size_t limit = 200'000) const;

 private:
  friend class PatternReader;
  friend class PatternMatcher;
  enum class Kind { set, open, open_position, close, balance, frontier, back, end };
  enum class Repeat { once, any, some, least, maybe };  // nothing * + - ?
  struct Item {
    Kind kind = Kind::set;
    Repeat repeat = Repeat::once;
    std::bitset<256> bytes;             // set, frontier
    size_t capture = 0;                 // open, close, back
    unsigned char first = 0, last = 0;  // balance
  };
  std::vector<Item> items_;
  size_t captures_ = 0;
  bool anchored_ = false;
};

}  // namespace choline
