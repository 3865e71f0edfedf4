#include "base/secret.h"

#include <string.h>

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/text.h"

namespace choline {

void wipe(std::string& text) noexcept {
  if (!text.empty()) explicit_bzero(text.data(), text.size());
  text.clear();
}

Secret::Secret(std::string value) : value_(value) {
  wipe(value);
}
Secret::Secret(Secret&& other) noexcept {
  // A short string is copied by a move, so the source is wiped by hand.
  value_.swap(other.value_);
  wipe(other.value_);
}
Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe(value_);
    value_.swap(other.value_);
  }
  return *this;
}
Secret::~Secret() {
  wipe(value_);
}

Redactor& Redactor::process() {
  static Redactor redactor;
  return redactor;
}

Redactor::Registration::Registration(Registration&& other) noexcept
    : redactor_(std::exchange(other.redactor_, nullptr)), id_(other.id_) {}
Redactor::Registration& Redactor::Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    release();
    redactor_ = std::exchange(other.redactor_, nullptr);
    id_ = other.id_;
  }
  return *this;
}
Redactor::Registration::~Registration() {
  release();
}

void Redactor::Registration::release() noexcept {
  if (redactor_) std::exchange(redactor_, nullptr)->remove(id_);
}

namespace {

constexpr size_t kShortestValue = 4;
constexpr size_t kShortestLine = 16;

std::vector<Secret> forms_of(std::string_view value) {
  std::vector<std::string> texts = {std::string(value), to_base64(value), shell_quote(value)};
  if (is_utf8(value)) {
    std::string json = to_text(Json(std::string(value)));
    texts.push_back(json.substr(1, json.size() - 2));
    wipe(json);
  }
  for (std::string& line : split(value, '\n')) {
    if (line.size() >= kShortestLine) texts.push_back(std::move(line));
  }
  std::sort(texts.begin(), texts.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a < b;
  });
  std::vector<Secret> forms;
  for (std::string& text : texts) {
    if (forms.empty() || forms.back().expose() != text) forms.emplace_back(text);
    wipe(text);
  }
  return forms;
}

}  // namespace

Redactor::Registration Redactor::add(std::string_view value, std::string_view name) {
  Registration registration;
  if (value.size() < kShortestValue) return registration;
  std::lock_guard<std::mutex> hold(mutex_);
  Entry entry;
  entry.id = ++last_id_;
  entry.name = name;
  entry.forms = forms_of(value);
  entries_.push_back(std::move(entry));
  registration.redactor_ = this;
  registration.id_ = last_id_;
  return registration;
}

void Redactor::remove(size_t id) {
  std::lock_guard<std::mutex> hold(mutex_);
  entries_.remove_if([id](const Entry& entry) { return entry.id == id; });
}

std::string Redactor::redact(std::string text) const {
  std::lock_guard<std::mutex> hold(mutex_);
  for (const Entry& entry : entries_) {
    std::string mark = "[secret " + entry.name + "]";
    for (const Secret& form : entry.forms) {
      for (size_t at = text.find(form.expose()); at != std::string::npos;
           at = text.find(form.expose(), at + mark.size())) {
        text.replace(at, form.expose().size(), mark);
      }
    }
  }
  return text;
}

}  // namespace choline
