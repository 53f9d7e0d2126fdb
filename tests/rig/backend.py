#!/usr/bin/env python3
"""A backend of the relay, for tests: standard library only.

    backend.py FOLDER PORT

It listens on PORT of loopback (0: a free one) and writes the port to FOLDER/port. Each request is written to FOLDER/ledger, one JSON object a
line, with fsync, before it is answered. How it answers is read from FOLDER/mode at each request: a JSON object with the member `mode`. With the
mode `as_asked`, the data of each question is such an object. The member `cancelled` says what it does about an answer that a user has cancelled:
`ignored` (nothing), `ends` it, or `goes_on` with it until that is refused; it does so over the server API at `api`, with the key `key`.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[1])
SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAA")
LOCK = threading.Lock()
LEDGER = open(FOLDER / "ledger", "ab")


def note(line):
    """Appends to the ledger, and returns once it is on the disk."""
    with LOCK:
        LEDGER.write(json.dumps(line).encode() + b"\n")
        LEDGER.flush()
        os.fsync(LEDGER.fileno())


def is_signed(headers, body):
    """Verifies the signature as in the specification of Standard Webhooks, without the code of the gateway."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    is_recent = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return is_recent and expected in headers["webhook-signature"].split(" ")


def command(mode, name, answer, members):
    """One command about an answer over the server API. Returns its reply, or an empty one if there is none."""
    line = {"id": 1, name: {**answer, "user": "assistant", **members}}
    headers = {"Authorization": "Bearer " + mode["key"], "Content-Type": "application/x-ndjson"}
    api = http.client.HTTPConnection(mode["api"], timeout=30)
    try:
        api.request("POST", "/v1/commands", json.dumps(line).encode() + b"\n", headers)
        response = api.getresponse()
        replies = [json.loads(reply) for reply in response.read().splitlines()]
        if response.status != 200:
            return {"error": replies[0]}
        return next((reply for reply in replies if reply.get("id") == 1), {})
    except (OSError, http.client.HTTPException, LookupError, ValueError):
        return {}
    finally:
        api.close()


def is_over(answer, reply):
    """Notes that an answer takes no more, if this reply says so."""
    if "ended" in reply:
        note({"type": "ended", "channel": answer["channel"], "state": reply["ended"]["state"]})
    elif reply.get("error", {}).get("code") == "ended":
        note({"type": "refused", "channel": answer["channel"], "state": reply["error"]["state"]})
    else:
        return False
    return True


def end(mode, answer):
    while not is_over(answer, command(mode, "end", answer, {"state": "cancelled"})):
        time.sleep(0.1)


def go_on(mode, answer):
    while not is_over(answer, command(mode, "append", answer, {"text": "more "})):
        time.sleep(0.1)


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = json.loads(body)
        mode = json.loads((FOLDER / "mode").read_text())
        data = request["data"]
        publication = data.get("publication", {})
        note({
            "type": request["type"],
            "id": self.headers["webhook-id"],
            "route": self.headers["seawall-route"],
            "is_signed": is_signed(self.headers, body),
            "attempt": data.get("attempt"),
            "channel": publication.get("channel"),
            "offset": publication.get("offset"),
            "user": publication.get("user"),
            "claims": data.get("claims"),
            "question": publication.get("data", data.get("question")),
            "answer": data.get("answer"),
            "mode": mode["mode"],
            "port": self.client_address[1],
            "path": self.path,
        })
        if request["type"] != "publication":
            self.empty(204)
            if request["type"] == "answer.cancelled" and mode.get("cancelled", "ignored") != "ignored":
                act = {"ends": end, "goes_on": go_on}[mode["cancelled"]]
                threading.Thread(target=act, args=(mode, data["answer"]), daemon=True).start()
            return
        getattr(self, mode["mode"])(mode, request)

    def empty(self, status, headers=()):
        self.send_response(status)
        self.send_header("content-length", "0")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def begin(self, kind):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, text):
        data = text.encode() if isinstance(text, str) else text
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def finish(self):
        self.wfile.write(b"0\r\n\r\n")

    def as_asked(self, mode, request):
        wanted = request["data"]["publication"]["data"]
        getattr(self, wanted["mode"])(wanted, request)

    def ok(self, mode, request):
        self.empty(204)

    def accepted(self, mode, request):
        self.empty(202)

    def slow_head(self, mode, request):
        time.sleep(mode["ms"] / 1000)
        self.empty(204)

    def text(self, mode, request):
        self.begin("text/plain; charset=utf-8")
        for piece in mode["pieces"]:
            self.chunk(piece)
            time.sleep(mode.get("ms", 0) / 1000)
        self.finish()

    def lines(self, mode, request):
        self.begin("application/x-ndjson")
        for line in mode["lines"]:
            self.chunk((line if isinstance(line, str) else json.dumps(line)) + "\n")
            time.sleep(mode.get("ms", 0) / 1000)
        self.finish()

    def one(self, mode, request):
        body = json.dumps(mode["command"]).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def endless(self, mode, request):
        """Writes until the gateway closes the response."""
        self.begin("text/plain")
        try:
            while True:
                self.chunk("word ")
                time.sleep(mode.get("ms", 20) / 1000)
        except OSError:
            self.closed(request)

    def silent(self, mode, request):
        """Begins a response without text, and waits until the gateway closes it."""
        self.begin("text/plain")
        self.wfile.flush()
        try:
            self.connection.recv(1)
        except OSError:
            pass
        self.closed(request)

    def closed(self, request):
        publication = request["data"]["publication"]
        note({"type": "closed", "channel": publication["channel"], "offset": publication["offset"]})
        self.close_connection = True

    def breaks(self, mode, request):
        self.begin("text/plain")
        self.chunk(mode["text"])
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def flaky(self, mode, request):
        self.empty(500 if random.random() < mode["part"] else 204)

    def busy(self, mode, request):
        self.empty(429, [("retry-after", str(mode["seconds"]))])

    def status(self, mode, request):
        self.empty(mode["status"])

    def never(self, mode, request):
        time.sleep(3600)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A gateway that is killed, or closes a response, is no error of the backend."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


server = Server(("127.0.0.1", int(sys.argv[2])), Backend)
(FOLDER / "port.new").write_text(str(server.server_address[1]))
(FOLDER / "port.new").rename(FOLDER / "port")
server.serve_forever()
