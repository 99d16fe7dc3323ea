"""The memory of Link when idle, with idle associations, and with very large objects.

Also the loop lag of the Cloud.
"""

import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench import ours
from bench.sets import fresh_uid
from bench.stream import Stream
from bench.table import Row, alone
from swallowtail.sim.installation import Installation

IDLE_AFTER: Final = 60.0
ASSOCIATIONS: Final = 20
WATCHED: Final = 20.0
GB: Final = 10**9
LARGE: Final = {"1 GB": GB, "4 GB": 4 * 2**30}  # beyond 32 bits


def measure(folder: Path, report: Callable[[str], None]) -> Iterator[Row]:
    """Return the rows; takes some three minutes."""
    site = ours.start(folder)
    try:
        report(f"footprint: idle for {IDLE_AFTER:g} s")
        time.sleep(IDLE_AFTER)
        idle = ours.resident(site.link.pid)
        yield alone(
            "link memory idle", idle, "MB", note="RSS, three listeners, 60 s after the start"
        )
        yield alone("cloud memory idle", ours.resident(site.cloud.pid), "MB")
        yield from _idle_associations(site, report)
        for name, size in LARGE.items():
            report(f"footprint: an object of {name}")
            yield from _large(site, name, size, idle)
    finally:
        site.stop()


def _idle_associations(site: Installation, report: Callable[[str], None]) -> Iterator[Row]:
    report(f"footprint: {ASSOCIATIONS} idle associations for {WATCHED:g} s")
    port, called = site.port("default"), site.called_ae("default")
    streams = [Stream(port, called) for _ in range(ASSOCIATIONS)]
    try:
        before, started = ours.cpu_seconds(site.link.pid), time.monotonic()
        time.sleep(WATCHED)
        spent = ours.cpu_seconds(site.link.pid) - before
        yield alone("link memory 20 idle associations", ours.resident(site.link.pid), "MB")
        yield alone(
            "link cpu 20 idle associations",
            100 * spent / (time.monotonic() - started),
            "% of a core",
        )
    finally:
        for stream in streams:
            stream.close()


def _large(site: Installation, name: str, size: int, idle: float) -> Iterator[Row]:
    pids = {"link": site.link.pid, "cloud": site.cloud.pid}
    for pid in pids.values():
        ours.reset_peak(pid)
    before = {role: ours.cpu_seconds(pid) for role, pid in pids.items()}
    stream, started = Stream(site.port("default"), site.called_ae("default")), time.monotonic()
    stream.store(fresh_uid(), size)
    seconds = time.monotonic() - started
    stream.close()
    yield alone(f"link memory {name}", ours.peak(pids["link"]), "MB", note="peak")
    yield alone(f"link memory {name} over idle", ours.peak(pids["link"]) - idle, "MB", note="peak")
    yield alone(f"cloud memory {name}", ours.peak(pids["cloud"]), "MB", note="peak")
    yield alone(f"store-in {name}", seconds, "s", note=f"{size / seconds / 1e6:.0f} MB/s")
    for role, pid in pids.items():
        yield alone(
            f"{role} cpu per GB, {name}", (ours.cpu_seconds(pid) - before[role]) / (size / GB), "s"
        )


def loop_lag(site: Installation) -> Iterator[Row]:
    """Return the loop lag of the Cloud since its start."""
    context = ssl.create_default_context(cafile=str(site.ca))
    with urllib.request.urlopen(f"{site.url}/metrics", context=context, timeout=10) as answer:
        text = answer.read().decode()
    worst = re.search(r"^swallowtail_loop_lag_worst_seconds ([0-9.e+-]+)$", text, re.MULTILINE)
    total = re.search(r"^swallowtail_loop_lag_seconds_count ([0-9.e+-]+)$", text, re.MULTILINE)
    late = re.search(
        r'^swallowtail_loop_lag_seconds_bucket\{le="0.01"\} ([0-9.e+-]+)$', text, re.MULTILINE
    )
    if worst is None or total is None or late is None:
        return
    yield alone(
        "cloud loop lag worst", 1000 * float(worst[1]), "ms", note="since the start, all sets"
    )
    yield alone(
        "cloud loop lag above 10 ms", 100 * (1 - float(late[1]) / float(total[1])), "% of the time"
    )
