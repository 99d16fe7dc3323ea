"""Hostile clients at a real Cloud's port.

Its memory, its event loop, and a Link that stores meanwhile.
"""

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from swallowtail.calls.codec import encode
from swallowtail.calls.store import STORE, Committed
from swallowtail.wire.frames import HEADER, ChannelPriority, FrameType
from swallowtail.wire.plain_frames import plain_head
from swallowtail.wire.websocket import WebSocketTransport
from tests.modes import amount
from tests.programs import quiet
from tests.rest.hostile import CHUNK, KINDS, MASK, attacking
from tests.rest.served import CloudProcess, WireLink, hospital, store_request

CLIENTS = 40
HOSTILE_LINKS = 5
SECONDS = amount(1, 30)
MAX_GROWTH = 20.0
"""Megabytes."""
MAX_LAG = 0.05
LAG_IN_CI = 2.0
"""The machine of a fast test also runs the clients, and other tests beside them."""


@dataclass
class Measured:
    """What the Cloud was like for a while."""

    growth: float
    """Megabytes that the peak of its memory rose by."""
    late: int
    """How often its loop was later than allowed."""
    seconds: list[float]
    """How long each store took."""


class Watched:
    """A Cloud with a Link that stores, and what is measured of both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cloud = CloudProcess(folder / "data")
        _, link = hospital(self.cloud, "floods")
        self.link = WireLink(self.cloud.url, self.cloud.ca, link["code"])
        self.process = Path(f"/proc/{self.cloud.program.pid}")

    async def store_for(self, seconds: float) -> list[float]:
        """Store small instances on one session; returns how long each took."""
        taken: list[float] = []
        end = time.monotonic() + seconds
        async with self.link.connected() as session:
            while (began := time.monotonic()) < end:
                uid = f"1.2.{secrets.randbelow(10**12)}"
                answer = await self.link.store(session, uid, secrets.token_bytes(50_000))
                assert isinstance(answer, Committed)
                taken.append(time.monotonic() - began)
        return taken

    def forget_peak(self) -> None:
        """Make the present memory the peak (proc(5))."""
        (self.process / "clear_refs").write_text("5")

    def memory(self, field: str) -> float:
        status = (self.process / "status").read_text()
        found = re.search(rf"{field}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def late(self) -> int:
        """Return how often the loop was later than it may be, since the start of the Cloud."""
        bound = MAX_LAG if SECONDS > 10 else LAG_IN_CI
        metrics = self.cloud.api().http.get("/metrics").text
        counts = re.findall(
            r'^swallowtail_loop_lag_seconds_bucket\{le="(.+)"\} (.+)$', metrics, re.MULTILINE
        )
        at_most = {float(limit): float(count) for limit, count in counts}
        return int(at_most[float("inf")] - at_most[bound])

    async def attacked(self, kind: str, seconds: float, clients: int) -> Measured:
        """Store during an attack."""
        self.forget_peak()
        before, late = self.memory("VmRSS"), self.late()
        where = {"url": self.cloud.url, "ca": self.cloud.ca}
        with attacking(self.folder, kind, **where, count=clients, seconds=seconds) as ended:
            taken = await self.store_for(seconds)
            done = await asyncio.to_thread(ended)
        assert done["connections"] >= clients
        return Measured(self.memory("VmHWM") - before, self.late() - late, taken)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    made = Watched(tmp_path_factory.mktemp("floods"))
    yield made
    assert made.cloud.stop() == 0
    quiet(made.cloud.log)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_flood_before_the_hello_costs_little(watched: Watched, kind: str) -> None:
    undisturbed = await watched.store_for(
        SECONDS
    )  # as long: what stores alone add to the caches is no growth by the flood
    measured = await watched.attacked(kind, SECONDS, CLIENTS)
    assert measured.growth <= MAX_GROWTH
    assert measured.late == 0
    if SECONDS > 10:
        assert _p99(measured.seconds) <= 3 * _p99(undisturbed)


AFTER_HELLO = {
    "one-byte data": lambda number: masked(HEADER.pack(FrameType.DATA, 0, 0, number) + b"x"),
    "fragments": lambda _: b"\x00\x80" + MASK,
    "pings": lambda _: b"\x89\x80" + MASK,
    "unknown types": lambda _: masked(HEADER.pack(99, 0, 0, 0)),
    "no frames": lambda _: masked(b"x"),
}
"""What Links with a good code send: by the number of a channel that is open."""


def masked(message: bytes) -> bytes:
    return plain_head(len(message), MASK) + message


async def flood(link: WireLink, kind: str, end: float) -> None:
    """Send, as an accepted Link, what no Link sends, until the Cloud closes the connection."""
    async with link.connected() as session:
        channel = await session.open(STORE, encode(store_request("1.2.3")), ChannelPriority.BULK)
        await session.echo()
        assert isinstance(session._transport, WebSocketTransport)
        connection = session._transport._connection
        connection.transport.write(b"\x02\x80" + MASK if kind == "fragments" else b"")
        piece = AFTER_HELLO[kind](channel.machine.number)
        while time.monotonic() < end and not session.closed.done():
            connection.transport.write(piece * (CHUNK // len(piece)))
            await asyncio.sleep(0)  # a loss is reported in another turn
            if connection.paused and not connection.transport.is_closing():
                with contextlib.suppress(OSError, ConnectionClosed):
                    async with asyncio.timeout_at(
                        end - time.monotonic() + asyncio.get_running_loop().time()
                    ):
                        await connection.drain()
        connection.transport.abort()


@pytest.mark.parametrize("kind", AFTER_HELLO)
async def test_a_flood_after_the_hello_costs_little(watched: Watched, kind: str) -> None:
    links = [
        hospital(watched.cloud, f"{kind.replace(' ', '-')}-{number}")[1]
        for number in range(HOSTILE_LINKS)
    ]
    hostile = [WireLink(watched.cloud.url, watched.cloud.ca, link["code"]) for link in links]
    end = time.monotonic() + SECONDS
    watched.forget_peak()
    before, late = watched.memory("VmRSS"), watched.late()
    async with asyncio.TaskGroup() as attack:
        for one in hostile:
            attack.create_task(flood(one, kind, end))
        await watched.store_for(SECONDS)
    assert watched.memory("VmHWM") - before <= MAX_GROWTH
    assert watched.late() == late


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]
