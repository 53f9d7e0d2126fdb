"""Shared by the kinds of tools/soak: samples a server, and judges whether something still grows."""

import os
import pathlib
import re
import socket
import statistics
import time

import rig

MIB = 1 << 20
# Shorter runs do not judge what needs time to settle.
JUDGED_MINUTES = 5
GROWTH_KIB_PER_MIN = 64
GROWTH_FACTOR = 1.05
IDLE_S = 15


class Watch:
    """Samples the server's anonymous memory and descriptors every few seconds."""

    def __init__(self, server, period):
        self.folder = pathlib.Path(f"/proc/{server.pid}")
        self.data = os.path.realpath(server.folder)
        self.period = period
        self.start = time.monotonic()
        self.samples = []

    def descriptors(self):
        return len(os.listdir(self.folder / "fd"))

    def kinds(self):
        """The numbers of the store's descriptors and of all others."""
        links = []
        for entry in (self.folder / "fd").iterdir():
            try:
                links.append(os.readlink(entry))
            except OSError:
                pass  # Closed since the folder was listed.
        store = sum(link.startswith(self.data) for link in links)
        return store, len(links) - store

    def settled(self, before):
        """The same, once the server has closed the connection of the latest scrape."""
        until = time.monotonic() + IDLE_S
        while (kinds := self.kinds())[1] > before[1] and time.monotonic() < until:
            time.sleep(0.1)
        return kinds

    def look(self):
        try:
            memory = (self.folder / "smaps_rollup").read_text()
            anonymous = int(re.search(r"Anonymous:\s+(\d+)", memory).group(1)) << 10
            sample = (time.monotonic() - self.start, anonymous, self.descriptors())
        except (OSError, AttributeError):
            raise rig.Failure("the server is gone") from None
        self.samples.append(sample)
        return sample

    def memory(self):
        """Judges the last two thirds, when caches and tails are full. Returns a verdict and its text."""
        sizes = [(at, size) for at, size, _ in self.samples]
        slope = per_minute(sizes) / 1024
        second, third = thirds(sizes)
        return (slope <= GROWTH_KIB_PER_MIN and third <= GROWTH_FACTOR * second,
                f"memory: {slope:+.1f} KiB/min over the last two thirds (bound {GROWTH_KIB_PER_MIN}), median of the last third "
                f"{third / MIB:.1f} MiB, {third / second:.3f} of the second (bound {GROWTH_FACTOR})")


def per_minute(values):
    """The slope of a line through the last two thirds of (second, value) pairs, per minute."""
    end = values[-1][0]
    late = [(at / 60, value) for at, value in values if at > end / 3]
    return statistics.linear_regression([at for at, _ in late], [value for _, value in late]).slope


def thirds(values, of=statistics.median):
    """The medians, or another figure, of the second and of the last third of (second, value) pairs."""
    end = values[-1][0]
    second = of([value for at, value in values if end / 3 < at <= end * 2 / 3])
    return second, of([value for at, value in values if at > end * 2 / 3])


class Scraper:
    """Reads /metrics with one connection per scrape, and tracks what the scrapes add to the counters."""

    REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    def __init__(self, target):
        host, port = re.search(r"ws://(.+):(\d+)/", target).groups()
        self.address = (host.strip("[]"), int(port))
        self.looks = 0
        self.bytes = 0
        # Without the latest answer, because its own counters cannot include its length.
        self.bytes_before = 0

    def scrape(self):
        with socket.create_connection(self.address, timeout=10) as connection:
            connection.sendall(self.REQUEST)
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        self.looks += 1
        self.bytes_before, self.bytes = self.bytes, self.bytes + len(answer)
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.splitlines()[0]:
            raise rig.Failure(f"/metrics: {head.splitlines()[0].decode()}")
        pairs = (line.rsplit(" ", 1) for line in body.decode().splitlines() if line and not line.startswith("#"))
        page = {name.removeprefix("seawall_"): float(value) for name, value in pairs}
        refused = (value for name, value in page.items() if name.startswith("http_refused_total{"))
        return page | {"http_refused_total": sum(refused)}

    def idle(self):
        """The page once only the scraper is connected, or the latest one after a timeout."""
        until = time.monotonic() + IDLE_S
        while True:
            time.sleep(0.5)
            page = self.scrape()
            if page["connections"] <= 1 or time.monotonic() > until:
                return page
