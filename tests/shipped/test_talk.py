"""docs/examples/talk.py, a client in another language: against the gateway, which is killed, and against one that closes connections."""

import base64
import hashlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from support import ROOT, free_port, gateway

TALK = ROOT / "docs" / "examples" / "talk.py"
SOON_S = 60


def interpreter():
    """A Python that has the package that talk.py needs. The one that runs this test may not be Debian's."""
    for path in (sys.executable, "/usr/bin/python3"):
        if subprocess.call([path, "-c", "import websockets"], stderr=subprocess.DEVNULL) == 0:
            return path
    raise AssertionError("no Python here has the package websockets: apt-get install python3-websockets")


def clean(**more):
    """An environment without variables of the gateway, which refuses unknown ones."""
    return {"PATH": os.environ["PATH"], **more}


class Program:
    """A process whose lines are collected while it runs."""

    def __init__(self, command, **more):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([str(part) for part in command], text=True, env=clean(**more), **pipes)
        self.out, self.err = [], []
        self.readers = [
            threading.Thread(target=self._read, args=[stream, lines], daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        self.heard = threading.Condition()
        for reader in self.readers:
            reader.start()

    def _read(self, stream, lines):
        for line in stream:
            with self.heard:
                lines.append(line.rstrip("\n"))
                self.heard.notify_all()

    def until(self, what, done):
        with self.heard:
            if not self.heard.wait_for(done, SOON_S):
                raise AssertionError(f"not in time: {what}\n{self.out}\n{self.err}")

    def write(self, *lines):
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def end(self):
        """Ends its stdin and returns its exit code."""
        self.process.stdin.close()
        return self.process.wait(SOON_S)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for reader in self.readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


class Chat(unittest.TestCase):
    """A gateway in a folder of its own, on a port that it has again after a restart."""

    def setUp(self):
        self.python = interpreter()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.port = free_port()

    def program(self, *command, **more):
        program = Program(command, **more)
        self.addCleanup(program.kill)
        return program

    def start_gateway(self):
        it = self.program(
            gateway(), "--listen", f"127.0.0.1:{self.port}", "--data", self.folder.name,
            SEAWALL_ADMIN_LISTEN="off", SEAWALL_LIMITS_PUBLISHES_PER_S="0", SEAWALL_LIMITS_COMMANDS_PER_S="0",
        )
        it.until("the gateway listens", lambda: any("listening on" in line for line in it.out))
        return it

    def talk(self, port=None):
        return self.program(self.python, TALK, f"ws://127.0.0.1:{port or self.port}/ws", "lobby")

    def test_nothing_is_lost_or_printed_twice_when_the_gateway_is_killed(self):
        it = self.start_gateway()
        ann, bob = self.talk(), self.talk()
        bob.until("bob is online", lambda: any(line.startswith("online as") for line in bob.err))
        expected = []

        def says(*lines):
            expected.extend(f"anonymous: {line}" for line in lines)
            ann.write(*lines)

        says("one", "two", "three")
        bob.until("three lines", lambda: len(bob.out) >= 3)
        # Without a pause, so that some lines are sent and not answered when the gateway is killed.
        says(*(f"burst {number}" for number in range(20)))
        bob.until("a part of the burst", lambda: len(bob.out) >= 8)
        it.kill()
        says("written while the gateway is down")
        for program in (ann, bob):
            program.until("it tries again", lambda: any("trying again in" in line for line in program.err))
        self.start_gateway()
        says("and after that")
        for name, program in (("ann", ann), ("bob", bob)):
            program.until(f"{name} has every line", lambda: len(program.out) >= len(expected))
        self.assertEqual(ann.end(), 0)
        self.assertEqual(bob.end(), 0)
        self.assertEqual(ann.out, expected)
        self.assertEqual(bob.out, expected)
        late = self.talk()
        late.until("the newest lines", lambda: len(late.out) >= 10)
        self.assertEqual(late.out, expected[-10:])

    def test_restart_is_followed_without_a_loss(self):
        it = self.start_gateway()
        bob = self.talk()
        bob.until("bob is online", lambda: any(line.startswith("online as") for line in bob.err))
        it.process.send_signal(signal.SIGTERM)
        bob.until("the drain", lambda: "the gateway is about to restart" in bob.err)
        bob.write("written during the drain")
        self.assertEqual(it.process.wait(SOON_S), 0)
        self.start_gateway()
        bob.write("and after that")
        bob.until("both lines", lambda: len(bob.out) >= 2)
        self.assertEqual(bob.end(), 0)
        self.assertEqual(bob.out, ["anonymous: written during the drain", "anonymous: and after that"])

    def test_more_than_a_replay_is_read_from_history(self):
        it = self.start_gateway()
        bob = self.talk()
        bob.until("bob is online", lambda: any(line.startswith("online as") for line in bob.err))
        bob.process.send_signal(signal.SIGSTOP)
        it.kill()
        self.start_gateway()
        ann = self.talk()
        # The gateway replays at most 300.
        ann.write(*(f"{number}" for number in range(400)))
        self.assertEqual(ann.end(), 0)
        bob.process.send_signal(signal.SIGCONT)
        bob.until("all of them", lambda: len(bob.out) >= 400)
        self.assertEqual(bob.out, [f"anonymous: {number}" for number in range(400)])


class Closing:
    """Accepts WebSocket connections and ends each with the next `bye`. Notes when each connection began."""

    def __init__(self, byes):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.byes, self.times = byes, []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        for bye in self.byes:
            peer, _ = self.listener.accept()
            self.times.append(time.monotonic())
            with peer:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += peer.recv(4096)
                key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)[1]
                accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
                peer.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Protocol: seawall.v1\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
                )
                text = json.dumps({"bye": bye}).encode()
                peer.sendall(bytes([0x81, 126]) + struct.pack(">H", len(text)) + text + bytes([0x88, 2]) + struct.pack(">H", bye["code"]))
                while peer.recv(4096):
                    pass


class Closed(unittest.TestCase):
    def test_it_waits_as_long_as_it_is_asked_to_and_stops_at_a_final_code(self):
        message = "this user is not allowed here, and the text is long enough for a frame with a length of two bytes, which is over 125"
        byes = [
            {"code": 1013, "reason": "over_capacity", "message": message, "retry_ms": 1500},
            {"code": 1012, "reason": "restart", "message": message, "retry_ms": 100},
            {"code": 4503, "reason": "forbidden", "message": message},
        ]
        # A busy machine may be late for the shorter wait, but hardly three times.
        for _ in range(3):
            it = Closing(byes)
            self.addCleanup(it.listener.close)
            talk = Program([interpreter(), TALK, f"ws://127.0.0.1:{it.port}/ws"])
            self.addCleanup(talk.kill)
            self.assertEqual(talk.process.wait(SOON_S), 1)
            first, second = it.times[1] - it.times[0], it.times[2] - it.times[1]
            self.assertGreaterEqual(first, 1.5)
            talk.readers[1].join(SOON_S)
            self.assertEqual(talk.err[2:], [f"ended: {message}"])
            if second < first:
                return
        self.assertLess(second, first)


class Vectors(unittest.TestCase):
    """The examples of tests/vectors, which every client follows."""

    @classmethod
    def setUpClass(cls):
        code = f"import json, sys; sys.path.insert(0, {str(TALK.parent)!r}); sys.dont_write_bytecode = True; import talk\n"
        code += "print(json.dumps([talk.delay_ms(*each) if isinstance(each, list) else talk.advice(each) for each in json.load(sys.stdin)]))"
        cls.code = code

    def answers(self, questions):
        out = subprocess.run([interpreter(), "-c", self.code], input=json.dumps(questions), capture_output=True, text=True, check=True)
        return json.loads(out.stdout)

    def test_waits_are_those_of_the_examples(self):
        cases = json.loads((ROOT / "tests/vectors/backoff.json").read_text())["cases"]
        self.assertGreater(len(cases), 5)
        waits = self.answers([[case["attempt"], case["random"], case.get("advised_ms")] for case in cases])
        self.assertEqual(waits, [case["wait_ms"] for case in cases])

    def test_close_codes_are_understood_as_in_the_examples(self):
        vectors = json.loads((ROOT / "tests/vectors/closes.json").read_text())
        cases = {case["code"]: case["client"] for case in vectors["cases"]}
        self.assertGreater(len(cases), 10)
        self.assertEqual(dict(zip(cases, self.answers(list(cases)))), cases)


if __name__ == "__main__":
    unittest.main()
