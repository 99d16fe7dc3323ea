"""Worker processes: started when there is work, fed one job at a time, killed when one takes too long, replaced when it dies.

A job that a worker does not survive is tried once more in a fresh one; the second time it is quarantined. So one object can neither
stop the index nor be lost.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

import swallowtail
from swallowtail.cloud.index.worker import LENGTH, Task
from swallowtail.cloud.model.indexing import IndexJob, IndexOutcome, Quarantined
from swallowtail.cloud.model.ports import Blobs

WALL_SECONDS: Final = 30.0
MAX_OUTCOME: Final = 64 * 1024 * 1024
TRIES: Final = 2
COMMAND: Final = (sys.executable, "-m", "swallowtail.cloud.index.worker")


log = structlog.get_logger()


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
        self.size = size or max(1, (os.cpu_count() or 1) // 2)
        self._wall_seconds = wall_seconds
        self._command = command
        self._free: asyncio.LifoQueue[_Worker | None] = asyncio.LifoQueue()
        for _ in range(self.size):
            self._free.put_nowait(None)

    async def parse(self, job: IndexJob) -> IndexOutcome:
        """Have a job parsed by the next free worker (`Parser`)."""
        path = self._blobs.path(job.tenant, job.identity.sha256)
        if path is None or await self._blobs.length(job.tenant, job.identity.sha256) != job.length:
            problem = "its blob is missing or has another length; restore it from a backup and index it again"
            return Quarantined(tenant=job.tenant, instance=job.instance, problem=problem)
        return await self._parse(Task(job, str(path)))

    async def close(self) -> None:
        """End the workers; call it when no job is running."""
        while not self._free.empty():
            if worker := self._free.get_nowait():
                await worker.end()

    async def _parse(self, task: Task) -> IndexOutcome:
        for _ in range(TRIES):
            if outcome := await self._try(task):
                return outcome
        problem = f"reading it took a worker's life {TRIES} times: too long, or too much memory"
        return Quarantined(tenant=task.job.tenant, instance=task.job.instance, problem=problem)

    async def _try(self, task: Task) -> IndexOutcome | None:
        worker, alive = await self._free.get(), None
        try:
            worker = worker or await _Worker.start(self._command)
            async with asyncio.timeout(self._wall_seconds):
                outcome = await worker.parse(task)
            alive = worker  # otherwise its pipes may hold half a frame
        except (TimeoutError, OSError, asyncio.IncompleteReadError, msgspec.DecodeError) as error:
            log.warning("index worker ended", reason=type(error).__name__)
            return None
        else:
            return outcome
        finally:
            self._free.put_nowait(alive)
            if worker is not None and alive is None:
                await worker.end()


class _Worker:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder[IndexOutcome](IndexOutcome).decode

    @classmethod
    async def start(cls, command: tuple[str, ...]) -> "_Worker":
        pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        home = str(Path(swallowtail.__file__).parent.parent)
        environment = {
            "PYTHONPATH": os.pathsep.join(part for part in (home, os.environ.get("PYTHONPATH", "")) if part),
            "PATH": os.environ.get("PATH", ""),
            "OPENBLAS_NUM_THREADS": "1",  # numpy, where pydicom finds it, would reserve memory for threads that are never used
            "MALLOC_ARENA_MAX": "1",
        }
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=nowhere, env=environment)
        return cls(process)

    async def parse(self, task: Task) -> IndexOutcome:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        packed = self._encode(task)
        stdin.write(LENGTH.pack(len(packed)) + packed)
        await stdin.drain()
        (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
        if length > MAX_OUTCOME:
            raise OSError("a worker's outcome is too long")
        outcome: IndexOutcome = self._decode(await stdout.readexactly(length))
        return outcome

    async def end(self) -> None:
        """Kill it and wait until it is gone."""
        if self._process.returncode is None:
            try:
                self._process.kill()
            except ProcessLookupError:
                log.debug("index worker was gone")
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
