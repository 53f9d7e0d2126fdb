#!/usr/bin/env python3
"""A backend of the relay: it takes questions over HTTP, and its response is the answer, token by token. See docs/relay.md.

    export RELAY_SECRET=whsec_$(head -c 32 /dev/urandom | base64)
    python3 examples/relay_agent.py [PORT]          answers each question with its own words
    python3 examples/relay_agent.py [PORT] --204    takes each question, and answers nothing

It needs Python 3.9 and nothing else. The gateway's route has `url = "http://127.0.0.1:8070/seawall"` and `secrets = ["env:RELAY_SECRET"]`.

A question may come twice, because the gateway cannot know of a request that broke off if it arrived. It then has the same `webhook-id`. Here
the model is asked again: the gateway shows only the text of the last request.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import sys
import threading
import time

TOKEN_S = 0.02
AGE_MAX_S = 300
SECRET = os.environ.get("RELAY_SECRET", "")
# The answers that are being written, by their place: set to stop one.
RUNNING = {}


def is_signed(headers, body, now):
    """Verifies a request as in Standard Webhooks. While a secret is replaced there are signatures by both."""
    name, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    key = base64.b64decode(SECRET[len("whsec_"):])
    signature = "v1," + base64.b64encode(hmac.new(key, f"{name}.{sent}.".encode() + body, hashlib.sha256).digest()).decode()
    is_ours = any(hmac.compare_digest(signature.encode(), one.encode()) for one in headers.get("webhook-signature", "").split())
    return is_ours and abs(now - int(sent)) <= AGE_MAX_S


def model(question):
    """Returns the tokens of the answer."""
    return filter(None, re.split("(?<= )", f"You said: {question}"))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_signed(self.headers, body, time.time()):
            return self.reply(401)
        request = json.loads(body)
        answer = request["data"].get("answer")
        place = answer and (answer["channel"], answer["offset"])
        if request["type"] == "answer.cancelled" and place in RUNNING:
            RUNNING[place].set()
        if request["type"] != "publication" or not answer or "--204" in sys.argv:
            return self.reply(204)
        publication = request["data"]["publication"]
        print(f"question {publication['offset']} in #{publication['channel']}, attempt {request['data']['attempt']}", flush=True)
        self.answer(place, publication["data"])

    def answer(self, place, data):
        """Streams the answer as the response."""
        stop = RUNNING[place] = threading.Event()
        self.reply(200, ("Content-Type", "text/plain; charset=utf-8"), ("Transfer-Encoding", "chunked"))
        try:
            for token in model(data["text"] if isinstance(data, dict) and "text" in data else data):
                if stop.wait(TOKEN_S):
                    # A user stopped it. A response that breaks off is not a complete answer.
                    self.close_connection = True
                    return
                piece = token.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # The gateway has closed the response.
        finally:
            if RUNNING.get(place) is stop:
                del RUNNING[place]

    def reply(self, status, *headers):
        self.send_response(status)
        for name, value in headers or [("Content-Length", "0")] * (status != 204):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    if not SECRET.startswith("whsec_"):
        sys.exit("RELAY_SECRET is not set: export RELAY_SECRET=whsec_$(head -c 32 /dev/urandom | base64)")
    ports = [argument for argument in sys.argv[1:] if argument != "--204"]
    with Server(("127.0.0.1", int(ports[0]) if ports else 8070), Handler) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}/seawall", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
