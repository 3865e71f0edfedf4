// HTTP requests on the loop, by curl's multi interface. One request is one request: nothing is
// repeated behind the caller's back, and an error says whether the request may have left.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

struct HttpRequest {
  std::string method = "GET";
  std::string url;  // http or https; what follows '?' never appears in messages
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  double timeout = 60;                   // seconds for everything
  double connect_timeout = 15;           // seconds until a connection stands
  size_t most_bytes = size_t{64} << 20;  // of the answer's body
  int redirects = 0;                     // followed for GET and HEAD; 0: a redirect is an answer
  std::string ca_file;                   // instead of the system's certificates
};

struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, in order
  std::string body;
  double seconds = 0;

  // The first of that name (in lower case); nullptr when there is none.
  const std::string* header(std::string_view name) const;
};

// Was the request possibly received? False only when it surely was not. For errors of fetch().
bool maybe_sent(const Error& error);

class Http {
 public:
  explicit Http(Loop& loop);
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;
  ~Http();  // no request may be under way

  // Any status is a response. An error has the kind timeout, transient (no connection, broken
  // connection), refused (certificate), invalid (URL, answer too large or malformed), and the field
  // `maybe_sent`. Destroying the Co gives the request up.
  Co<Result<HttpResponse>> fetch(HttpRequest request);

 private:
  class Engine;
  class Transfer;
  std::unique_ptr<Engine> engine_;
};

}  // namespace choline
