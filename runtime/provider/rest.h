// What providers with an HTTP interface share: one request, JSON both ways, and what a broken one
// may have done over there.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "io/http.h"
#include "loop/co.h"
#include "loop/loop.h"
#include "provider/contract.h"

namespace choline {

struct RestReply {
  int status = 0;
  Json json;                          // null when the body is none
  std::string body;                   // as it came
  std::optional<double> retry_after;  // seconds
  std::string request_id;
  bool fine() const { return status >= 200 && status < 300; }
};

// Numbers of `Retry-After`: seconds, or an HTTP date. Nothing for anything else.
std::optional<double> retry_after(const std::string& value, double now);

class Rest {
 public:
  // `name` of the provider, for messages.
  Rest(Loop& loop, std::string name) : loop_(loop), name_(std::move(name)) {}

  // Any status is a reply. An error says in `sent` whether the request may have had its effect.
  Co<std::variant<RestReply, ProviderError>> call(HttpRequest request);

 private:
  Loop& loop_;
  std::string name_;
  std::optional<Http> http_;  // made when it is first needed: curl takes its time
};

}  // namespace choline
