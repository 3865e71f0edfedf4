#include "durable/commands_secrets.h"

#include <algorithm>

#include "base/text.h"

namespace choline {

Masker::Masker(const std::vector<std::string>& secrets) {
  for (const std::string& secret : secrets) {
    if (secret.size() < 4) continue;  // text would drown
    forms_.push_back(secret);
    forms_.push_back(to_base64(secret));
  }
}

std::string Masker::cut(bool all) {
  std::string out = pending_;
  out.replace(0, starred_, starred_, '*');
  size_t matched = starred_;  // the end of the last match
  for (const std::string& form : forms_) {
    for (size_t at = pending_.find(form); at != std::string::npos;
         at = pending_.find(form, at + 1)) {
      out.replace(at, form.size(), form.size(), '*');
      matched = std::max(matched, at + form.size());
    }
  }
  size_t held = 0;
  for (const std::string& form : forms_) {
    if (all) break;
    for (size_t size = std::min(form.size() - 1, pending_.size()); size > held; --size) {
      if (std::string_view(pending_).ends_with(std::string_view(form).substr(0, size))) held = size;
    }
  }
  // Held back as it came, for a match may begin there; the end of a match in it stays one.
  size_t free = pending_.size() - held;
  starred_ = matched > free ? matched - free : 0;
  pending_.erase(0, free);
  out.resize(free);
  return out;
}

std::string Masker::feed(std::string_view bytes) {
  if (forms_.empty()) return std::string(bytes);
  pending_.append(bytes);
  return cut(false);
}

std::string Masker::finish() {
  return cut(true);
}

}  // namespace choline
