#include "provider/rest.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/text.h"

namespace choline {

std::optional<double> retry_after(const std::string& value, double now) {
  std::string text(trim(value));
  char* end = nullptr;
  double seconds = std::strtod(text.c_str(), &end);
  if (end != text.c_str() && *end == 0 && std::isfinite(seconds) && seconds >= 0) return seconds;
  struct tm date {};
  const char* rest = strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
  if (!rest || *rest != 0) return std::nullopt;
  return std::max(0.0, static_cast<double>(timegm(&date)) - now);
}

Co<std::variant<RestReply, ProviderError>> Rest::call(HttpRequest request) {
  if (!http_) http_.emplace(loop_);
  const std::string what = name_ + ": " + request.method;
  Result<HttpResponse> response = co_await http_->fetch(std::move(request));
  if (!response) {
    ProviderError error;
    error.sent = maybe_sent(response.error()) ? Sent::unknown : Sent::no;
    error.scope = Scope::provider;
    // A certificate that is not theirs is no passing trouble.
    bool is_lasting = response.error().kind == ErrorKind::refused;
    error.kind = is_lasting ? ErrorKind::auth : ErrorKind::transient;
    error.message = what + ": " + response.error().message;
    co_return error;
  }
  RestReply reply;
  reply.status = response->status;
  reply.body = std::move(response->body);
  Result<Json> json = parse_json(reply.body);
  if (json) reply.json = std::move(*json);
  if (const std::string* wait = response->header("retry-after")) {
    reply.retry_after = retry_after(*wait, loop_.wall());
  }
  if (const std::string* id = response->header("x-request-id")) reply.request_id = *id;
  co_return reply;
}

}  // namespace choline
