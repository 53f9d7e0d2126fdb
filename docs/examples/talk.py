#!/usr/bin/env python3
"""Talks in a channel: prints what is published there, and publishes each line of stdin. Outages and restarts cost time, but no message.

    talk.py [URL [CHANNEL]]        default: ws://127.0.0.1:8080/ws lobby

A token, if the gateway wants one, is in CHAT_TOKEN. Messages are printed to stdout, everything else to stderr. At the end of stdin it
ends once all lines are stored. The exit code is 0, or 1 if the gateway ended the connection for good.

Needs Python 3.9 and websockets 10 or later (Debian: python3-websockets).
"""

import asyncio
import collections
import contextlib
import json
import os
import random
import sys
import threading
import time
import uuid

import websockets

LAST = 10  # the newest publications that are printed at the start
PAGE = 300  # publications of a page of history: the protocol's maximum
ANSWER_S = 10  # the gateway promises a reply within 5 s
REFUSAL_S = 30  # a refused token is tried again for this time, because the gateway's keys or a clock may be late


def delay_ms(attempt, drawn, advised_ms=None):
    """The wait before an attempt, counted from 0. `drawn` is from [0, 1)."""
    wait = advised_ms if advised_ms is not None else int(drawn * min(15_000, 500 * 2 ** min(attempt, 10)))
    return min(max(100, wait), 3_600_000)


def advice(code):
    """What to do after a close: `stop`, `return`, `patient` (return, and count two attempts) or `fresh_token` (try for a while)."""
    if code in (4501, 1013):
        return "fresh_token" if code == 4501 else "patient"
    return "stop" if code in (1000, 1002, 1007, 1009) or 4500 <= code < 5000 else "return"


def note(text):
    print(text, file=sys.stderr, flush=True)


class Refused(Exception):
    """An error that answered a command."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.code, self.retry_ms = error["code"], error.get("retry_ms")


class Talk:
    """What outlives a connection: the position in the log, and the lines that are not known to be stored."""

    def __init__(self, channel):
        self.channel = channel
        self.epoch, self.offset = None, 0  # everything up to this offset was printed
        self.lines = collections.deque()  # (key, text): a line keeps its key, so that it is stored once however often it is sent
        self.typed = asyncio.Event()  # set if there may be something to do: a line, or the end of stdin
        self.is_over = False  # stdin has ended

    def read_stdin(self, loop):
        # Not sys.stdin, which the interpreter could not close at its end while this thread waits in it.
        for line in open(0, closefd=False):
            loop.call_soon_threadsafe(self.line, line.rstrip("\n"))
        loop.call_soon_threadsafe(self.line, None)

    def line(self, text):
        if text is None:
            self.is_over = True
        elif text:
            self.lines.append((str(uuid.uuid4()), text))
        self.typed.set()

    def show(self, publication):
        """Prints the next publication. Returns False for one that is not the next."""
        if publication["offset"] != self.offset + 1:
            return False
        self.offset += 1
        user, data = publication["user"], publication["data"]
        text = data["text"] if isinstance(data, dict) and isinstance(data.get("text"), str) else json.dumps(data)
        if "deleted_by" in publication or "deletes" in publication:
            text = "(deleted)" if "deleted_by" in publication else f"(deletes {publication['deletes']})"
        elif "edits" in publication:
            text = f"(edits {publication['edits']}) {text}"
        print(f"{user}: {text}", flush=True)
        return True

    def start(self, epoch, floor, head, is_other=False):
        """Continues in this log. Publications below its floor are gone."""
        if self.epoch is None:
            self.offset = max(head - LAST, floor - 1)
        elif epoch != self.epoch or is_other:
            note("the channel has a new log: earlier messages may be gone")
            self.offset = floor - 1
        elif floor > self.offset + 1:
            note(f"{floor - 1 - self.offset} messages are no longer stored")
            self.offset = floor - 1
        self.epoch = epoch


class Session:
    """One connection, from `connect` to its end."""

    def __init__(self, talk, socket):
        self.talk, self.socket = talk, socket
        self.bye = {}
        self.stable_at = float("inf")  # from this time on the next attempt is the first again
        self.silence_s = ANSWER_S
        self.heard = 0  # the highest offset known to exist
        self.is_replaying = True  # between `subscribed` and `synced`
        self.missing = asyncio.Event()  # set if there may be something to read from history
        self.replies, self.last_id = {}, 0

    async def ask(self, command, body):
        self.last_id += 1
        reply = self.replies[self.last_id] = asyncio.get_running_loop().create_future()
        # `receive` notices the end of the connection, once it has read the `bye` before it.
        with contextlib.suppress(websockets.ConnectionClosed):
            await self.socket.send(json.dumps({"id": self.last_id, command: body}))
        frame = await asyncio.wait_for(reply, ANSWER_S)
        if "error" in frame:
            raise Refused(frame["error"])
        return frame

    async def run(self):
        """Returns once stdin has ended and all its lines are stored. Raises an exception when the connection ends."""
        tasks = [asyncio.ensure_future(one) for one in (self.receive(), self.fill(), self.send())]
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def send(self):
        """Connects, subscribes, and publishes what is typed."""
        talk = self.talk
        connect = {"client": "talk.py/1"}
        if "CHAT_TOKEN" in os.environ:
            connect["token"] = os.environ["CHAT_TOKEN"]
        connected = (await self.ask("connect", connect))["connected"]
        self.silence_s = 2 * connected["ping_ms"] / 1000
        self.stable_at = time.monotonic() + connected["stable_ms"] / 1000
        start = {"last": LAST} if talk.epoch is None else {"recover": {"epoch": talk.epoch, "offset": talk.offset}}
        await self.patiently("subscribe", {"channel": talk.channel, **start})
        note(f"online as {connected['user']}")
        while True:
            while talk.lines:
                await self.publish(*talk.lines[0])
            if talk.is_over:
                return
            talk.typed.clear()
            await talk.typed.wait()

    async def publish(self, key, text):
        """Publishes the first line. It stays the first until the gateway has stored it, or has refused it for good."""
        try:
            await self.patiently("publish", {"channel": self.talk.channel, "key": key, "data": {"text": text}})
        except Refused as error:
            note(f"not sent: {text}: {error}")
        self.talk.lines.popleft()

    async def patiently(self, command, body):
        """Asks again as long as the answer is that it may work later."""
        while True:
            try:
                return await self.ask(command, body)
            except Refused as error:
                if error.retry_ms is None:
                    raise
                await asyncio.sleep(max(100, error.retry_ms) / 1000)

    async def receive(self):
        while True:
            frame = json.loads(await asyncio.wait_for(self.socket.recv(), self.silence_s))
            self.take(frame)
            reply = self.replies.pop(frame.get("id"), None)
            if reply and not reply.done():
                reply.set_result(frame)

    def take(self, frame):
        """Applies a frame. A `subscribed` too, because the publications that follow it count from there."""
        talk = self.talk
        if "subscribed" in frame:
            start = frame["subscribed"]
            talk.start(start["epoch"], start["floor"], start["head"], start.get("because") == "epoch_changed")
        if "publication" in frame and not talk.show(frame["publication"]):
            self.heard = max(self.heard, frame["publication"]["offset"])
        if "synced" in frame:
            self.is_replaying = False
        heads = [frame["synced"]["offset"]] if "synced" in frame else [frame["lag"]["head"]] if "lag" in frame else []
        self.heard = max(self.heard, *heads, *frame.get("beat", {}).get("heads", {}).values(), 0)
        if self.heard > talk.offset and not self.is_replaying:
            self.missing.set()
        if "unsubscribed" in frame:
            note("this user may no longer read the channel")
        if "drain" in frame:
            note("the gateway is about to restart")
            asyncio.get_running_loop().call_later(frame["drain"]["slot_ms"] / 1000, lambda: asyncio.ensure_future(self.socket.close(1001)))
        self.bye = frame.get("bye", self.bye)

    async def fill(self):
        """Reads what is missing from history, page by page."""
        talk = self.talk
        while True:
            while self.heard <= talk.offset or self.is_replaying:
                self.missing.clear()
                await self.missing.wait()
            heard, offset = self.heard, talk.offset
            page = (await self.patiently("history", {"channel": talk.channel, "after": offset, "limit": PAGE}))["history"]
            talk.start(page["epoch"], page["floor"], page["head"])
            for publication in page["publications"]:
                talk.show(publication)
            if page["head"] <= talk.offset and self.heard == heard:
                self.heard = talk.offset
            elif talk.offset == offset:
                await asyncio.sleep(1)


async def once(talk, url):
    """Connects once. Returns the session, the close code and the cause; the code is None once everything is done."""
    session = None
    try:
        # The gateway pings, and its silence is noticed in `receive`.
        async with websockets.connect(url, subprotocols=["seawall.v1"], ping_interval=None, max_size=None, close_timeout=1) as socket:
            session = Session(talk, socket)
            await session.run()
            return session, None, ""
    except websockets.ConnectionClosed as closed:
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "the connection was lost")
        bye = session.bye if session else {}
        return session, bye.get("code", code), bye.get("message") or bye.get("reason") or reason or f"close code {code}"
    except Refused as error:
        return session, 4500 if error.retry_ms is None else 1013, str(error)
    except asyncio.TimeoutError:
        return session, 1006, "the gateway did not answer"
    except (OSError, websockets.InvalidHandshake) as error:
        return session, 1006, str(error)


async def main(url="ws://127.0.0.1:8080/ws", channel="lobby"):
    talk = Talk(channel)
    threading.Thread(target=talk.read_stdin, args=[asyncio.get_running_loop()], daemon=True).start()
    attempt, refused_at = 0, None
    while True:
        session, code, why = await once(talk, url)
        if code is None:
            return 0
        if session and time.monotonic() >= session.stable_at:
            attempt, refused_at = 0, None
        what = advice(code)
        if what == "fresh_token":
            refused_at = refused_at or time.monotonic()
        if what == "stop" or (refused_at and what == "fresh_token" and time.monotonic() - refused_at >= REFUSAL_S):
            note(f"ended: {why}")
            return 1
        wait = delay_ms(attempt, random.random(), session.bye.get("retry_ms") if session else None)
        note(f"offline: {why}; trying again in {wait} ms")
        await asyncio.sleep(wait / 1000)
        attempt += 2 if what == "patient" else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(*sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
