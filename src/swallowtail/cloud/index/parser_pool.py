"""The worker processes of the index: a job and its blob's descriptor go in, an outcome comes back.

A job whose worker process crashes is repeated once in a new process; if that crashes too, the
instance is quarantined. So no instance can stop the index or be lost.
"""

import os
from typing import Final, Protocol

import msgspec

from swallowtail.cloud.model.indexing import IndexJob, IndexOutcome, Quarantined
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.processes.pool import TRIES, WorkerEnd, WorkerProcesses, command_of

WALL_SECONDS: Final = 30.0
COMMAND: Final = command_of("swallowtail.cloud.index.parser_process")


class Parser(Protocol):
    """A parser of index jobs."""

    async def parse(self, job: IndexJob) -> IndexOutcome:
        """Parse the job's blob; any defect of it is an outcome."""


class WorkerPool:
    """A pool of at most `size` workers, which read blobs that are local files.

    `close` ends them.
    """

    def __init__(
        self,
        blobs: Blobs,
        size: int | None = None,
        *,
        wall_seconds: float = WALL_SECONDS,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._blobs = blobs
        self._wall_seconds = wall_seconds
        self._processes = WorkerProcesses(command, size or max(1, (os.cpu_count() or 1) // 2))
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder[IndexOutcome](IndexOutcome).decode

    async def parse(self, job: IndexJob) -> IndexOutcome:
        """Parse a job in the next free worker (`Parser`)."""
        blob = await self._opened(job)
        if blob is None:
            problem = (
                "its blob is missing or has another length; copy it from a backup, then run"
                " `swallowtail cloud reindex`"
            )
            return Quarantined(tenant=job.tenant, instance=job.instance, problem=problem)
        try:
            return await self._parse(job, blob)
        finally:
            os.close(blob)

    async def close(self) -> None:
        """End the workers; call it when no job is running."""
        await self._processes.close()

    async def _opened(self, job: IndexJob) -> int | None:
        """Return a descriptor of the job's blob.

        None where it is missing or differs from what was stored.
        """
        path = self._blobs.path(job.tenant, job.identity.sha256)
        if path is None or await self._blobs.length(job.tenant, job.identity.sha256) != job.length:
            return None
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # deleted since
            return None

    async def _parse(self, job: IndexJob, blob: int) -> IndexOutcome:
        outcome: IndexOutcome | WorkerEnd = await self._processes.ask(
            self._encode(job), self._decode, wall_seconds=self._wall_seconds, descriptors=(blob,)
        )
        if not isinstance(outcome, WorkerEnd):
            return outcome
        problem = f"{TRIES} worker processes ended while parsing it: too long, or too much memory"
        return Quarantined(tenant=job.tenant, instance=job.instance, problem=problem)
