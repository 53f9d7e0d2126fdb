"""`tools/soak churn`: channels, keys and texts that come and go all the time. Does a table, a file or the memory only grow?

Every channel is used for half a second and never again, every publish has a new key, and every channel has an edit and a delete.
Retention is short. A key lives for eight days, so a trigger in the database under test dates each new one back until a minute
is left. Marked texts are deleted, or expire, and a minute later no file of the store may contain them.
"""

import base64
import errno
import json
import os
import pathlib
import re
import selectors
import socket
import sqlite3
import struct
import time

import rig
from watch import MIB, Scraper, Watch, thirds

CONNECTIONS = 8
PUBLISHES_PER_CHANNEL = 50
# A connection follows one of this many channels, so that some are removed after they had subscribers.
FOLLOWED_OF = 10
TICK_S = 0.05
RETENTION_S = 30
KEY_AGE_MS = 8 * 24 * 3600 * 1000
KEY_LEFT_MS = 60_000
# The rest of a minute's churn several times over: if channels were not removed, the bound would be reached in a quarter of an hour.
CHANNELS_MAX = 100_000
SETTINGS = {
    "SEAWALL_RETENTION_AGE_MS": str(RETENTION_S * 1000),
    "SEAWALL_LIMITS_CHANNELS": str(CHANNELS_MAX),
    "SEAWALL_LIMITS_PENDING": "4000",
}
# Shorter runs do not judge tables, files and memory: a channel is removed about three minutes after its last publish.
JUDGED_MINUTES = 10
TABLES = ("publications", "channels", "keys", "free_numbers")
TABLE_FACTOR = 1.2
WAL_MAX = 128 * MIB
TEXT_PERIOD_S = 2
TEXT_DELETED_AFTER_S = 3
TEXT_GONE_S = 60
TEXT_SIZES = (200, 3_000, 20_000, 60_000)
MARK = re.compile(rb"gone-([0-9a-f]{12})-(\d+)-")
# A machine that has other work answers so. The command is repeated with its key, and must succeed in the end.
BUSY = ("overloaded", "unconfirmed")
# The end of a subscription whose answer was one of these.
BUSY_FOLLOWER = (*BUSY, "not_subscribed")
# The base of removed channels moves in these steps. A follower in a channel without publications then gets `lag` (decision 22).
BASE_STEP = 65_536
RETRY_S = 0.5
PUBLISHED = re.compile(rb'^\{"id":(\d+),"published":\{.*"offset":(\d+)')


class Link:
    """A WebSocket connection that never blocks."""

    def __init__(self, target):
        host, port = re.search(r"ws://(.+):(\d+)/", target).groups()
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET /ws HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                             f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: seawall.v1\r\n\r\n").encode())
        received = b""
        while b"\r\n\r\n" not in received:
            more = self.socket.recv(4096)
            if not more:
                raise rig.Failure("the server ended a connection before it was upgraded")
            received += more
        self.received = received.partition(b"\r\n\r\n")[2]
        self.waiting = bytearray()
        self.socket.setblocking(False)
        self.send({"id": 1, "connect": {}})

    def send(self, command, opcode=1):
        data = command if isinstance(command, bytes) else json.dumps(command).encode()
        length = struct.pack(">B", 0x80 | len(data)) if len(data) < 126 else struct.pack(">BH", 0x80 | 126, len(data))
        # The mask may be zero.
        self.waiting += bytes([0x80 | opcode]) + length + b"\0\0\0\0" + data

    def flush(self):
        while self.waiting:
            try:
                sent = self.socket.send(self.waiting)
            except BlockingIOError:
                return
            del self.waiting[:sent]

    def frames(self):
        """The payloads of the text frames that have arrived. Answers pings."""
        try:
            more = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError as error:
            raise rig.Failure(f"a connection was lost: {errno.errorcode.get(error.errno, error)}") from None
        if not more:
            raise rig.Failure("the server closed a connection")
        data, at = self.received + more, 0
        while len(data) - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                if len(data) - at < 4:
                    break
                length, start = struct.unpack_from(">H", data, at + 2)[0], at + 4
            elif length == 127:
                if len(data) - at < 10:
                    break
                length, start = struct.unpack_from(">Q", data, at + 2)[0], at + 10
            if len(data) < start + length:
                break
            opcode, payload, at = data[at] & 15, data[start:start + length], start + length
            if opcode == 9:
                self.send(payload, opcode=10)
            elif opcode == 8:
                raise rig.Failure(f"the server closed a connection: {payload[2:].decode(errors='replace')}")
            elif opcode == 1:
                yield payload
        self.received = data[at:]


class Churn:
    """The load: one thread that publishes on schedule, whatever the answers take."""

    def __init__(self, target, rate):
        self.rate = self.asked = rate
        self.run = os.urandom(6).hex()
        self.links = [Link(target) for _ in range(CONNECTIONS)]
        self.follower = Link(target)
        self.poll = selectors.DefaultSelector()
        for link in [*self.links, self.follower]:
            self.poll.register(link.socket, selectors.EVENT_READ, link)
        self.numbers = 0
        self.id = 10
        self.sent = self.published = self.edits = self.deletes = 0
        self.errors = {}
        self.first_error = None
        # Times at which the follower learned that the base has moved.
        self.moved = 0
        # Answers that show nothing but load, by their code.
        self.busy = {}
        # Publishes without an answer, by their id: the link, the fields, and a function that takes the offset.
        self.open = {}
        # Publishes to be repeated: the moment, and the same.
        self.again = []
        self.texts = Texts(self)
        self.start = time.monotonic()

    def command(self, link, **command):
        self.id += 1
        link.send({"id": self.id, **command})

    def publish(self, link, then=None, **fields):
        self.sent += 1
        self.attempt(link, fields, then)

    def attempt(self, link, fields, then):
        self.command(link, publish=fields)
        self.open[self.id] = (link, fields, then)

    def repeat(self):
        now = time.monotonic()
        while self.again and self.again[0][0] <= now:
            self.attempt(*self.again.pop(0)[1])

    def next_publish(self):
        number, self.numbers = self.numbers, self.numbers + 1
        channel, place = divmod(number, PUBLISHES_PER_CHANNEL)
        link, name = self.links[channel % CONNECTIONS], f"churn.{channel}"
        if place == 0 and channel % FOLLOWED_OF == 0:
            self.follow(channel, name)

        def edit(offset):
            self.edits += 1
            self.publish(link, channel=name, edits=offset, key=f"{self.run}-{number}-e", data={"text": "edited"},
                         then=lambda _: self.delete(link, name, offset, f"{self.run}-{number}-d"))

        self.publish(link, channel=name, key=f"{self.run}-{number}", data={"n": number, "text": "The quick brown fox jumps over it."},
                     then=edit if place == 0 else None)

    def delete(self, link, channel, offset, key, then=None):
        self.deletes += 1
        self.publish(link, channel=channel, deletes=offset, key=key, then=then)

    def follow(self, channel, name):
        if channel:
            self.command(self.follower, unsubscribe={"channel": f"churn.{channel - FOLLOWED_OF}"})
        self.command(self.follower, subscribe={"channel": name})

    def turn(self):
        """Sends what is due and reads what has arrived, for one tick."""
        due = int((time.monotonic() - self.start) * self.rate) - self.sent
        for _ in range(min(due, int(self.rate))):
            self.next_publish()
        self.texts.turn()
        self.repeat()
        until = time.monotonic() + TICK_S
        while (left := until - time.monotonic()) > 0:
            for link in [*self.links, self.follower]:
                link.flush()
            for event, _ in self.poll.select(left):
                for payload in event.data.frames():
                    self.take(event.data, payload)

    def take(self, link, payload):
        if found := PUBLISHED.match(payload):
            self.published += 1
            _, _, then = self.open.pop(int(found.group(1)), (None, None, None))
            if then:
                then(int(found.group(2)))
        elif b'"error"' in payload[:40] or payload.startswith((b'{"bye"', b'{"lag"')):
            self.refused(link, payload)

    def refused(self, link, payload):
        answer = json.loads(payload)
        code = answer.get("error", {}).get("code", payload[:80].decode())
        publish = self.open.pop(answer.get("id"), None)
        lag = answer.get("lag")
        if lag and link is self.follower and lag["head"] // BASE_STEP > lag["from"] // BASE_STEP:
            self.moved += 1
            return
        is_busy = code in BUSY if publish else link is self.follower and code in BUSY_FOLLOWER
        counts = self.busy if is_busy else self.errors
        counts[code] = counts.get(code, 0) + 1
        if publish and is_busy:
            self.again.append((time.monotonic() + RETRY_S, publish))
        elif not is_busy:
            self.first_error = self.first_error or f"{payload[:200].decode()} after {time.monotonic() - self.start:.0f} s"

    def settle(self):
        """Waits for the answers to everything that was sent."""
        until = time.monotonic() + 30
        self.rate, self.texts.next = 0, until
        while (self.open or self.again) and time.monotonic() < until:
            self.turn()


class Texts:
    """Texts that must be in no file of the store a minute after they were deleted or expired."""

    def __init__(self, load):
        self.load = load
        self.run = load.run
        self.next = time.monotonic()
        self.count = 0
        self.deletes = []
        # number: the moment from which the text must not be in a file.
        self.gone = {}
        self.checked = 0
        self.left = []

    def turn(self):
        now = time.monotonic()
        while self.deletes and self.deletes[0][0] <= now:
            self.deletes.pop(0)[1]()
        if now < self.next:
            return
        self.next += TEXT_PERIOD_S
        number, self.count = self.count, self.count + 1
        link, channel = self.load.links[number % CONNECTIONS], f"texts.{number // 20}"
        # A key outlives its publication, so it must not contain the mark.
        mark, key = f"gone-{self.run}-{number}-", f"{self.run}-t{number}"
        text = mark * (TEXT_SIZES[number % len(TEXT_SIZES)] // len(mark))

        def expires(_offset):
            # Retention deletes what is due within some seconds.
            self.gone[number] = time.monotonic() + RETENTION_S + TEXT_GONE_S

        def is_deleted(_offset):
            self.gone[number] = time.monotonic() + TEXT_GONE_S

        def delete_later(offset):
            delete = lambda: self.load.delete(link, channel, offset, f"{key}-d", is_deleted)
            self.deletes.append((time.monotonic() + TEXT_DELETED_AFTER_S, delete))

        def edit(offset):
            self.load.publish(link, channel=channel, edits=offset, key=f"{key}-e", data=f"edited {mark}",
                              then=lambda _: delete_later(offset))

        self.load.publish(link, channel=channel, key=key, data=text, then=expires if number % 5 == 4 else edit)

    def search(self, folder):
        """Looks for the texts that should be gone. Returns the bytes of all files."""
        now = time.monotonic()
        due = {number for number, at in self.gone.items() if at <= now}
        found, size = {}, 0
        for path in sorted(folder.iterdir()):
            data = path.read_bytes()
            size += len(data)
            for run, number in MARK.findall(data):
                if run.decode() == self.run and int(number) in due:
                    found.setdefault(int(number), path.name)
        self.left += [f"{number} in {name}, {now - self.gone[number] + TEXT_GONE_S:.0f} s after it went" for number, name in found.items()]
        self.checked += len(due)
        for number in due:
            del self.gone[number]
        return size


def age_keys(database):
    """Leaves each new key a minute of its eight days."""
    with sqlite3.connect(database, timeout=10) as connection:
        connection.execute(f"""CREATE TRIGGER soak_ages_keys AFTER INSERT ON keys BEGIN
            UPDATE keys SET time = new.time - {KEY_AGE_MS - KEY_LEFT_MS}
            WHERE channel = new.channel AND user = new.user AND key = new.key; END""")
    connection.close()


def counts(database):
    """The rows of each table, from a reader that is gone at once: an open one would keep the write-ahead log."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
    finally:
        connection.close()


class Samples:
    """The figures over time."""

    HEAD = ("| minutes | publishes/s | publications | channels | keys | free numbers | file MiB | log MiB | memory MiB | deleted by retention | "
            "channels removed | keys forgotten |\n|---|---|---|---|---|---|---|---|---|---|---|---|")

    def __init__(self, server, load, period):
        self.watch, self.scraper, self.load = Watch(server, period), Scraper(server.target), load
        self.database = pathlib.Path(server.folder, "data", "seawall.db")
        self.rows = []

    def take(self):
        at, memory, _ = self.watch.look()
        page, log = self.scraper.scrape(), self.database.with_name("seawall.db-wal")
        row = counts(self.database) | {
            "at": at, "published": self.load.published, "memory": memory, "file": self.database.stat().st_size,
            "log": log.stat().st_size if log.exists() else 0, "expired": page["store_retention_deletes_total"],
            "removed": page["store_channels_removed_total"], "forgotten": page["store_keys_forgotten_total"],
        }
        self.rows.append(row)
        return row

    def line(self, row, before):
        rate = (row["published"] - before["published"]) / max(row["at"] - before["at"], 0.001)
        return (f"| {row['at'] / 60:.1f} | {rate:,.0f} | " + " | ".join(f"{row[table]:,}" for table in TABLES)
                + f" | {row['file'] / MIB:.0f} | {row['log'] / MIB:.0f} | {row['memory'] / MIB:.1f} | {row['expired']:,.0f} "
                  f"| {row['removed']:,.0f} | {row['forgotten']:,.0f} |")

    def flat(self, name, unit=1):
        """Compares the largest values, because a sweep lets a table grow until it comes around again."""
        second, third = thirds([(row["at"], row[name]) for row in self.rows], max)
        return (third <= TABLE_FACTOR * second,
                f"{name}: at most {second / unit:,.0f} in the second third, {third / unit:,.0f} in the last (bound × {TABLE_FACTOR})")


def verdicts(samples, load, seconds, is_judged):
    errors = sum(load.errors.values())
    answers = f"{load.published:,} of {load.sent:,} publishes, {load.edits:,} of them edits and {load.deletes:,} deletes"
    busy = f"; repeated or left out because the machine was busy: {json.dumps(load.busy)}" if load.busy else ""
    yield errors == 0 and load.published == load.sent, (
        f"answers: {answers}; " + (f"{json.dumps(load.errors)}, first {load.first_error}" if errors else "no error") + busy
        + (f"; {load.moved} moves of the base seen by a follower" if load.moved else ""))
    rate = load.published / seconds
    yield rate >= 0.98 * load.asked, f"rate: {rate:,.0f} publishes/s of {load.asked:,.0f}"
    texts = load.texts
    # The first is looked for after TEXT_DELETED_AFTER_S + TEXT_GONE_S.
    yield (texts.checked > 0 or seconds < 90) and not texts.left, (
        f"texts: {texts.checked} looked for {TEXT_GONE_S} s after they were deleted or expired; "
        + (f"{len(texts.left)} still in a file: {'; '.join(texts.left[:5])}" if texts.left else "none in a file"))
    log = max(row["log"] for row in samples.rows)
    yield log <= WAL_MAX, f"write-ahead log: at most {log / MIB:.0f} MiB (bound {WAL_MAX / MIB:.0f})"
    if is_judged:
        for table in ("publications", "channels", "keys"):
            yield samples.flat(table)
        yield samples.flat("file", MIB)
        yield samples.watch.memory()


def run(chosen, program, note):
    """Runs the load and prints the table and the verdicts. Returns true if all are good."""
    seconds = chosen.minutes * 60
    period = min(15.0, max(1.0, seconds / 60))
    shown_s = 300 if chosen.minutes >= 20 else seconds / 8
    with rig.Server(rig.seawall(program), chosen.disk, settings=SETTINGS) as server:
        folder = pathlib.Path(server.folder, "data")
        age_keys(folder / "seawall.db")
        load = Churn(server.target, chosen.rate)
        samples = Samples(server, load, period)
        shown = samples.take()
        print(Samples.HEAD, flush=True)
        next_sample, next_search = period, TEXT_GONE_S
        while (at := time.monotonic() - load.start) < seconds:
            load.turn()
            if at >= next_sample:
                next_sample += period
                row = samples.take()
                rig.say(f"{(seconds - at) / 60:.1f} min left")
                note(row="churn", **row)
                if row["at"] - shown["at"] >= shown_s - period / 2:
                    rig.say("")
                    print(samples.line(row, shown), flush=True)
                    shown = row
            if at >= next_search:
                next_search = at + TEXT_PERIOD_S * 5
                load.texts.search(folder)
        load.settle()
        results = list(verdicts(samples, load, seconds, chosen.minutes >= JUDGED_MINUTES))
    rig.say("")
    print()
    for good, text in results:
        print(f"{'ok' if good else 'NO'}  {text}")
    if chosen.minutes < JUDGED_MINUTES:
        print(f"–   tables, files and memory: not judged in less than {JUDGED_MINUTES} minutes")
    return all(good for good, _ in results)
