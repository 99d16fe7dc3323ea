"""The pool of worker processes.

A process is started when there is work, gets one job at a time, is killed when one takes too long,
and replaced when it crashes.

All long work on bytes from outside runs in one: the index and the pixel codecs. A job is bytes,
with open descriptors where it has files. A process receives nothing else, and holds no secret. A
caller that is cancelled frees its process at once.
"""

import asyncio
import enum
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

import swallowtail
from swallowtail.cloud.processes.worker_loop import LENGTH

MAX_ANSWER: Final = 64 * 1024 * 1024
TRIES: Final = 2
"""A process may crash for another reason than its job, but hardly twice with the same job."""
JOBS: Final = 1000
"""After so many jobs a process is replaced, so that memory leaks of a codec do not add up."""
STOPPED: Final = frozenset({-signal.SIGINT, -signal.SIGTERM})

log = structlog.get_logger()

T = TypeVar("T")


class WorkerEnd(enum.Enum):
    """The way in which the processes of a job ended."""

    CRASHED = "crashed"
    CPU = "cpu"
    """It took all the CPU seconds that a job has."""
    WALL = "wall"
    """It took too long for whatever reason: a busy machine too."""


def command_of(module: str) -> tuple[str, ...]:
    """Return the command that runs one of our modules."""
    return (sys.executable, "-m", module)


def environment() -> dict[str, str]:
    """Return the environment variables that a worker process needs to find its modules."""
    home = str(Path(swallowtail.__file__).parent.parent)
    return {
        "PYTHONPATH": os.pathsep.join(
            part for part in (home, os.environ.get("PYTHONPATH", "")) if part
        ),
        "PATH": os.environ.get("PATH", ""),
        "OPENBLAS_NUM_THREADS": "1",  # numpy would reserve memory for threads that are never used
        "MALLOC_ARENA_MAX": "1",
    }


class WorkerProcesses:
    """A pool of at most `size` processes of one command, which run `worker_loop.serve`.

    `close` ends them.
    """

    def __init__(self, command: tuple[str, ...], size: int, *, jobs: int = JOBS) -> None:
        self._command = command
        self._jobs = jobs
        self.size = size
        self._free: asyncio.LifoQueue[WorkerProcess | None] = asyncio.LifoQueue()
        for _ in range(size):
            self._free.put_nowait(None)

    async def ask(
        self,
        job: bytes,
        read: Callable[[bytes], T],
        *,
        wall_seconds: float,
        descriptors: Sequence[int] = (),
        again: frozenset[WorkerEnd] = frozenset(WorkerEnd),
    ) -> T | WorkerEnd:
        """Do a job in the next free process, and return its answer.

        An answer that `read` refuses counts as a crash. The job is tried TRIES times while its
        process ends as `again` lists. The caller closes the descriptors.
        """
        answer: T | WorkerEnd = WorkerEnd.CRASHED
        for _ in range(TRIES):
            answer = await self._try(job, read, descriptors, wall_seconds)
            if not isinstance(answer, WorkerEnd) or answer not in again:
                break
        return answer

    async def close(self) -> None:
        """End the processes; call it when no job is running."""
        while not self._free.empty():
            if process := self._free.get_nowait():
                await process.end()

    async def _try(
        self,
        job: bytes,
        read: Callable[[bytes], T],
        descriptors: Sequence[int],
        wall_seconds: float,
    ) -> T | WorkerEnd:
        process, reusable = await self._free.get(), None
        try:
            process = process or WorkerProcess.start(self._command)
            async with asyncio.timeout(wall_seconds):
                answer = read(await process.ask(job, descriptors))
            # after a failure half a frame may be on its way
            reusable = process if process.done < self._jobs else None
        except TimeoutError:
            return _noted(WorkerEnd.WALL)
        except (OSError, EOFError, msgspec.DecodeError):
            if process is None:
                return _noted(WorkerEnd.CRASHED)
            return _noted(await process.how_ended(), process.exit_code)
        else:
            return answer
        finally:
            self._free.put_nowait(reusable)
            if process is not None and reusable is None:
                await process.end()


def _noted(ended: WorkerEnd, exit_code: int | None = None) -> WorkerEnd:
    """Log the end of a process, unless it was asked to end by a signal."""
    if exit_code in STOPPED:
        log.info("worker process stopped", status=exit_code)
    else:
        log.warning("worker process ended", reason=ended.value)
    return ended


class WorkerProcess:
    """One process and our end of its socket."""

    def __init__(self, process: "subprocess.Popen[bytes]", ours: socket.socket) -> None:
        self._process, self._socket = process, ours
        self.done = 0

    @property
    def pid(self) -> int:
        """Return the process's id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self._process.poll()

    @classmethod
    def start(cls, command: tuple[str, ...]) -> "WorkerProcess":
        """Start a process; raises OSError.

        The standard library's vfork takes half a millisecond of the loop. The loop's own method
        forks a process of 100 MB, which took 7 ms, and up to 90 ms on a busy machine.
        """
        nowhere = subprocess.DEVNULL
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            try:
                process = subprocess.Popen(  # noqa: S603
                    command,
                    stdin=theirs.fileno(),
                    stdout=nowhere,
                    stderr=nowhere,
                    env=environment(),
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, ours)

    async def ask(self, job: bytes, descriptors: Sequence[int]) -> bytes:
        """Send a job and wait for its answer; raises OSError, EOFError."""
        loop = asyncio.get_running_loop()
        socket.send_fds(
            self._socket, [LENGTH.pack(len(job))], descriptors
        )  # it never blocks: nothing else is on its way
        await loop.sock_sendall(self._socket, job)
        (length,) = LENGTH.unpack(await self._take(LENGTH.size))
        if length > MAX_ANSWER:
            raise OSError("a worker's answer is too long")
        answer = await self._take(length)
        self.done += 1
        return answer

    async def how_ended(self) -> WorkerEnd:
        """Return how it ended, waiting at most a second.

        A process that still runs then has sent an invalid answer.
        """
        try:
            code = await asyncio.to_thread(self._process.wait, 1.0)
        except subprocess.TimeoutExpired:
            return WorkerEnd.CRASHED
        return WorkerEnd.CPU if code == -signal.SIGXCPU else WorkerEnd.CRASHED

    async def end(self) -> None:
        """Kill it and wait until it has ended."""
        self._socket.close()
        self._process.kill()  # does nothing to one that has ended
        await asyncio.to_thread(self._process.wait)

    async def _take(self, size: int) -> bytes:
        loop, taken = asyncio.get_running_loop(), bytearray(size)
        view, filled = memoryview(taken), 0
        while filled < size:
            count = await loop.sock_recv_into(self._socket, view[filled:])
            if count == 0:
                raise EOFError("a worker process has ended")
            filled += count
        return bytes(taken)
