"""`choline forward`: ports here that lead to ports on an instance, while links come and go."""

import concurrent.futures
import hashlib
import http.server
import json
import os
import signal
import socket
import socketserver
import threading
import urllib.request

from attaching import Reaching
from sshd import Sshd, free_port

MIB = 1 << 20
BULK = os.urandom(MIB) * 24


class Pages(http.server.BaseHTTPRequestHandler):
    """Gives much, takes much and says what it was, and names each caller."""
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(BULK if self.path == "/bulk" else self.path.encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(hashlib.sha256(body).hexdigest().encode())

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read()


class Forwarding(Reaching):
    def serve(self, handler=Pages, kind=Server):
        server = kind(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server.server_address[1]

    def forward(self, *words):
        """The first port here, and choline at it."""
        running = self.start("forward", "box", *words, "--json")
        self.addCleanup(running.process.wait)
        self.addCleanup(running.process.kill)
        running.wait_for('"linked"')
        return self.events(running)[0]["port"], running

    @staticmethod
    def events(running):
        return [json.loads(line) for line in running.out.splitlines() if line.endswith("}")]

    def connect(self, port):
        near = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.addCleanup(near.close)
        return near


class Here(Forwarding):
    def setUp(self):
        super().setUp()
        self.begin()

    def test_pages_come_and_go_whole(self):
        port, running = self.forward(f"0:{self.serve()}")
        self.assertEqual(get(port, "/hello"), b"/hello")
        self.assertEqual(hashlib.sha256(get(port, "/bulk")).digest(), hashlib.sha256(BULK).digest())
        sent = urllib.request.Request(f"http://127.0.0.1:{port}/", data=BULK)
        with urllib.request.urlopen(sent, timeout=60) as answer:
            self.assertEqual(answer.read().decode(), hashlib.sha256(BULK).hexdigest())
        running.signal(signal.SIGINT)
        self.assertEqual(running.wait().code, -signal.SIGINT)

    def test_a_hundred_connections_at_once_do_not_mix(self):
        port, _ = self.forward(f"0:{self.serve()}")
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            paths = [f"/caller/{number}" for number in range(300)]
            self.assertEqual(list(pool.map(lambda path: get(port, path).decode(), paths)), paths)

    def test_more_connections_than_a_link_has_room_for_wait_their_turn(self):
        port, _ = self.forward(f"0:{self.serve()}")
        held = [self.connect(port) for _ in range(300)]
        for number, near in enumerate(held):
            near.sendall(f"GET /{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        for number, near in enumerate(held):
            text = near.makefile("rb").read()
            self.assertTrue(text.endswith(f"/{number}".encode()), text)
            near.close()

    def test_a_reader_that_stands_still_holds_nobody_up(self):
        port, _ = self.forward(f"0:{self.serve()}")
        slow = self.connect(port)
        slow.sendall(b"GET /bulk HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.assertTrue(slow.recv(1))
        for number in range(5):
            self.assertEqual(get(port, f"/{number}").decode(), f"/{number}")
        left = slow.makefile("rb").read()
        self.assertTrue(left.endswith(BULK[-MIB:]))

    def test_each_direction_ends_by_itself(self):
        class Sums(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(b"hello\n")
                self.wfile.write(str(len(self.rfile.read())).encode())

        port, _ = self.forward(f"0:{self.serve(Sums, socketserver.ThreadingTCPServer)}")
        near = self.connect(port)
        answer = near.makefile("rb")
        self.assertEqual(answer.readline(), b"hello\n")
        near.sendall(b"x" * 100000)
        near.shutdown(socket.SHUT_WR)
        self.assertEqual(answer.read(), b"100000")

    def test_a_port_at_which_nobody_listens_is_told(self):
        dead = free_port()
        port, running = self.forward(f"0:{dead}", f"0:{self.serve()}")
        with self.assertRaises(ConnectionResetError):
            self.connect(port).recv(1)
        running.wait_for('"refused"')
        self.assert_says(running.out, f"localhost:{dead}", "Connection refused")
        self.assertEqual(get(self.events(running)[1]["port"], "/on"), b"/on")

    def test_a_name_that_the_instance_does_not_know_is_told(self):
        port, running = self.forward("0:no-such-host.invalid:80")
        with self.assertRaises(ConnectionResetError):
            self.connect(port).recv(1)
        running.wait_for('"refused"')
        self.assert_says(running.out, "no-such-host.invalid:80", "not known")

    def test_a_port_that_is_taken_is_an_error_or_the_next_is_told(self):
        remote = self.serve()
        refused = self.choline("forward", "box", f"{remote}:{remote}", code=8)
        self.assert_says(refused.err, f"127.0.0.1:{remote}", "the port is taken")
        running = self.start("forward", "box", remote)
        self.addCleanup(running.process.kill)
        running.wait_for(f"port {remote} is taken here")
        port = int(running.out.split()[0].rpartition(":")[2])
        self.assertGreater(port, remote)
        self.assertEqual(get(port, "/next"), b"/next")

    def test_a_unix_socket_can_be_reached(self):
        class Says(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(self.rfile.readline().upper())

        home = self.choline("exec", "box", "--", "sh", "-c", "cd; pwd").out.strip()
        server = socketserver.UnixStreamServer(f"{home}/s", Says)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        port, _ = self.forward("0:/s")
        near = self.connect(port)
        near.sendall(b"quiet\n")
        self.assertEqual(near.makefile("rb").read(), b"QUIET\n")

    def test_what_is_no_port_is_refused_with_the_reason(self):
        for word, part in (("x", "1 to 65535"), ("70000", "70000"), ("1:2:3:4x", "4x"),
                           ("0:0", "got \"0\"")):
            with self.subTest(word=word):
                self.assert_says(self.choline("forward", "box", word, code=2).err, part)
        self.assert_says(self.choline("forward", "box", "0:1", "--bind", "here", code=2).err,
                         "no address to listen at")

    def test_an_instance_that_ends_ends_it(self):
        _, running = self.forward("0:1")
        self.choline("stop", "--now", self.run_id)
        result = running.wait()
        self.assertEqual(result.code, 1)
        self.assert_says(result.err, "box")


class There(Forwarding):
    def test_ports_stay_while_links_come_and_go(self):
        host = Sshd(self.sandbox / "host")
        self.begin_on(host)
        port, running = self.forward(f"0:{self.serve()}")
        slow = self.connect(port)
        slow.sendall(b"GET /bulk HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(slow.recv(1))
        for count in (1, 2):
            host.cut()
            self.wait_until(lambda: sum(each.get("again", False) for each in self.events(running))
                            == count, "another link")
            self.assertEqual(get(port, f"/{count}").decode(), f"/{count}")
        with self.assertRaises(ConnectionResetError):
            while slow.recv(MIB):
                pass
