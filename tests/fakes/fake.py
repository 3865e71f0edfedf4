"""What the fake clouds share: an HTTP server, faults on request, a clock, and a ledger.

A fake is a real server that real clients talk to. Its faults and books are reached by its own paths
below /fake/, or from Python when it runs in the test's process.
"""

import http.server
import json
import socketserver
import threading
import time
import urllib.parse


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status, body, headers=None):
        super().__init__(f"{status} {body}")
        self.status, self.body, self.headers = status, body, headers or {}


class LostReply(Exception):
    """The connection ends without an answer."""


class Fake:
    """Subclasses have `answer(request)`; it gives a body for JSON, or raises one of the above."""

    def __init__(self):
        self.lock = threading.RLock()
        self.faults = []  # each a dict with "fault" and, where it counts, "times"
        self.requests = []  # (method, path, body), in order
        self.bill = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def serve(self):
                fake.serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = serve

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # Faults ---------------------------------------------------------------------------------------

    def cause(self, fault, times=1, **more):
        with self.lock:
            self.faults.append({"fault": fault, "times": times, **more})

    def due(self, fault, path=""):
        """The fault's own fields when it is to happen now, and one time less is left; else None.
        One that names a `path` happens only where that is a part of the request's."""
        with self.lock:
            for each in self.faults:
                if each["fault"] != fault or each.get("path", "") not in path:
                    continue
                each["times"] -= 1
                if each["times"] <= 0:
                    self.faults.remove(each)
                return each
        return None

    # Requests -------------------------------------------------------------------------------------

    def control(self, name, arguments):
        """What a test asks of a fake in another process: POST /fake/NAME with its arguments."""
        return getattr(self, name)(**arguments)

    def serve(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        text = handler.rfile.read(length) if length else b""
        path, _, query = handler.path.partition("?")
        request = {
            "method": handler.command, "path": path, "headers": handler.headers,
            "query": dict(urllib.parse.parse_qsl(query, keep_blank_values=True)), "text": text}
        status, headers = 200, {}
        try:
            request["body"] = json.loads(text) if text else None
            if path.startswith("/fake/"):
                body = self.control(path[len("/fake/"):], request["body"] or {})
                return self.reply(handler, 200, body)
            with self.lock:
                self.requests.append((handler.command, path, request["body"]))
            limit = self.due("rate_limit", path)
            if limit:
                wait = limit.get("retry_after")
                raise Refusal(429, {"detail": "API requests too frequent"},
                              {"Retry-After": str(wait)} if wait is not None else {})
            if self.due("server_error", path):
                raise Refusal(502, "<html>Bad Gateway</html>")
            body = self.answer(request)
        except Refusal as refusal:
            status, body, headers = refusal.status, refusal.body, refusal.headers
        except LostReply:
            handler.close_connection = True
            handler.connection.close()
            return
        except json.JSONDecodeError:
            status, body = 400, {"success": False, "error": "invalid_request", "msg": "not JSON"}
        return self.reply(handler, status, body, headers)

    @staticmethod
    def reply(handler, status, body, headers=None):
        is_text = isinstance(body, str)
        out = body.encode() if is_text else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "text/html" if is_text else "application/json")
        handler.send_header("Content-Length", str(len(out)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            handler.wfile.write(out)
        except OSError:
            pass

    def answer(self, request):
        raise NotImplementedError

    def asked(self):
        """All requests, in order."""
        with self.lock:
            return list(self.requests)

    def now(self):
        return time.time()
