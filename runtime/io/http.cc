#include "io/http.h"

#include <curl/curl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <coroutine>
#include <optional>
#include <unordered_map>

#include "base/text.h"

namespace choline {
namespace {

constexpr size_t kIdleHandles = 256;

// Method, host and path; neither a query nor a user, which may hold keys.
std::string subject(const HttpRequest& request) {
  std::string url = request.url.substr(0, request.url.find_first_of("?#"));
  size_t scheme = url.find("://");
  size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  size_t at = url.find('@', begin);
  if (at != std::string::npos && at < url.find('/', begin)) url.erase(begin, at + 1 - begin);
  return request.method + " " + url;
}

bool is_safe(const std::string& method) {
  return method == "GET" || method == "HEAD";
}

ErrorKind kind_of(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return ErrorKind::timeout;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_WEIRD_SERVER_REPLY:
      return ErrorKind::invalid;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
      return ErrorKind::refused;
    default:
      return ErrorKind::transient;
  }
}

struct HandleEnd {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, HandleEnd>;

struct ListEnd {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// curl's own sockets would be inherited by children.
curl_socket_t open_socket(void*, curlsocktype, curl_sockaddr* address) {
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

}  // namespace

// Awaited by fetch(): registers with the engine, and gives the request up when it is destroyed.
class Http::Transfer {
 public:
  Transfer(Engine& engine, HttpRequest request) : engine_(engine), request_(std::move(request)) {}
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer();

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller);
  Result<HttpResponse> await_resume();

  void complete(CURLcode code);

 private:
  friend class Engine;
  bool prepare();
  bool set_headers();
  static size_t on_body(char* bytes, size_t size, size_t count, void* self);
  static size_t on_header(char* bytes, size_t size, size_t count, void* self);
  static int on_connected(void* self, char*, char*, int, int);
  Error error() const;

  Engine& engine_;
  HttpRequest request_;
  HttpResponse response_;
  Handle handle_;
  std::unique_ptr<curl_slist, ListEnd> list_;
  std::coroutine_handle<> caller_;
  CURLcode code_ = CURLE_OK;
  bool running_ = false;
  bool maybe_sent_ = false;
  bool too_large_ = false;
  char detail_[CURL_ERROR_SIZE] = "";
};

class Http::Engine {
 public:
  explicit Engine(Loop& loop) : loop_(loop) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    multi_ = ready == CURLE_OK ? curl_multi_init() : nullptr;
    if (!multi_) return;
    bool set = curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Engine::on_socket) == CURLM_OK &&
               curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this) == CURLM_OK &&
               curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Engine::on_timer) == CURLM_OK &&
               curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this) == CURLM_OK;
    assert(set);
    (void)set;
  }
  Engine(const Engine&) = delete;
  ~Engine() {
    assert(running_ == 0);
    idle_.clear();
    if (multi_) curl_multi_cleanup(multi_);  // closes connections, which unwatches their sockets
    for (const auto& [fd, id] : watches_) loop_.unwatch(id);
    if (timer_) loop_.cancel(timer_);
  }

  Handle take() {
    if (idle_.empty()) return Handle(curl_easy_init());
    Handle handle = std::move(idle_.back());
    idle_.pop_back();
    return handle;
  }
  void give_back(Handle handle) {
    if (idle_.size() >= kIdleHandles) return;
    curl_easy_reset(handle.get());
    idle_.push_back(std::move(handle));
  }
  bool start(CURL* handle) {
    if (!multi_ || curl_multi_add_handle(multi_, handle) != CURLM_OK) return false;
    ++running_;
    return true;
  }
  void stop(CURL* handle) {
    CURLMcode removed = curl_multi_remove_handle(multi_, handle);
    assert(removed == CURLM_OK);
    (void)removed;
    --running_;
  }

 private:
  static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) {
    auto* engine = static_cast<Engine*>(self);
    auto known = engine->watches_.find(fd);
    if (what == CURL_POLL_REMOVE) {
      if (known != engine->watches_.end()) {
        engine->loop_.unwatch(known->second);
        engine->watches_.erase(known);
      }
      return 0;
    }
    unsigned events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) events |= kReadable;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) events |= kWritable;
    if (known != engine->watches_.end()) {
      engine->loop_.rewatch(known->second, events);
    } else {
      engine->watches_[fd] =
          engine->loop_.watch(fd, events, [engine, fd](unsigned seen) { engine->ready(fd, seen); });
    }
    return 0;
  }

  // Only notes the time: curl must not be entered from its own callback.
  static int on_timer(CURLM*, long milliseconds, void* self) {
    auto* engine = static_cast<Engine*>(self);
    if (engine->timer_) engine->loop_.cancel(std::exchange(engine->timer_, 0));
    if (milliseconds < 0) return 0;
    engine->timer_ = engine->loop_.timer(static_cast<double>(milliseconds) / 1000, [engine] {
      engine->timer_ = 0;
      engine->act(CURL_SOCKET_TIMEOUT, 0);
    });
    return 0;
  }

  void ready(curl_socket_t fd, unsigned seen) {
    int bits = 0;
    if (seen & kReadable) bits |= CURL_CSELECT_IN;
    if (seen & kWritable) bits |= CURL_CSELECT_OUT;
    if (seen & kHangup) bits |= CURL_CSELECT_IN | CURL_CSELECT_ERR;
    act(fd, bits);
  }

  void act(curl_socket_t fd, int bits) {
    int left = 0;
    CURLMcode acted = curl_multi_socket_action(multi_, fd, bits, &left);
    assert(acted == CURLM_OK);
    (void)acted;
    // Those that ended go on from here, outside of curl; each may start or stop others.
    while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURLcode code = message->data.result;
      void* owner = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
      static_cast<Transfer*>(owner)->complete(code);
    }
  }

  Loop& loop_;
  CURLM* multi_ = nullptr;
  std::unordered_map<curl_socket_t, WatchId> watches_;
  TimerId timer_ = 0;
  std::vector<Handle> idle_;
  size_t running_ = 0;
};

Http::Transfer::~Transfer() {
  if (running_) engine_.stop(handle_.get());
  if (handle_) engine_.give_back(std::move(handle_));
}

bool Http::Transfer::await_suspend(std::coroutine_handle<> caller) {
  caller_ = caller;
  handle_ = engine_.take();
  if (!handle_ || !prepare() || !engine_.start(handle_.get())) {
    code_ = CURLE_FAILED_INIT;
    return false;
  }
  running_ = true;
  return true;
}

void Http::Transfer::complete(CURLcode code) {
  code_ = code;
  long status = 0;
  double seconds = 0;
  curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(handle_.get(), CURLINFO_TOTAL_TIME, &seconds);
  response_.status = static_cast<int>(status);
  response_.seconds = seconds;
  engine_.stop(handle_.get());
  running_ = false;
  caller_.resume();  // may destroy this
}

bool Http::Transfer::set_headers() {
  bool has_expect = false;
  for (const auto& [name, value] : request_.headers) {
    if (name.find_first_of("\r\n:") != std::string::npos ||
        value.find_first_of("\r\n") != std::string::npos) {
      return false;  // would smuggle further headers
    }
    has_expect |= to_lower(name) == "expect";
    std::string line = value.empty() ? name + ";" : name + ": " + value;
    curl_slist* longer = curl_slist_append(list_.get(), line.c_str());
    if (!longer) return false;
    (void)list_.release();
    list_.reset(longer);
  }
  if (!has_expect) {  // no round trip before a body
    curl_slist* longer = curl_slist_append(list_.get(), "Expect:");
    if (!longer) return false;
    (void)list_.release();
    list_.reset(longer);
  }
  return curl_easy_setopt(handle_.get(), CURLOPT_HTTPHEADER, list_.get()) == CURLE_OK;
}

bool Http::Transfer::prepare() {
  CURL* handle = handle_.get();
  bool good = true;
  auto set = [&](CURLoption option, auto value) {
    good = good && curl_easy_setopt(handle, option, value) == CURLE_OK;
  };
  set(CURLOPT_URL, request_.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_PRIVATE, this);
  set(CURLOPT_ERRORBUFFER, detail_);
  set(CURLOPT_OPENSOCKETFUNCTION, &open_socket);
  set(CURLOPT_PREREQFUNCTION, &Transfer::on_connected);
  set(CURLOPT_PREREQDATA, this);
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_TIMEOUT_MS, std::lround(std::max(0.001, request_.timeout) * 1000));
  set(CURLOPT_CONNECTTIMEOUT_MS, std::lround(std::max(0.001, request_.connect_timeout) * 1000));
  set(CURLOPT_ACCEPT_ENCODING, "");
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_USERAGENT, "choline");
  if (!request_.ca_file.empty()) set(CURLOPT_CAINFO, request_.ca_file.c_str());
  if (request_.redirects > 0 && is_safe(request_.method)) {
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_MAXREDIRS, static_cast<long>(request_.redirects));
  }
  if (request_.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else {
    if (!request_.body.empty() || request_.method == "POST") {
      set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
      set(CURLOPT_POSTFIELDS, request_.body.c_str());
    }
    set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  }
  // On a kept connection that died curl would silently send the request a second time.
  if (!is_safe(request_.method)) set(CURLOPT_FRESH_CONNECT, 1L);
  return good && set_headers();
}

int Http::Transfer::on_connected(void* self, char*, char*, int, int) {
  static_cast<Transfer*>(self)->maybe_sent_ = true;
  return CURL_PREREQFUNC_OK;
}

size_t Http::Transfer::on_body(char* bytes, size_t size, size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  if (transfer->response_.body.size() + size * count > transfer->request_.most_bytes) {
    transfer->too_large_ = true;
    return 0;
  }
  transfer->response_.body.append(bytes, size * count);
  return size * count;
}

size_t Http::Transfer::on_header(char* bytes, size_t size, size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  std::string_view line = trim(std::string_view(bytes, size * count));
  if (line.starts_with("HTTP/")) {  // of the last answer only: not of a 1xx or a redirect before it
    transfer->response_.headers.clear();
    transfer->response_.body.clear();
    return size * count;
  }
  size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size * count;
  transfer->response_.headers.emplace_back(to_lower(trim(line.substr(0, colon))),
                                           std::string(trim(line.substr(colon + 1))));
  return size * count;
}

Error Http::Transfer::error() const {
  Json fields = {{"maybe_sent", maybe_sent_}, {"curl", static_cast<int>(code_)}};
  if (too_large_) {
    return Error(ErrorKind::invalid,
                 subject(request_) + ": the answer is larger than " +
                     std::to_string(request_.most_bytes) + " bytes",
                 std::move(fields));
  }
  if (code_ == CURLE_FAILED_INIT) {
    return Error(ErrorKind::invalid, subject(request_) + ": the request could not be made",
                 std::move(fields));
  }
  // Not curl's own words for a bad URL: they may repeat it.
  bool tells_url = code_ == CURLE_URL_MALFORMAT;
  std::string why = *detail_ && !tells_url ? detail_ : curl_easy_strerror(code_);
  ErrorKind kind = kind_of(code_);
  if (kind == ErrorKind::refused) {
    std::string against = request_.ca_file.empty() ? "the certificates of this system"
                                                   : choline::quoted(request_.ca_file);
    why = "the server's certificate is not accepted: " + why + " (checked against " + against + ")";
  }
  return Error(kind, subject(request_) + ": " + why, std::move(fields));
}

Result<HttpResponse> Http::Transfer::await_resume() {
  if (code_ != CURLE_OK) return error();
  return std::move(response_);
}

const std::string* HttpResponse::header(std::string_view name) const {
  for (const auto& [known, value] : headers) {
    if (known == name) return &value;
  }
  return nullptr;
}

bool maybe_sent(const Error& error) {
  return !error.fields.is_object() || error.fields.value("maybe_sent", true);
}

Http::Http(Loop& loop) : engine_(std::make_unique<Engine>(loop)) {}
Http::~Http() = default;

Co<Result<HttpResponse>> Http::fetch(HttpRequest request) {
  Transfer transfer(*engine_, std::move(request));
  Result<HttpResponse> response = co_await transfer;
  co_return response;
}

}  // namespace choline
