"""A producer of streams over `seawall.v1`, for the examples in this folder. Python 3.9 and nothing else.

    out = await Producer.begin(url, "lobby", "run_81", {"agent": "triage"}, token)
    await out.write("Hello")
    await out.event("tool_executing", {"tool_name": "search"})
    await out.end("completed")

It keeps what is not stored yet. After a lost connection it begins the stream again with its key, and the reply says where to continue, so
nothing is lost or doubled. `out.cancelled` is set when a reader stopped the stream.
"""

import asyncio
import contextlib
import json
import sys

from echo_agent import Lost, Socket

RETRY_S = 1.0
# As many bytes as the gateway takes of a stream before it stores them.
WINDOW = 65_536


class Ended(Exception):
    """The stream takes nothing more. The argument is the gateway's reason: `ended`, or an error."""


class Producer:
    @classmethod
    async def begin(cls, url, channel, key, data, token=None, user=None):
        """Begins the stream, or continues it. `user` may stop it."""
        self = cls()
        self.url, self.hello = url, {"client": "producer.py", **({"token": token} if token else {})}
        self.command = {"channel": channel, "key": key, "data": data, "stream": {"for": user} if user else {}}
        self.pieces, self.next, self.stored = [], 0, 0
        self.socket, self.place, self.is_joined = None, None, False
        self.cancelled, self.finish, self.over = asyncio.Event(), None, None
        self.changed = asyncio.Event()
        self.task = asyncio.ensure_future(self._run())
        await self._until(lambda: self.place)
        return self

    async def write(self, text):
        await self._add({"text": text}, len(text.encode()))

    async def event(self, kind, data):
        await self._add({"event": {"type": kind, "data": data}}, 1)

    def alive(self):
        """Says that the run goes on although there is no text."""
        self._append({"at": self.next})

    async def end(self, state, data=None):
        """Ends the stream behind all that was written. Returns the state in which it ended, or the code of an error."""
        # Without data, the message becomes the text and the data of the begin.
        self.finish = {"state": state} if data is None else {"state": state, "data": data}
        self._end()
        with contextlib.suppress(Ended):
            await self._until(lambda: False)
        self.task.cancel()
        return self.over.get("state", self.over.get("code"))

    async def _add(self, body, size):
        piece = {"at": self.next, **body}
        self.next += size
        self.pieces.append((self.next, piece))
        self._append(piece)
        # The gateway is behind: the model waits.
        await self._until(lambda: self.next - self.stored < WINDOW)

    async def _until(self, holds):
        while not self.over and not holds():
            self.changed.clear()
            await self.changed.wait()
        if self.over:
            raise Ended(self.over)

    def _append(self, piece):
        if self.is_joined:
            self.socket.send({"append": {**self.place, **piece}})

    def _end(self):
        if self.is_joined and self.finish:
            self.socket.send({"id": 3, "end": {**self.place, "at": self.next, **self.finish}})

    async def _run(self):
        """Keeps a connection until the stream has ended."""
        while not self.over:
            try:
                self.socket = await Socket.open(self.url)
                self.socket.send({"id": 1, "connect": self.hello})
                self.socket.send({"id": 2, "publish": self.command})
                while not self.over:
                    self._take(await self.socket.receive())
                    self.changed.set()
            except (Lost, OSError, EOFError) as error:
                print("connection lost:", error, file=sys.stderr, flush=True)
                self.is_joined = False
                await asyncio.sleep(RETRY_S)
            finally:
                if self.socket:
                    self.socket.writer.close()

    def _take(self, frame):
        error = frame.get("error")
        if frame.get("id") == 2 and not error:
            self._join(frame["published"])
        elif "restarted" in frame:
            self._join({**frame["restarted"], "stream": frame["restarted"]})
        elif "ended" in frame:
            self.over = frame["ended"]
        elif "appended" in frame and frame["appended"]["gen"] == self.place["gen"]:
            self._store(frame["appended"]["next"])
        elif "cancel" in frame:
            self.cancelled.set()
        elif error and ("retry_ms" in error or error["code"] == "gap"):
            raise Lost(error["code"])
        elif error:
            self.over = error

    def _join(self, begun):
        """Continues from where the store is."""
        stream = begun.get("stream", {"code": "a gateway without streams"})
        if "next" not in stream or "state" in stream:
            self.over = stream
            return
        if not self.place and stream["next"] > 0:
            # Another process had begun this run. The model was asked again since, so its text starts over.
            self.socket.send({"id": 4, "restart": {"channel": begun["channel"], "offset": begun["offset"]}})
            return
        self.place = {"channel": begun["channel"], "offset": begun["offset"], "gen": stream["gen"]}
        self.is_joined = True
        self._store(stream["next"])
        self.next = max(self.next, stream["next"])
        for _, piece in self.pieces:
            self._append(piece)
        self._end()

    def _store(self, position):
        self.stored = max(self.stored, position)
        self.pieces = [(end, piece) for end, piece in self.pieces if end > self.stored]


async def events_of_input(out):
    """Yields the server-sent events that are piped into the program, until the stream is stopped."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    stop = asyncio.ensure_future(out.cancelled.wait())
    while True:
        line = asyncio.ensure_future(reader.readline())
        await asyncio.wait({line, stop}, return_when=asyncio.FIRST_COMPLETED)
        if stop.done() or line.result() == b"":
            line.cancel()
            return
        if line.result().startswith(b"data:"):
            yield json.loads(line.result()[5:])


async def show_input(show, out):
    """Shows the events of the input, each with `show`, which returns the state of the end for the last one. Returns how the stream ended."""
    state = None
    with contextlib.suppress(Ended):
        async for event in events_of_input(out):
            state = await show(event, out)
            if state:
                break
    # An input that breaks off is a model that failed.
    return await out.end(state or ("cancelled" if out.cancelled.is_set() else "failed"))
