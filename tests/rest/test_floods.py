"""Hostile clients at a real Cloud's port: its memory, its event loop, and a Link that stores meanwhile."""

import asyncio
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from swallowtail.calls.store import Committed
from tests.modes import amount
from tests.programs import quiet
from tests.rest.hostile import KINDS, attacking
from tests.rest.served import CloudProcess, WireLink, hospital

CLIENTS = 40
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

    def memory(self, field: str) -> float:
        status = (self.process / "status").read_text()
        found = re.search(rf"{field}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def late(self) -> int:
        """Return how often the loop was later than it may be, since the start of the Cloud."""
        bound = MAX_LAG if SECONDS > 10 else LAG_IN_CI
        metrics = self.cloud.api().http.get("/metrics").text
        counts = re.findall(r'^swallowtail_loop_lag_seconds_bucket\{le="(.+)"\} (.+)$', metrics, re.MULTILINE)
        at_most = {float(limit): float(count) for limit, count in counts}
        return int(at_most[float("inf")] - at_most[bound])

    async def attacked(self, kind: str, seconds: float, clients: int) -> Measured:
        """Store during an attack."""
        (self.process / "clear_refs").write_text("5")  # the peak is now the present (proc(5))
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
    undisturbed = await watched.store_for(SECONDS / 3)
    measured = await watched.attacked(kind, SECONDS, CLIENTS)
    assert measured.growth <= MAX_GROWTH
    assert measured.late == 0
    if SECONDS > 10:
        assert _p99(measured.seconds) <= 3 * _p99(undisturbed)


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]
