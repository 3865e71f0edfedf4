// Lua's patterns, against what lua5.4's string.find answered for the same subjects.
#include <doctest/doctest.h>

#include "monitor/pattern.h"

namespace choline {
namespace {

// A literal with its zero bytes, without the one at its end.
#define BYTES(literal) std::string(literal, sizeof(literal) - 1)

struct Case {
  std::string subject, pattern;
  size_t begin, end;  // from 1, inclusive; begin 0: no match
  std::vector<std::string> captures;
};

const Case kCases[] = {
    {BYTES("hello world"), BYTES("o w"), 5, 7, {}},
    {BYTES("hello"), BYTES("l+"), 3, 4, {}},
    {BYTES("hello"), BYTES("l-"), 1, 0, {}},
    {BYTES("hello"), BYTES("l*"), 1, 0, {}},
    {BYTES("key = value"), BYTES("(%w+)%s*=%s*(%w+)"), 1, 11, {"key", "value"}},
    {BYTES("val_acc=0.93, loss=nan"), BYTES("val_acc=(%S+)"), 1, 13, {"0.93,"}},
    {BYTES("loss: 1.5e-3"), BYTES("loss:%s*([%d%.eE+-]+)"), 1, 12, {"1.5e-3"}},
    {BYTES("abc"), BYTES("^b"), 0, 0, {}},
    {BYTES("abc"), BYTES("^a"), 1, 1, {}},
    {BYTES("abc"), BYTES("c$"), 3, 3, {}},
    {BYTES("abc"), BYTES("b$"), 0, 0, {}},
    {BYTES("a$c"), BYTES("a$c"), 1, 3, {}},
    {BYTES("THE (quick) fox"), BYTES("%((%a+)%)"), 5, 11, {"quick"}},
    {BYTES("f(a(b)c)d)"), BYTES("%b()"), 2, 8, {}},
    {BYTES("THE (quick) fox"), BYTES("%f[%a]%a+"), 1, 3, {}},
    {BYTES("THE (quick) fox"), BYTES("%f[%l]%a+%f[%A]"), 6, 10, {}},
    {BYTES("hello hello"), BYTES("(%w+) %1"), 1, 11, {"hello"}},
    {BYTES("hello"), BYTES("()ll()"), 3, 4, {"3", "5"}},
    {BYTES(""), BYTES("^$"), 1, 0, {}},
    {BYTES(""), BYTES("x*"), 1, 0, {}},
    {BYTES("aaa"), BYTES("a-b"), 0, 0, {}},
    {BYTES("aaab"), BYTES("a-b"), 1, 4, {}},
    {BYTES("aaa"), BYTES("^a-$"), 1, 3, {}},
    {BYTES("[x]"), BYTES("[]]"), 3, 3, {}},
    {BYTES("[x]"), BYTES("[^]]"), 1, 1, {}},
    {BYTES("a-z"), BYTES("[a-]+"), 1, 2, {}},
    {BYTES("m-"), BYTES("[%a-]+"), 1, 2, {}},
    {BYTES("0x1F"), BYTES("0[xX](%x+)"), 1, 4, {"1F"}},
    {BYTES("tab\011x"), BYTES("%s"), 4, 4, {}},
    {BYTES("tab\011x"), BYTES("%S+$"), 5, 5, {}},
    {BYTES("caf\303\251"), BYTES("[\200-\377]+"), 4, 5, {}},
    {BYTES("a.b"), BYTES("a%.b"), 1, 3, {}},
    {BYTES("axb"), BYTES("a%.b"), 0, 0, {}},
    {BYTES("abc123"), BYTES("%a+(%d\?)"), 1, 4, {"1"}},
    {BYTES("abc"), BYTES("(%d\?)"), 1, 0, {""}},
    {BYTES("abc"), BYTES("((a)(b))"), 1, 2, {"ab", "a", "b"}},
    {BYTES("x*"), BYTES("x%*"), 1, 2, {}},
    {BYTES("*a"), BYTES("*a"), 1, 2, {}},
    {BYTES("(*a"), BYTES("%(*a"), 3, 3, {}},
    {BYTES("a*"), BYTES("(*)"), 2, 2, {"*"}},
    {BYTES("a+b"), BYTES("(+)"), 2, 2, {"+"}},
    {BYTES("50%"), BYTES("(%d+)%%"), 1, 3, {"50"}},
    {BYTES("a\000b"), BYTES("a%zb"), 1, 3, {}},
    {BYTES("a\000b"), BYTES("a.b"), 1, 3, {}},
    {BYTES("aXbXc"), BYTES(".-X"), 1, 2, {}},
    {BYTES("aXbXc"), BYTES(".*X"), 1, 4, {}},
    {BYTES("aXbXc"), BYTES("(.-)X(.*)"), 1, 5, {"a", "bXc"}},
    {BYTES("foo.bar"), BYTES("^(.-)%.(%w+)$"), 1, 7, {"foo", "bar"}},
    {BYTES("THIS"), BYTES("%u+"), 1, 4, {}},
    {BYTES("THIS"), BYTES("%U*"), 1, 0, {}},
    {BYTES("a,b"), BYTES("[^,]*"), 1, 1, {}},
    {BYTES(",b"), BYTES("[^,]*"), 1, 0, {}},
    {BYTES("x"), BYTES("x\?x\?x"), 1, 1, {}},
    {BYTES("xx"), BYTES("x\?x\?x"), 1, 2, {}},
    {BYTES("epoch 3/10 loss 0.5"), BYTES("epoch (%d+)/(%d+)"), 1, 10, {"3", "10"}},
    {BYTES("a]b"), BYTES("[%]]"), 2, 2, {}},
    {BYTES("^a"), BYTES("[%^]"), 1, 1, {}},
    {BYTES("a^"), BYTES("[a^]+"), 1, 2, {}},
    {BYTES("\\"), BYTES("[\\]"), 1, 1, {}},
    {BYTES("ab"), BYTES("(a)(b)%2"), 0, 0, {}},
    {BYTES("abb"), BYTES("(a)(b)%2"), 1, 3, {"a", "b"}},
    {BYTES("(("), BYTES("%b(("), 1, 2, {}},
    {BYTES("x)y("), BYTES("%b()"), 0, 0, {}},
    {BYTES(""), BYTES("()"), 1, 0, {"1"}},
    {BYTES("aa"), BYTES("%f[^%z]a"), 1, 1, {}},
    {BYTES("word"), BYTES("%f[%W]"), 5, 4, {}},
    {BYTES("a b"), BYTES("%f[%s]"), 2, 1, {}},
    {BYTES("--"), BYTES("%-%-"), 1, 2, {}},
    {BYTES("--"), BYTES("--"), 1, 0, {}},
    {BYTES("a-"), BYTES("a--"), 1, 2, {}},
    {BYTES("A1"), BYTES("%w%d"), 1, 2, {}},
    {BYTES("!"), BYTES("%p"), 1, 1, {}},
    {BYTES("!"), BYTES("%P"), 0, 0, {}},
    {BYTES("\177"), BYTES("%c"), 1, 1, {}},
    {BYTES("g"), BYTES("%g"), 1, 1, {}},
    {BYTES(" "), BYTES("%g"), 0, 0, {}},
    {BYTES("z"), BYTES("[a-y]"), 0, 0, {}},
    {BYTES("-"), BYTES("[+--]"), 1, 1, {}},
    {BYTES("a"), BYTES("[z-a]"), 0, 0, {}},
    {BYTES("]]"), BYTES("[]]+"), 1, 2, {}},
    {BYTES("%"), BYTES("[%%]"), 1, 1, {}},
    {BYTES("x"), BYTES("%x"), 0, 0, {}},
    {BYTES("-5"), BYTES("(-\?%d+)"), 1, 2, {"-5"}},
    {BYTES("abcabc"), BYTES("(abc)%1"), 1, 6, {"abc"}},
    {BYTES("aab"), BYTES("(a-)%1b"), 1, 3, {"a"}},
    {BYTES("aaaab"), BYTES("^(a*)%1b"), 1, 5, {"aa"}},
};

TEST_CASE("a pattern finds what Lua finds") {
  for (const Case& one : kCases) {
    CAPTURE(one.subject);
    CAPTURE(one.pattern);
    Result<Pattern> pattern = Pattern::compile(one.pattern);
    REQUIRE(pattern.ok());
    std::optional<PatternMatch> found = pattern->find(one.subject);
    REQUIRE(found.has_value() == (one.begin != 0));
    if (!found) continue;
    CHECK(found->begin + 1 == one.begin);
    CHECK(found->end == one.end);
    CHECK(found->captures == one.captures);
  }
}

TEST_CASE("a malformed pattern is refused when it is read") {
  const char* wrong[] = {"(",  ")",   "(a", "a)",  "[a", "[^",   "[]",    "%",  "a%",
                         "%b", "%bx", "%f", "%fa", "%1", "(%1)", "(a)%2", "[%", "(()"};
  for (const char* text : wrong) {
    CAPTURE(text);
    Result<Pattern> pattern = Pattern::compile(text);
    REQUIRE_FALSE(pattern.ok());
    CHECK(pattern.error().kind == ErrorKind::invalid);
  }
  CHECK(Pattern::compile("loss=(%S+").error().message ==
        "pattern 'loss=(%S+' at byte 10: a '(' is not closed");
}

TEST_CASE("a pattern that would backtrack for ever gives up and says so") {
  Result<Pattern> pattern = Pattern::compile(".-.-.-.-b");
  REQUIRE(pattern.ok());
  bool exhausted = false;
  CHECK_FALSE(pattern->find(std::string(60'000, 'a'), &exhausted).has_value());
  CHECK(exhausted);
  CHECK_FALSE(pattern->find("aaa", &exhausted).has_value());
  CHECK_FALSE(exhausted);
}

TEST_CASE("a long run of repeats needs no deep stack") {
  Result<Pattern> pattern = Pattern::compile("^a*$");
  REQUIRE(pattern.ok());
  CHECK(pattern->find(std::string(60'000, 'a')).has_value());
}

}  // namespace
}  // namespace choline
