// HTTPS against a real server, with certificates of authorities that this test makes.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/random.h"
#include "io/http.h"
#include "loop/await.h"
#include "loop/epoll_loop.h"

namespace choline {
namespace {

// Two authorities that know nothing of each other. The first signs a server named localhost, and
// another one whose time is over.
constexpr const char* kMakeCertificates = R"sh(
cd "$0" && exec >log 2>&1 && set -e
key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
for name in ours theirs; do
  openssl req -x509 $key -days 30 -subj "/CN=$name" -keyout $name.key -out $name.pem
done
echo subjectAltName=DNS:localhost >names
openssl req $key -subj /CN=localhost -keyout server.key -out server.csr
sign="openssl x509 -req -in server.csr -CA ours.pem -CAkey ours.key -CAcreateserial -extfile names"
$sign -days 30 -out server.pem
$sign -days -1 -out expired.pem
)sh";

// Answers with what it was asked, and counts the requests that reached it.
constexpr const char* kTlsServer = R"py(
import http.server, socketserver, ssl, sys
count = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_GET(self):
        global count
        count += 1
        out = ('%d %s' % (count, self.headers.get('X-Key'))).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(out)))
        self.end_headers()
        self.wfile.write(out)
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    def handle_error(self, *a): pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server = Server(('127.0.0.1', 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
server.serve_forever()
)py";

struct Certificates {
  Certificates() : folder("/tmp/choline-tls-" + random_id(10)) {
    std::filesystem::create_directories(folder);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      execlp("sh", "sh", "-c", kMakeCertificates, folder.c_str(), nullptr);
      _exit(127);
    }
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    REQUIRE_MESSAGE(status == 0, "openssl made no certificates; see ", folder, "/log");
  }
  Certificates(const Certificates&) = delete;
  ~Certificates() { std::filesystem::remove_all(folder); }
  std::string path(const char* name) const { return folder + "/" + name; }

  std::string folder;
};

class TlsServer {
 public:
  TlsServer(const Certificates& made, const char* certificate) {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    std::string chain = made.path(certificate), key = made.path("server.key");
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      dup2(ends[1], 1);
      execlp("python3", "python3", "-c", kTlsServer, chain.c_str(), key.c_str(), nullptr);
      _exit(127);
    }
    close(ends[1]);
    std::unique_ptr<FILE, int (*)(FILE*)> out(fdopen(ends[0], "r"), fclose);
    int port = 0;
    REQUIRE(std::fscanf(out.get(), "%d", &port) == 1);
    at = ":" + std::to_string(port) + "/";
  }
  TlsServer(const TlsServer&) = delete;
  ~TlsServer() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::string at;  // what follows the host

 private:
  pid_t pid_ = -1;
};

// One request over a connection of its own.
Result<HttpResponse> ask(const std::string& url, const std::string& ca_file) {
  EpollLoop loop;
  Http http(loop);
  HttpRequest request;
  request.url = url;
  request.headers = {{"X-Key", "hidden"}};
  request.ca_file = ca_file;
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

void check_refused(const Result<HttpResponse>& got, const std::string& url,
                   const std::string& because, const std::string& against) {
  REQUIRE_FALSE(got.ok());
  const std::string& said = got.error().message;
  CAPTURE(said);
  CHECK(got.error().kind == ErrorKind::refused);
  CHECK_FALSE(maybe_sent(got.error()));
  CHECK(said.starts_with("GET " + url + ": the server's certificate is not accepted: "));
  CHECK(said.find(because) != std::string::npos);
  CHECK(said.ends_with("(checked against " + against + ")"));
}

TEST_CASE("a server of an authority that is trusted answers; each other is refused unasked") {
  Certificates made;
  TlsServer server(made, "server.pem");
  std::string url = "https://localhost" + server.at, ours = made.path("ours.pem");
  Result<HttpResponse> got = ask(url, ours);
  REQUIRE(got.ok());
  CHECK(got->body == "1 hidden");

  std::string theirs = made.path("theirs.pem");
  check_refused(ask(url, theirs), url, "local issuer", "'" + theirs + "'");
  check_refused(ask(url, ""), url, "local issuer", "the certificates of this system");
  std::string by_number = "https://127.0.0.1" + server.at;
  check_refused(ask(by_number, ours), by_number, "'127.0.0.1'", "'" + ours + "'");
  std::string nowhere = made.path("nowhere.pem");
  check_refused(ask(url, nowhere), url, "nowhere.pem", "'" + nowhere + "'");

  got = ask(url, ours);
  REQUIRE(got.ok());
  CHECK(got->body == "2 hidden");  // none of those refused had sent its key
}

TEST_CASE("a certificate whose time is over is refused") {
  Certificates made;
  TlsServer server(made, "expired.pem");
  std::string url = "https://localhost" + server.at, ours = made.path("ours.pem");
  check_refused(ask(url, ours), url, "expired", "'" + ours + "'");
}

}  // namespace
}  // namespace choline
