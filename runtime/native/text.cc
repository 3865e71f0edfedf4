// native.text: digests, widths and likeness of texts.
#include "base/text.h"

#include "base/digest.h"
#include "base/random.h"
#include "native/module.h"

namespace choline {

namespace {

Result<Json> sha256(Services&, const Json& args) {
  Result<std::string> text = string_arg(args, 0, "text.sha256");
  if (!text) return text.error();
  return Json(sha256_hex(*text));
}

struct Range {
  uint32_t first, last;
};

// Zero width: combining marks and joiners. Two columns: East Asian wide forms and emoji (Unicode
// 15, EastAsianWidth W and F, in coarse ranges).
constexpr Range kZero[] = {{0x300, 0x36F},   {0x483, 0x489},   {0x591, 0x5BD},   {0x610, 0x61A},
                           {0x64B, 0x65F},   {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x200B, 0x200F},
                           {0x202A, 0x202E}, {0x2060, 0x2064}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F},
                           {0xFE20, 0xFE2F}, {0xFEFF, 0xFEFF}};
constexpr Range kWide[] = {
    {0x1100, 0x115F},   {0x231A, 0x231B},   {0x23E9, 0x23EC},   {0x2614, 0x2615},
    {0x26A1, 0x26A1},   {0x2705, 0x2705},   {0x2728, 0x2728},   {0x274C, 0x274C},
    {0x2E80, 0x303E},   {0x3041, 0xA4CF},   {0xA960, 0xA97F},   {0xAC00, 0xD7A3},
    {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},
    {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};

template <size_t N>
bool is_in(const Range (&ranges)[N], uint32_t point) {
  for (const Range& range : ranges) {
    if (point >= range.first && point <= range.last) return true;
  }
  return false;
}

int columns_of(uint32_t point) {
  if (point < 0x20 || (point >= 0x7F && point < 0xA0)) return 0;
  if (is_in(kZero, point)) return 0;
  return is_in(kWide, point) ? 2 : 1;
}

// Reads one code point at `place` and moves it on; a byte that is no UTF-8 counts as itself.
uint32_t next_point(const std::string& text, size_t& place) {
  auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  uint32_t lead = byte(place++);
  int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
  if (more == 0 || place + static_cast<size_t>(more) > text.size()) return lead;
  uint32_t point = lead & (0x3Fu >> more);
  for (int count = 0; count < more; ++count) point = (point << 6) | (byte(place++) & 0x3Fu);
  return point;
}

// Past an escape sequence that starts at `place`: "\27[" up to its last letter.
size_t after_escape(const std::string& text, size_t place) {
  size_t at = place + 2;
  while (at < text.size() && (text[at] < '@' || text[at] > '~')) ++at;
  return at < text.size() ? at + 1 : at;
}

Result<Json> width(Services&, const Json& args) {
  Result<std::string> text = string_arg(args, 0, "text.width");
  if (!text) return text.error();
  int64_t columns = 0;
  size_t place = 0;
  while (place < text->size()) {
    if ((*text)[place] == '\x1b' && place + 1 < text->size() && (*text)[place + 1] == '[') {
      place = after_escape(*text, place);
      continue;
    }
    columns += columns_of(next_point(*text, place));
  }
  return Json(columns);
}

Result<Json> nearest_of(Services&, const Json& args) {
  Result<std::string> word = string_arg(args, 0, "text.nearest");
  if (!word) return word.error();
  Result<std::vector<std::string>> candidates = texts_arg(args, 1, "text.nearest");
  if (!candidates) return candidates.error();
  std::optional<std::string> found = nearest(*word, *candidates);
  return found ? Json(*found) : Json();
}

Result<Json> fresh_id(Services&, const Json&) {
  return Json(random_id(6));
}

}  // namespace

NativeModule text_module() {
  return {"text",
          {{"sha256", sha256}, {"width", width}, {"nearest", nearest_of}, {"random_id", fresh_id}}};
}

}  // namespace choline
