"""Worker processes.

Started when there is work, fed one job at a time, killed when one takes too long, replaced when it
dies.

Whatever works on foreign bytes at length works in one: the index and the pixel codecs. A job is
bytes, with open descriptors where it has files; a process is told nothing else, and has nothing to
lose. A caller that is cancelled frees its process at once.
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
"""A process may die without its job's fault, but hardly twice under the same job."""
JOBS: Final = 1000
"""After so many a process is replaced: what a codec leaks does not add up."""
STOPPED: Final = frozenset({-signal.SIGINT, -signal.SIGTERM})

log = structlog.get_logger()

T = TypeVar("T")


class Ended(enum.Enum):
    """How the processes ended that a job cost."""

    DIED = "died"
    CPU = "cpu"
    """It took all the CPU seconds that a job has."""
    WALL = "wall"
    """It took too long for whatever reason: a busy machine too."""


def command_of(module: str) -> tuple[str, ...]:
    """Give the command that runs one of our modules."""
    return (sys.executable, "-m", module)


def environment() -> dict[str, str]:
    """Return the variables of a worker process: what it needs to find its modules, and no other."""
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
    """At most `size` processes of one command, whose `serving.serve` answers; `close` ends them."""

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
        again: frozenset[Ended] = frozenset(Ended),
    ) -> T | Ended:
        """Have the next free process do a job, and read its answer.

        An answer that `read` refuses counts as a death.

        It is tried TRIES times while it ends as `again` says. The descriptors stay the caller's.
        """
        answer: T | Ended = Ended.DIED
        for _ in range(TRIES):
            answer = await self._try(job, read, descriptors, wall_seconds)
            if not isinstance(answer, Ended) or answer not in again:
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
    ) -> T | Ended:
        process, alive = await self._free.get(), None
        try:
            process = process or WorkerProcess.start(self._command)
            async with asyncio.timeout(wall_seconds):
                answer = read(await process.ask(job, descriptors))
            alive = (
                process if process.done < self._jobs else None
            )  # after a failure half a frame may be on its way
        except TimeoutError:
            return _noted(Ended.WALL)
        except (OSError, EOFError, msgspec.DecodeError):
            if process is None:
                return _noted(Ended.DIED)
            return _noted(await process.how_ended(), process.exit_code)
        else:
            return answer
        finally:
            self._free.put_nowait(alive)
            if process is not None and alive is None:
                await process.end()


def _noted(ended: Ended, exit_code: int | None = None) -> Ended:
    """Log the end of a process.

    A signal that asked it to end came from whoever ends the program.
    """
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
        """Give the process's id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Give how it ended, None while it runs."""
        return self._process.poll()

    @classmethod
    def start(cls, command: tuple[str, ...]) -> "WorkerProcess":
        """Start one; raises OSError.

        The standard library's vfork takes half a millisecond of the loop. The loop's own way forks
        a process of 100 MB, which took 7 ms, and up to 90 ms on a busy machine.
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
        """Hand over a job and wait for its answer; raises OSError, EOFError."""
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

    async def how_ended(self) -> Ended:
        """Say how it ended, if it has, within a second; what still runs has talked nonsense."""
        try:
            code = await asyncio.to_thread(self._process.wait, 1.0)
        except subprocess.TimeoutExpired:
            return Ended.DIED
        return Ended.CPU if code == -signal.SIGXCPU else Ended.DIED

    async def end(self) -> None:
        """Kill it and wait until it is gone."""
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
