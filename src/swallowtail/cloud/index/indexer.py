"""The indexer: claims jobs, has them parsed, stores the outcomes.

It works batch after batch while there are jobs, then waits until an instance is stored.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from swallowtail.cloud.index.parser_pool import Parser
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.indexing import IndexOutcome, Quarantined
from swallowtail.cloud.model.port_errors import CloudError, StorageUnavailableError
from swallowtail.cloud.model.ports.bus import Bus, Subscription
from swallowtail.cloud.model.ports.instances import IndexJobs

TOPIC: Final = "index"
"""Publish it after a store (`model.ports.Bus`)."""
BATCH: Final = 32
LEASE: Final = 300.0
"""Seconds that a claim holds.

Longer than a batch of the slowest objects, since no other node may take it meanwhile.
"""
QUIET: Final = 0.5
"""Seconds without a store before a batch begins.

A modality waits for each answer before it sends the next instance, while nobody waits for the index
of a study that is still arriving; and a batch's parsing and its two commits compete with every
store's.
"""
PATIENCE: Final = 5.0
"""Seconds that stores which follow each other hold the index back.

Then all that has come is indexed beside them.
"""
IDLE: Final = 15.0
"""A wake-up may be lost, so it looks by itself this often.

Also the pause after a failure of the storage.
"""

log = structlog.get_logger()


class Indexer:
    """The loop that indexes stored instances; one for each node."""

    def __init__(
        self,
        jobs: IndexJobs,
        parser: Parser,
        bus: Bus,
        *,
        clock: Clock,
        quiet: float = QUIET,
        patience: float = PATIENCE,
        on_settled: Callable[[], None] = lambda: None,
    ) -> None:
        self._jobs = jobs
        self._parser = parser
        self._bus = bus
        self._clock = clock
        self._quiet = quiet
        self._patience = patience
        self._on_settled = on_settled

    async def run(self, *, alone: bool = False) -> None:
        """Index until cancelled.

        A node that is `alone` with its store takes over at once the jobs that its previous run had
        claimed.
        """
        subscription = self._bus.subscribe(TOPIC)
        late = False
        try:
            if alone:
                await self._release()
            while True:
                full = await self._step_safely() == BATCH
                if full and late:
                    continue
                late = False
                if await _notified(subscription, 0.0 if full else IDLE):
                    late = not await self._calm(subscription)
        finally:
            subscription.close()

    async def _calm(self, subscription: Subscription) -> bool:
        """Wait until no instance was stored for a while.

        Returns False when the patience ended first.
        """
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    await asyncio.sleep(
                        self._quiet / 2
                    )  # rather than wake up for each of a hundred stores
                    if not await _notified(subscription, self._quiet / 2):
                        return True
        except TimeoutError:
            return False

    async def step(self) -> int:
        """Index one batch and return its number of jobs."""
        now = self._clock()
        jobs = await self._jobs.claim(BATCH, now=now, until=now + LEASE)
        if jobs:
            outcomes = await asyncio.gather(*(self._parser.parse(job) for job in jobs))
            await self._settle(outcomes)
            self._on_settled()
        return len(jobs)

    async def _settle(self, outcomes: Sequence[IndexOutcome]) -> None:
        """Store the outcomes of a batch.

        If the store refuses one of them, that instance alone is quarantined, so that it does not
        block the others.
        """
        try:
            await self._jobs.settle(outcomes, now=self._clock())
        except CloudError:
            raise
        # values of a data set from outside that no check expects
        except Exception as error:  # noqa: BLE001
            log.warning(
                "index outcome refused",
                reason=type(error).__name__,
                count=len(outcomes),
            )
            if len(outcomes) > 1:
                for outcome in outcomes:
                    await self._settle([outcome])
            else:
                (outcome,) = outcomes
                problem = f"its attributes cannot be stored ({type(error).__name__})"
                refused = Quarantined(
                    tenant=outcome.tenant, instance=outcome.instance, problem=problem
                )
                await self._jobs.settle([refused], now=self._clock())

    async def _release(self) -> None:
        try:
            await self._jobs.release()
        except StorageUnavailableError as error:
            # the claims lapse by themselves
            log.warning("release of claims failed", reason=str(error))

    async def _step_safely(self) -> int:
        try:
            return await self.step()
        except StorageUnavailableError as error:
            log.warning("index batch deferred", reason=str(error))
            return 0


async def _notified(subscription: Subscription, within: float) -> bool:
    """Return whether an instance was stored since the last call, or is within so many seconds."""
    try:
        async with asyncio.timeout(within):
            await subscription.wait()
    except TimeoutError:
        return False
    return True
