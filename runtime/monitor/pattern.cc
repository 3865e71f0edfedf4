#include "monitor/pattern.h"

#include <cctype>
#include <functional>

namespace choline {
namespace {

constexpr size_t kMostCaptures = 32;

std::bitset<256> bytes_where(int (*is)(int)) {
  std::bitset<256> bytes;
  for (int c = 0; c < 256; ++c) bytes[static_cast<size_t>(c)] = is(c) != 0;
  return bytes;
}

// The set that `%letter` stands for: a class, its complement in upper case, or the byte itself.
std::bitset<256> class_bytes(unsigned char letter) {
  std::bitset<256> bytes;
  switch (std::tolower(letter)) {
    case 'a':
      bytes = bytes_where(std::isalpha);
      break;
    case 'c':
      bytes = bytes_where(std::iscntrl);
      break;
    case 'd':
      bytes = bytes_where(std::isdigit);
      break;
    case 'g':
      bytes = bytes_where(std::isgraph);
      break;
    case 'l':
      bytes = bytes_where(std::islower);
      break;
    case 'p':
      bytes = bytes_where(std::ispunct);
      break;
    case 's':
      bytes = bytes_where(std::isspace);
      break;
    case 'u':
      bytes = bytes_where(std::isupper);
      break;
    case 'w':
      bytes = bytes_where(std::isalnum);
      break;
    case 'x':
      bytes = bytes_where(std::isxdigit);
      break;
    case 'z':
      bytes.set(0);
      break;
    default:
      bytes.set(letter);
      return bytes;
  }
  return std::isupper(letter) ? ~bytes : bytes;
}

}  // namespace

class PatternReader {
 public:
  explicit PatternReader(std::string_view text) : text_(text) {}

  Result<Pattern> read() {
    if (text_.starts_with('^')) {
      pattern_.anchored_ = true;
      ++at_;
    }
    while (at_ < text_.size()) {
      Status item = read_item();
      if (!item) return item.error();
    }
    if (!open_.empty()) return fault("a '(' is not closed");
    return std::move(pattern_);
  }

 private:
  Error fault(std::string what) const {
    return Error(ErrorKind::invalid, "pattern '" + std::string(text_) + "' at byte " +
                                         std::to_string(at_ + 1) + ": " + what);
  }
  bool more(size_t ahead = 0) const { return at_ + ahead < text_.size(); }
  unsigned char byte(size_t ahead = 0) const {
    return static_cast<unsigned char>(text_[at_ + ahead]);
  }

  Status read_item() {
    Pattern::Item item;
    unsigned char c = byte();
    if (c == '(') return open();
    if (c == ')') return close();
    if (c == '$' && !more(1)) {
      item.kind = Pattern::Kind::end;
      pattern_.items_.push_back(item);
      ++at_;
      return done();
    }
    if (c == '%' && more(1)) {
      if (byte(1) == 'b') return balance();
      if (byte(1) == 'f') return frontier();
      if (std::isdigit(byte(1))) return back();
    }
    Result<std::bitset<256>> bytes = single();
    if (!bytes) return bytes.error();
    item.bytes = *bytes;
    item.repeat = repeat();
    pattern_.items_.push_back(item);
    return done();
  }

  Pattern::Repeat repeat() {
    if (!more()) return Pattern::Repeat::once;
    Pattern::Repeat found = Pattern::Repeat::once;
    if (byte() == '*') found = Pattern::Repeat::any;
    if (byte() == '+') found = Pattern::Repeat::some;
    if (byte() == '-') found = Pattern::Repeat::least;
    if (byte() == '?') found = Pattern::Repeat::maybe;
    if (found != Pattern::Repeat::once) ++at_;
    return found;
  }

  Status open() {
    Pattern::Item item;
    item.capture = pattern_.captures_++;
    if (item.capture >= kMostCaptures) return fault("more than 32 captures");
    ++at_;
    if (more() && byte() == ')') {
      item.kind = Pattern::Kind::open_position;
      closed_.push_back(true);
      ++at_;
    } else {
      item.kind = Pattern::Kind::open;
      open_.push_back(item.capture);
      closed_.push_back(false);
    }
    pattern_.items_.push_back(item);
    return done();
  }

  Status close() {
    if (open_.empty()) return fault("a ')' without '('");
    Pattern::Item item;
    item.kind = Pattern::Kind::close;
    item.capture = open_.back();
    closed_[item.capture] = true;
    open_.pop_back();
    pattern_.items_.push_back(item);
    ++at_;
    return done();
  }

  Status balance() {
    if (!more(3)) return fault("%b needs two characters");
    Pattern::Item item;
    item.kind = Pattern::Kind::balance;
    item.first = byte(2);
    item.last = byte(3);
    pattern_.items_.push_back(item);
    at_ += 4;
    return done();
  }

  Status frontier() {
    at_ += 2;
    if (!more() || byte() != '[') return fault("%f needs a set in brackets");
    Result<std::bitset<256>> bytes = set();
    if (!bytes) return bytes.error();
    Pattern::Item item;
    item.kind = Pattern::Kind::frontier;
    item.bytes = *bytes;
    pattern_.items_.push_back(item);
    return done();
  }

  Status back() {
    size_t number = static_cast<size_t>(byte(1) - '0');
    if (number == 0 || number > closed_.size() || !closed_[number - 1]) {
      return fault("there is no finished capture %" + std::to_string(number));
    }
    Pattern::Item item;
    item.kind = Pattern::Kind::back;
    item.capture = number - 1;
    pattern_.items_.push_back(item);
    at_ += 2;
    return done();
  }

  Result<std::bitset<256>> single() {
    unsigned char c = byte();
    if (c == '[') return set();
    std::bitset<256> bytes;
    if (c == '%') {
      if (!more(1)) return fault("ends with '%'");
      bytes = class_bytes(byte(1));
      at_ += 2;
      return bytes;
    }
    ++at_;
    if (c == '.') return bytes.set();
    bytes.set(c);
    return bytes;
  }

  // At '['. The first character after '[' or '[^' belongs to the set even when it is ']'.
  Result<std::bitset<256>> set() {
    std::bitset<256> bytes;
    ++at_;
    bool complement = more() && byte() == '^';
    if (complement) ++at_;
    for (bool first = true;; first = false) {
      if (!more()) return fault("a '[' is not closed");
      unsigned char c = byte();
      if (c == ']' && !first) break;
      if (c == '%') {
        if (!more(1)) return fault("ends with '%'");
        bytes |= class_bytes(byte(1));
        at_ += 2;
      } else if (more(2) && byte(1) == '-' && byte(2) != ']') {
        for (unsigned in = c; in <= byte(2); ++in) bytes.set(in);
        at_ += 3;
      } else {
        bytes.set(c);
        ++at_;
      }
    }
    ++at_;
    return complement ? ~bytes : bytes;
  }

  std::string_view text_;
  size_t at_ = 0;
  Pattern pattern_;
  std::vector<size_t> open_;
  std::vector<bool> closed_;
};

// Recursion goes one level for each item of the pattern, never for bytes of the subject.
class PatternMatcher {
 public:
  PatternMatcher(const Pattern& pattern, std::string_view subject, size_t limit)
      : pattern_(pattern), subject_(subject), left_(limit), spans_(pattern.captures_) {}

  std::optional<PatternMatch> find() {
    for (size_t begin = 0; begin <= subject_.size() && left_ > 0; ++begin) {
      if (std::optional<size_t> end = match(begin, 0)) return result(begin, *end);
      if (pattern_.anchored_) break;
    }
    return std::nullopt;
  }
  bool exhausted() const { return left_ == 0; }

 private:
  struct Span {
    size_t begin = 0, end = 0;
    bool position = false;
  };

  bool fits(const Pattern::Item& item, size_t at) const {
    return at < subject_.size() && item.bytes[static_cast<unsigned char>(subject_[at])];
  }
  bool spend() {
    if (left_ > 0) --left_;
    return left_ > 0;
  }

  // The end of a match of the items from `index` on, at `at`.
  std::optional<size_t> match(size_t at, size_t index) {
    for (; index < pattern_.items_.size(); ++index) {
      if (!spend()) return std::nullopt;
      const Pattern::Item& item = pattern_.items_[index];
      if (item.kind == Pattern::Kind::set && item.repeat != Pattern::Repeat::once) {
        return repeated(item, at, index + 1);
      }
      if (item.kind == Pattern::Kind::open) return opened(item, at, index + 1);
      if (item.kind == Pattern::Kind::close) return closed(item, at, index + 1);
      std::optional<size_t> next = step(item, at);
      if (!next) return std::nullopt;
      at = *next;
    }
    return at;
  }

  std::optional<size_t> step(const Pattern::Item& item, size_t at) {
    switch (item.kind) {
      case Pattern::Kind::set:
        if (fits(item, at)) return at + 1;
        return std::nullopt;
      case Pattern::Kind::end:
        if (at == subject_.size()) return at;
        return std::nullopt;
      case Pattern::Kind::open_position:
        spans_[item.capture] = Span{at, at, true};
        return at;
      case Pattern::Kind::frontier: {
        auto before = at == 0 ? 0 : static_cast<unsigned char>(subject_[at - 1]);
        auto here = at == subject_.size() ? 0 : static_cast<unsigned char>(subject_[at]);
        if (!item.bytes[static_cast<size_t>(before)] && item.bytes[static_cast<size_t>(here)])
          return at;
        return std::nullopt;
      }
      case Pattern::Kind::balance:
        return balanced(item, at);
      case Pattern::Kind::back: {
        const Span& span = spans_[item.capture];
        std::string_view text = subject_.substr(span.begin, span.end - span.begin);
        if (subject_.substr(at).starts_with(text)) return at + text.size();
        return std::nullopt;
      }
      default:
        return std::nullopt;
    }
  }

  std::optional<size_t> balanced(const Pattern::Item& item, size_t at) {
    if (at >= subject_.size() || static_cast<unsigned char>(subject_[at]) != item.first)
      return std::nullopt;
    size_t depth = 1;
    for (size_t in = at + 1; in < subject_.size() && spend(); ++in) {
      auto c = static_cast<unsigned char>(subject_[in]);
      if (c == item.last) {
        if (--depth == 0) return in + 1;
      } else if (c == item.first) {
        ++depth;
      }
    }
    return std::nullopt;
  }

  std::optional<size_t> repeated(const Pattern::Item& item, size_t at, size_t rest) {
    if (item.repeat == Pattern::Repeat::least) {
      for (;; ++at) {
        if (std::optional<size_t> end = match(at, rest)) return end;
        if (!fits(item, at) || !spend()) return std::nullopt;
      }
    }
    size_t most = item.repeat == Pattern::Repeat::maybe ? 1 : subject_.size();
    size_t least = item.repeat == Pattern::Repeat::some ? 1 : 0;
    size_t count = 0;
    while (count < most && fits(item, at + count) && spend()) ++count;
    for (; count >= least; --count) {
      if (std::optional<size_t> end = match(at + count, rest)) return end;
      if (count == 0 || left_ == 0) break;
    }
    return std::nullopt;
  }

  std::optional<size_t> opened(const Pattern::Item& item, size_t at, size_t rest) {
    Span before = spans_[item.capture];
    spans_[item.capture] = Span{at, at, false};
    std::optional<size_t> end = match(at, rest);
    if (!end) spans_[item.capture] = before;
    return end;
  }

  std::optional<size_t> closed(const Pattern::Item& item, size_t at, size_t rest) {
    size_t before = spans_[item.capture].end;
    spans_[item.capture].end = at;
    std::optional<size_t> end = match(at, rest);
    if (!end) spans_[item.capture].end = before;
    return end;
  }

  PatternMatch result(size_t begin, size_t end) const {
    PatternMatch found;
    found.begin = begin;
    found.end = end;
    for (const Span& span : spans_) {
      found.captures.push_back(
          span.position ? std::to_string(span.begin + 1)
                        : std::string(subject_.substr(span.begin, span.end - span.begin)));
    }
    return found;
  }

  const Pattern& pattern_;
  std::string_view subject_;
  size_t left_;
  std::vector<Span> spans_;
};

Result<Pattern> Pattern::compile(std::string_view text) {
  return PatternReader(text).read();
}

std::optional<PatternMatch> Pattern::find(std::string_view subject, bool* exhausted,
                                          size_t limit) const {
  PatternMatcher matcher(*this, subject, limit);
  std::optional<PatternMatch> found = matcher.find();
  if (exhausted) *exhausted = !found && matcher.exhausted();
  return found;
}

}  // namespace choline
