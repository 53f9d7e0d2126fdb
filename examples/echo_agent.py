#!/usr/bin/env python3
"""Answers every message of a channel, word by word: a backend of an assistant, without the model.

    python3 examples/echo_agent.py ws://127.0.0.1:8080/ws lobby [TOKEN]

It needs Python 3.9 and nothing else. The token needs the rights `subscribe`, `publish` and `stream` on the channel. Open the chat page in a
browser, write something, and press Escape to stop the answer. See docs/sdk.md for the same with the client library.

The rules that a producer follows are in `Answer`: a key for each answer, a position for each piece, and nothing is forgotten before the
gateway has stored it. So an answer survives a lost connection, and no word is lost or doubled.
"""

import asyncio
import base64
import json
import os
import ssl
import sys
from urllib.parse import urlsplit

WORD_S = 0.05
RETRY_S = 1.0


class Lost(Exception):
    """The connection has ended."""


class Socket:
    """A WebSocket (RFC 6455) that carries one JSON object a message."""

    @classmethod
    async def open(cls, url):
        parts = urlsplit(url)
        secure = ssl.create_default_context() if parts.scheme == "wss" else None
        port = parts.port or (443 if secure else 80)
        self = cls()
        self.reader, self.writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
        key = base64.b64encode(os.urandom(16)).decode()
        self.writer.write(
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.hostname}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: seawall.v1\r\n\r\n".encode()
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise Lost(head.split(b"\r\n")[0].decode())
        return self

    def send(self, value):
        self._frame(0x1, json.dumps(value, ensure_ascii=False).encode())

    def _frame(self, kind, payload):
        size = len(payload)
        if size < 126:
            head = bytes([0x80 | kind, 0x80 | size])
        elif size < 65536:
            head = bytes([0x80 | kind, 0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([0x80 | kind, 0x80 | 127]) + size.to_bytes(8, "big")
        mask = os.urandom(4)
        self.writer.write(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))

    async def receive(self):
        """Returns the next object. Answers pings meanwhile."""
        message = b""
        while True:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            payload = await self.reader.readexactly(size)
            kind = first & 0x0F
            if kind == 0x8:
                raise Lost(payload[2:].decode(errors="replace"))
            if kind == 0x9:
                self._frame(0xA, payload)
            elif kind in (0x0, 0x1):
                message += payload
                if first & 0x80:
                    return json.loads(message)


class Answer:
    """One answer, from the question until its end is stored."""

    def __init__(self, agent, question):
        self.agent, self.question = agent, question
        # The same words for the same question. A model's would have to be kept until they are stored.
        self.pieces = [word.encode() for word in split(f"You said: {question['data']['text']}")]
        self.offset, self.gen, self.next, self.cancelled = None, 1, 0, False

    async def run(self):
        """Writes the answer on this connection, from where the gateway has it."""
        agent, channel = self.agent, self.question["channel"]
        begun = await agent.ask("publish", {
            "channel": channel, "key": f"echo_{self.question['offset']}", "data": {"answers": self.question["offset"]},
            "stream": {"for": self.question["user"]},
        })
        stream = begun.get("published", {}).get("stream")
        if not stream or "state" in stream:
            # Refused, ended meanwhile, or a gateway without streams.
            print("no answer:", json.dumps(begun), flush=True)
            return
        self.offset, self.gen, self.next = begun["published"]["offset"], stream["gen"], stream["next"]
        place = {"channel": channel, "offset": self.offset, "gen": self.gen}
        at = 0
        for piece in self.pieces:
            if self.cancelled:
                break
            if at + len(piece) > self.next:
                # A part that is stored is dropped by the gateway.
                agent.socket.send({"append": {**place, "at": at, "text": piece.decode()}})
                await asyncio.sleep(WORD_S)
            at += len(piece)
        state = "cancelled" if self.cancelled else "completed"
        ended = await agent.ask("end", {**place, "at": max(at, self.next), "state": state})
        print(f"answer {self.offset}:", ended.get("ended", ended.get("error", {})).get("state", json.dumps(ended)), flush=True)


def split(text):
    """Cuts a text behind its spaces."""
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + words[-1:]


class Agent:
    """A connection to the gateway that is made again, and the answers that it carries."""

    def __init__(self, url, channel, token):
        self.url, self.channel, self.token = url, channel, token
        self.answers, self.cursor, self.user = {}, None, None
        self.socket, self.serial, self.replies = None, 0, {}

    async def ask(self, name, body):
        """Sends a command, and returns the frame with its reply."""
        self.serial += 1
        reply = self.replies[self.serial] = asyncio.get_running_loop().create_future()
        self.socket.send({"id": self.serial, name: body})
        return await reply

    async def run(self):
        while True:
            tasks = []
            try:
                self.socket = await Socket.open(self.url)
                tasks.append(asyncio.ensure_future(self.begin(tasks)))
                while True:
                    self.take(await self.socket.receive(), tasks)
            except (Lost, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                print("connection lost:", error, flush=True)
            for task in tasks:
                task.cancel()
            self.replies.clear()
            await asyncio.sleep(RETRY_S)

    async def begin(self, tasks):
        connected = await self.ask("connect", {"client": "echo-agent", **({"token": self.token} if self.token else {})})
        if "connected" not in connected:
            raise SystemExit(f"refused: {json.dumps(connected)}")
        self.user = connected["connected"]["user"]
        subscribed = await self.ask("subscribe", {"channel": self.channel, **({"recover": self.cursor} if self.cursor else {})})
        if "subscribed" not in subscribed:
            raise SystemExit(f"refused: {json.dumps(subscribed)}")
        print(f"answering #{self.channel} as {self.user}", flush=True)
        for answer in self.answers.values():
            tasks.append(asyncio.ensure_future(self.write(answer)))

    def take(self, frame, tasks):
        """Handles a reply or a push."""
        if "subscribed" in frame and (not self.cursor or self.cursor["epoch"] != frame["subscribed"]["epoch"]):
            self.cursor = {"epoch": frame["subscribed"]["epoch"], "offset": frame["subscribed"]["head"]}
        if "id" in frame:
            reply = self.replies.pop(frame["id"], None)
            if reply and not reply.done():
                reply.set_result(frame)
        elif "publication" in frame:
            self.publication(frame["publication"], tasks)
        elif "cancel" in frame:
            for answer in self.answers.values():
                answer.cancelled |= answer.offset == frame["cancel"]["offset"]

    def publication(self, one, tasks):
        if one["offset"] <= self.cursor["offset"]:
            return
        self.cursor["offset"] = one["offset"]
        is_message = not {"edits", "deletes", "deleted_by", "stream"} & one.keys()
        if is_message and isinstance(one["data"], dict) and isinstance(one["data"].get("text"), str):
            answer = self.answers[one["offset"]] = Answer(self, one)
            tasks.append(asyncio.ensure_future(self.write(answer)))

    async def write(self, answer):
        await answer.run()
        # It is stored as it is, or never will be.
        self.answers.pop(answer.question["offset"], None)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python3 echo_agent.py URL CHANNEL [TOKEN]")
    try:
        asyncio.run(Agent(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) == 4 else None).run())
    except KeyboardInterrupt:
        pass
