// HTTP against a real server (Python's), with the faults a provider may show.
#include "io/http.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "loop/await.h"
#include "loop/epoll_loop.h"

namespace choline {
namespace {

constexpr const char* kServer = R"py(
import http.server, socketserver, sys, threading
seen = {}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def answer(self):
        length = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(length) if length else b''
        path = self.path.split('?')[0]
        seen[path] = seen.get(path, 0) + 1
        if path == '/drop':
            self.close_connection = True; self.connection.shutdown(2); return
        if path == '/hang':
            threading.Event().wait()
        if path == '/big':
            out = b'x' * 100000
        elif path == '/seen':
            out = str(seen.get('/' + self.path.split('?')[1], 0)).encode()
        else:
            out = ('%s %s %s|' % (self.command, self.path, self.headers.get('X-Test'))).encode() + body
        status = int(path[8:]) if path.startswith('/status/') else 200
        if path == '/moved': status = 302
        self.send_response(status)
        self.send_header('Content-Length', str(len(out)))
        if path == '/moved': self.send_header('Location', '/there')
        self.send_header('X-Twice', 'a'); self.send_header('X-Twice', 'b')
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(out)
        if path == '/last': self.close_connection = True
    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024
server = Server(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
)py";

class Server {
 public:
  Server() {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      dup2(ends[1], 1);
      execlp("python3", "python3", "-c", kServer, nullptr);
      _exit(127);
    }
    close(ends[1]);
    std::unique_ptr<FILE, int (*)(FILE*)> out(fdopen(ends[0], "r"), fclose);
    int port = 0;
    REQUIRE(std::fscanf(out.get(), "%d", &port) == 1);
    base = "http://127.0.0.1:" + std::to_string(port);
  }
  ~Server() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::string base;

 private:
  pid_t pid_ = -1;
};

struct Web {
  Server server;
  EpollLoop loop;
  Http http{loop};

  Result<HttpResponse> fetch(HttpRequest request) {
    if (request.url.starts_with('/')) request.url = server.base + request.url;
    std::optional<Result<HttpResponse>> result;
    std::function<void(Result<HttpResponse>)> keep = [&](Result<HttpResponse> got) {
      result.emplace(std::move(got));
      loop.stop();
    };
    Started started(http.fetch(std::move(request)), std::move(keep));
    if (!result) loop.run();
    started.check();
    REQUIRE(result.has_value());
    return std::move(*result);
  }
  Result<HttpResponse> get(const std::string& url) {
    HttpRequest request;
    request.url = url;
    return fetch(std::move(request));
  }
};

TEST_CASE("method, headers and body arrive, and the answer comes back whole") {
  Web web;
  HttpRequest request;
  request.method = "POST";
  request.url = "/echo?a=1";
  request.headers = {{"X-Test", "yes"}};
  request.body = std::string("a\0b", 3);
  Result<HttpResponse> got = web.fetch(request);
  REQUIRE(got.ok());
  CHECK(got->status == 200);
  CHECK(got->body == "POST /echo?a=1 yes|" + request.body);
  REQUIRE(got->header("x-twice") != nullptr);
  CHECK(*got->header("x-twice") == "a");
  CHECK(got->header("absent") == nullptr);
  for (const char* method : {"PUT", "DELETE"}) {
    request.method = method;
    got = web.fetch(request);
    REQUIRE(got.ok());
    CHECK(got->body.starts_with(method));
  }
  request.method = "HEAD";
  request.body.clear();
  got = web.fetch(request);
  REQUIRE(got.ok());
  CHECK(got->body.empty());
}

TEST_CASE("any status is a response, and a redirect is one unless it is to be followed") {
  Web web;
  for (int status : {404, 429, 500, 503}) {
    Result<HttpResponse> got = web.get("/status/" + std::to_string(status));
    REQUIRE(got.ok());
    CHECK(got->status == status);
  }
  Result<HttpResponse> got = web.get("/moved");
  REQUIRE(got.ok());
  CHECK(got->status == 302);
  HttpRequest request;
  request.url = "/moved";
  request.redirects = 3;
  got = web.fetch(request);
  REQUIRE(got.ok());
  CHECK(got->status == 200);
  CHECK(got->body == "GET /there None|");
}

TEST_CASE("a request whose reply is lost may have been received, and is not sent again") {
  Web web;
  HttpRequest request;
  request.method = "POST";
  request.url = "/drop";
  request.body = "create";
  Result<HttpResponse> got = web.fetch(request);
  REQUIRE_FALSE(got.ok());
  CHECK(got.error().kind == ErrorKind::transient);
  CHECK(maybe_sent(got.error()));
  Result<HttpResponse> seen = web.get("/seen?drop");
  REQUIRE(seen.ok());
  CHECK(seen->body == "1");
}

TEST_CASE("a POST never goes over a kept connection, whose death would make curl send it twice") {
  Web web;
  for (int i = 0; i < 5; ++i) {
    REQUIRE(web.get("/last").ok());
    HttpRequest request;
    request.method = "POST";
    request.url = "/once";
    REQUIRE(web.fetch(request).ok());
  }
  Result<HttpResponse> seen = web.get("/seen?once");
  REQUIRE(seen.ok());
  CHECK(seen->body == "5");
}

TEST_CASE("what never connected was surely not sent, and the message hides the query") {
  Web web;
  HttpRequest request;
  request.method = "POST";
  request.url = "http://user:word@127.0.0.1:1/path?key=hidden";
  Result<HttpResponse> got = web.fetch(request);
  REQUIRE_FALSE(got.ok());
  CHECK(got.error().kind == ErrorKind::transient);
  CHECK_FALSE(maybe_sent(got.error()));
  CHECK(got.error().message.starts_with("POST http://127.0.0.1:1/path: "));
  CHECK(got.error().message.find("hidden") == std::string::npos);
}

TEST_CASE("a server that hangs ends in a timeout, with the request possibly received") {
  Web web;
  HttpRequest request;
  request.url = "/hang";
  request.timeout = 0.2;
  Result<HttpResponse> got = web.fetch(request);
  REQUIRE_FALSE(got.ok());
  CHECK(got.error().kind == ErrorKind::timeout);
  CHECK(maybe_sent(got.error()));
}

TEST_CASE("an answer that is too large is refused") {
  Web web;
  HttpRequest request;
  request.url = "/big";
  request.most_bytes = 99'999;
  Result<HttpResponse> got = web.fetch(request);
  REQUIRE_FALSE(got.ok());
  CHECK(got.error().kind == ErrorKind::invalid);
  CHECK(got.error().message.ends_with("/big: the answer is larger than 99999 bytes"));
  request.most_bytes = 100'000;
  CHECK(web.fetch(request).ok());
}

TEST_CASE("other protocols and smuggled headers are refused before anything is sent") {
  Web web;
  Result<HttpResponse> got = web.get("file:///etc/passwd");
  REQUIRE_FALSE(got.ok());
  CHECK(got.error().kind == ErrorKind::invalid);
  HttpRequest request;
  request.url = "/echo";
  request.headers = {{"X-Test", "a\r\nX-Other: b"}};
  got = web.fetch(request);
  REQUIRE_FALSE(got.ok());
  CHECK(got.error().kind == ErrorKind::invalid);
  CHECK_FALSE(maybe_sent(got.error()));
}

TEST_CASE("a hundred requests at once are answered, and those given up leave nothing behind") {
  Web web;
  size_t done = 0;
  {
    std::vector<std::unique_ptr<Started>> hanging;
    std::function<void(Result<HttpResponse>)> never = [](Result<HttpResponse>) {
      FAIL("answered");
    };
    for (int i = 0; i < 20; ++i) {
      HttpRequest request;
      request.url = web.server.base + "/hang";
      hanging.push_back(std::make_unique<Started>(web.http.fetch(request), never));
    }
    std::vector<std::unique_ptr<Started>> started;
    std::function<void(Result<HttpResponse>)> count = [&](Result<HttpResponse> got) {
      REQUIRE(got.ok());
      if (++done == 100) web.loop.stop();
    };
    for (int i = 0; i < 100; ++i) {
      HttpRequest request;
      request.url = web.server.base + "/echo";
      started.push_back(std::make_unique<Started>(web.http.fetch(request), count));
    }
    web.loop.run();
  }
  CHECK(done == 100);
  CHECK(web.get("/echo").ok());
}

TEST_CASE("the sockets are not for children") {
  Web web;
  REQUIRE(web.get("/echo").ok());  // its connection is kept
  int sockets = 0;
  for (int fd = 3; fd < 256; ++fd) {
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &type, &size) != 0 || type != AF_INET) continue;
    ++sockets;
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK(sockets >= 1);
}

}  // namespace
}  // namespace choline
