"""The index's worker processes: a job and its blob's place go in, an outcome comes back.

A job that a worker does not survive is tried once more in a fresh one; the second time it is quarantined. So one object can neither
stop the index nor be lost.
"""

import os
from typing import Final, Protocol

import msgspec

from swallowtail.cloud.index.worker import Task
from swallowtail.cloud.model.indexing import IndexJob, IndexOutcome, Quarantined
from swallowtail.cloud.model.ports import Blobs
from swallowtail.cloud.processes.pool import TRIES, Ended, WorkerProcesses, command_of

WALL_SECONDS: Final = 30.0
COMMAND: Final = command_of("swallowtail.cloud.index.worker")


class Parser(Protocol):
    """Turns a job into an outcome."""

    async def parse(self, job: IndexJob) -> IndexOutcome:
        """Parse the job's blob; whatever is wrong with it is an outcome."""


class WorkerPool:
    """At most `size` workers, which read blobs that are local files; `close` ends them."""

    def __init__(
        self, blobs: Blobs, size: int | None = None, *, wall_seconds: float = WALL_SECONDS, command: tuple[str, ...] = COMMAND
    ) -> None:
        self._blobs = blobs
        self._wall_seconds = wall_seconds
        self._processes = WorkerProcesses(command, size or max(1, (os.cpu_count() or 1) // 2))
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder[IndexOutcome](IndexOutcome).decode

    async def parse(self, job: IndexJob) -> IndexOutcome:
        """Have a job parsed by the next free worker (`Parser`)."""
        path = self._blobs.path(job.tenant, job.identity.sha256)
        if path is None or await self._blobs.length(job.tenant, job.identity.sha256) != job.length:
            problem = "its blob is missing or has another length; copy it from a backup, then run `swallowtail cloud reindex`"
            return Quarantined(tenant=job.tenant, instance=job.instance, problem=problem)
        return await self._parse(Task(job, str(path)))

    async def close(self) -> None:
        """End the workers; call it when no job is running."""
        await self._processes.close()

    async def _parse(self, task: Task) -> IndexOutcome:
        outcome: IndexOutcome | Ended = await self._processes.ask(self._encode(task), self._decode, wall_seconds=self._wall_seconds)
        if not isinstance(outcome, Ended):
            return outcome
        problem = f"reading it took a worker's life {TRIES} times: too long, or too much memory"
        return Quarantined(tenant=task.job.tenant, instance=task.job.instance, problem=problem)
