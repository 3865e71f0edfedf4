#include "link/escape.h"

namespace choline {

EscapeFilter::Act EscapeFilter::feed(std::string_view keys, std::string& out,
                                     std::string_view& rest) {
  constexpr char kControlC = 3, kControlZ = 26;
  for (size_t at = 0; at < keys.size(); at++) {
    char key = keys[at];
    if (tilde_) {
      tilde_ = false;
      Act act = key == '.'         ? Act::leave
                : key == kControlZ ? Act::suspend
                : key == '?'       ? Act::help
                                   : Act::none;
      line_begins_ = act != Act::none;
      if (act != Act::none) {
        rest = keys.substr(at + 1);
        return act;
      }
      out += '~';
      if (key == '~') continue;  // the second of two stands for one
    } else if (key == '~' && line_begins_) {
      tilde_ = true;
      continue;
    }
    out += key;
    line_begins_ = key == '\r' || key == '\n' || key == kControlC;
  }
  rest = {};
  return Act::none;
}

}  // namespace choline
