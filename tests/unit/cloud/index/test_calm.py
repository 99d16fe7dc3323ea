"""When the index begins: once stores have paused, or once patience has ended.

On the simulated clock.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from swallowtail.cloud.bus.in_process import InProcessBus
from swallowtail.cloud.index.indexer import BATCH, PATIENCE, QUIET, TOPIC, Indexer
from tests.world.loop import WorldLoop


class Jobs:
    """Jobs that only count: `waiting` of them, and when each batch was claimed."""

    def __init__(self) -> None:
        self.waiting = 0
        self.claims: list[tuple[float, int]] = []

    async def claim(self, count: int, *, now: float, until: float) -> list[Any]:
        taken = min(count, self.waiting)
        self.waiting -= taken
        if taken:
            self.claims.append((now, taken))
        return [object()] * taken

    async def settle(self, outcomes: Sequence[Any], *, now: float) -> None:
        """Nothing to keep."""


class Parser:
    """Takes a millisecond a job."""

    async def parse(self, job: object) -> object:
        await asyncio.sleep(0.001)
        return job


def indexed(count: int, every: float, watch: float) -> list[tuple[float, int]]:
    """Store `count` instances, one `every` so many seconds.

    Give when how many were claimed until `watch`.
    """
    loop, jobs, bus = WorldLoop(), Jobs(), InProcessBus()

    async def stores() -> None:
        for _ in range(count):
            jobs.waiting += 1
            bus.publish(TOPIC)
            await asyncio.sleep(every)

    async def scene() -> None:
        indexer: Any = Indexer(jobs, Parser(), bus, clock=loop.time)  # type: ignore[arg-type]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(watch), asyncio.TaskGroup() as group:
                group.create_task(indexer.run())
                await asyncio.sleep(1.0)
                group.create_task(stores())

    loop.run(scene())
    return jobs.claims


def test_one_store_is_indexed_soon() -> None:
    ((moment, count),) = indexed(1, 0.0, 10.0)
    assert count == 1
    assert QUIET <= moment - 1.0 <= 1.5 * QUIET


def test_a_study_that_arrives_is_indexed_when_it_has_arrived() -> None:
    claims = indexed(200, 0.01, 20.0)
    assert claims[0][0] >= 1.0 + 199 * 0.01 + QUIET / 2, "not while its instances follow each other"
    assert claims[-1][0] <= 1.0 + 2.0 + 2 * QUIET, "and all of it then, batch after batch"
    assert [count for _, count in claims] == [BATCH] * (200 // BATCH) + [200 % BATCH]


@pytest.mark.parametrize("every", [0.005, 0.1, QUIET / 2])
def test_stores_without_a_pause_are_indexed_beside_them(every: float) -> None:
    claims = indexed(int(60 / every), every, 55.0)
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(claims)]
    assert claims[0][0] <= 1.0 + PATIENCE + QUIET
    assert max(gaps) <= PATIENCE + QUIET
    assert sum(count for _, count in claims) >= (54.0 - PATIENCE - QUIET) / every - BATCH
