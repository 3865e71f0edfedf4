"""The line that delays and cuts: what it does to a connection, both ways."""

import socket
import threading
import time
import unittest

from harness import PATIENCE
from proxy import Proxy


class Echo:
    """Sends back what it gets, on each connection; `resets` counts those that broke."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.resets = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                threading.Thread(target=self.answer, args=self.listener.accept()[:1],
                                 daemon=True).start()
            except OSError:
                return

    def answer(self, connection):
        with connection:
            try:
                while got := connection.recv(1 << 16):
                    connection.sendall(got)
            except ConnectionResetError:
                self.resets += 1


class ProxyTest(unittest.TestCase):
    def setUp(self):
        self.echo = Echo()
        self.addCleanup(self.echo.listener.close)

    def line(self, **settings):
        proxy = Proxy(self.echo.port, **settings)
        self.addCleanup(proxy.stop)
        return proxy

    def connect(self, proxy):
        connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def ask(self, connection, text=b"a"):
        connection.sendall(text)
        return connection.recv(len(text))

    def assert_silent(self, connection):
        connection.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            self.ask(connection)
        connection.settimeout(PATIENCE)

    def test_bytes_take_the_delay_each_way_and_arrive_whole(self):
        proxy = self.line(delay=30)
        connection = self.connect(proxy)
        began = time.monotonic()
        self.assertEqual(self.ask(connection), b"a")
        self.assertGreaterEqual(time.monotonic() - began, 0.06)
        sent = bytes(range(256)) * 4096
        threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
        got = b""
        while len(got) < len(sent):
            got += connection.recv(1 << 16)
        self.assertEqual(got, sent)
        connection.shutdown(socket.SHUT_WR)
        self.assertEqual(connection.recv(1), b"")

    def test_a_pace_is_kept(self):
        proxy = self.line(rate=1_000_000)
        connection = self.connect(proxy)
        began = time.monotonic()
        threading.Thread(target=connection.sendall, args=(bytes(300_000),), daemon=True).start()
        got = 0
        while got < 300_000:
            got += len(connection.recv(1 << 16))
        self.assertGreaterEqual(time.monotonic() - began, 0.29)

    def test_a_connection_is_cut_after_so_many_bytes_on_both_sides(self):
        connection = self.connect(self.line(cut_after=1000))
        self.assertEqual(self.ask(connection), b"a")
        with self.assertRaises(ConnectionResetError):
            while True:
                self.ask(connection, b"x" * 100)
        self.wait_until(lambda: self.echo.resets == 1)

    def test_a_frozen_line_is_silent_and_goes_on_when_healed(self):
        proxy = self.line()
        connection = self.connect(proxy)
        self.assertEqual(self.ask(connection), b"a")
        proxy.freeze()
        self.assert_silent(connection)
        proxy.heal()
        self.assertEqual(connection.recv(1), b"a")
        self.assertEqual(proxy.connections(), (1, 1))

    def test_half_open_only_the_server_knows(self):
        proxy = self.line()
        connection = self.connect(proxy)
        self.assertEqual(self.ask(connection), b"a")
        proxy.forget_servers()
        self.wait_until(lambda: self.echo.resets == 1)
        self.assert_silent(connection)
        self.assertEqual(self.ask(self.connect(proxy)), b"a")

    def test_new_connections_are_refused_and_old_ones_cut_when_asked(self):
        proxy = self.line()
        connection = self.connect(proxy)
        self.assertEqual(self.ask(connection), b"a")
        proxy.cut()
        with self.assertRaises(OSError):
            self.ask(connection)
        proxy.set("refuse")
        with self.assertRaises(OSError):
            self.ask(self.connect(proxy))

    def wait_until(self, is_so):
        end = time.monotonic() + PATIENCE
        while not is_so():
            self.assertLess(time.monotonic(), end, "it never came")
            time.sleep(0.01)
