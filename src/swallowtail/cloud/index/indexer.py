"""Claims jobs, has them parsed, settles them: batch after batch while there are some, then asleep until something is stored."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from swallowtail.cloud.index.pool import Parser
from swallowtail.cloud.model.errors import CloudError, StorageUnavailableError
from swallowtail.cloud.model.indexing import IndexOutcome, Quarantined
from swallowtail.cloud.model.ports import Bus, Clock, IndexJobs

TOPIC: Final = "index"
"""Publish it after a store (`model.ports.Bus`)."""
BATCH: Final = 32
LEASE: Final = 300.0
"""Seconds that a claim holds: longer than a batch of the slowest objects, since no other node may take it meanwhile."""
GATHER: Final = 0.2
"""Seconds after a wake-up in which more may come: a batch costs two commits, which would otherwise compete with every store's."""
IDLE: Final = 15.0
"""A wake-up may be lost, so it looks by itself this often; also the pause after a failure of the storage."""

log = structlog.get_logger()


class Indexer:
    """Keeps the index up with what is stored; run one per node."""

    def __init__(
        self,
        jobs: IndexJobs,
        parser: Parser,
        bus: Bus,
        *,
        clock: Clock,
        gather: float = GATHER,
        on_settled: Callable[[], None] = lambda: None,
    ) -> None:
        self._jobs = jobs
        self._parser = parser
        self._bus = bus
        self._clock = clock
        self._gather = gather
        self._on_settled = on_settled

    async def run(self) -> None:
        """Index until cancelled."""
        subscription = self._bus.subscribe(TOPIC)
        try:
            while True:
                if await self._step_safely() < BATCH:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(IDLE):
                            await subscription.wait()
                    await asyncio.sleep(self._gather)
        finally:
            subscription.close()

    async def step(self) -> int:
        """Index one batch; gives how many jobs that was."""
        now = self._clock()
        jobs = await self._jobs.claim(BATCH, now=now, until=now + LEASE)
        if jobs:
            outcomes = await asyncio.gather(*(self._parser.parse(job) for job in jobs))
            await self._settle(outcomes)
            self._on_settled()
        return len(jobs)

    async def _settle(self, outcomes: Sequence[IndexOutcome]) -> None:
        """Settle a batch; an outcome that the store cannot hold is quarantined alone, so that it stops nobody."""
        try:
            await self._jobs.settle(outcomes, now=self._clock())
        except CloudError:
            raise
        except Exception as error:  # noqa: BLE001 - values of a stranger's data set that no check foresaw
            log.warning("index outcome refused by the store", reason=type(error).__name__, count=len(outcomes))
            if len(outcomes) > 1:
                for outcome in outcomes:
                    await self._settle([outcome])
            else:
                (outcome,) = outcomes
                problem = f"what it says of itself cannot be kept ({type(error).__name__})"
                refused = Quarantined(tenant=outcome.tenant, instance=outcome.instance, problem=problem)
                await self._jobs.settle([refused], now=self._clock())

    async def _step_safely(self) -> int:
        try:
            return await self.step()
        except StorageUnavailableError as error:
            log.warning("index waits for the storage", reason=str(error))
            return 0
