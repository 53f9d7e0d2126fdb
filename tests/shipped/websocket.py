"""A WebSocket client for one conversation of short JSON frames, and HTTP requests over the same kind of socket."""

import base64
import json
import os
import socket
import ssl
import struct

TIMEOUT_S = 30


def dial(port, certificate=None, name="chat.example.com"):
    """A connection to a port of this machine, with TLS if there is a certificate to trust."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    if certificate is None:
        return plain
    return ssl.create_default_context(cafile=certificate).wrap_socket(plain, server_hostname=name)


def request(stream, path, headers=()):
    """Sends a GET, and returns the status, the head and what came of the body."""
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    stream.sendall("\r\n".join(lines).encode())
    received = b""
    while b"\r\n\r\n" not in received:
        more = stream.recv(65536)
        if not more:
            # As for one that is refused, `until` tries again.
            raise ConnectionError(f"the connection ended after {received!r}")
        received += more
    head, body = received.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), head.decode(), body


class WebSocket:
    """An upgraded connection."""

    def __init__(self, stream, host, origin):
        key = base64.b64encode(os.urandom(16)).decode()
        status, head, self.received = request(stream, "/ws", [
            ("Host", host), ("Origin", origin), ("Connection", "Upgrade"), ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Protocol", "seawall.v1"),
        ])
        assert status == 101, head
        self.stream = stream

    def send(self, value):
        data = json.dumps(value).encode()
        length = struct.pack(">B", 0x80 | len(data)) if len(data) < 126 else struct.pack(">BH", 0x80 | 126, len(data))
        # The mask may be zero.
        self.stream.sendall(b"\x81" + length + b"\0\0\0\0" + data)

    def take(self, count):
        while len(self.received) < count:
            more = self.stream.recv(65536)
            assert more, "the connection ended"
            self.received += more
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def receive(self):
        """The next text frame."""
        first, length = self.take(2)
        if length == 126:
            (length,) = struct.unpack(">H", self.take(2))
        data = self.take(length)
        assert first == 0x81, (first, data)
        return json.loads(data)
