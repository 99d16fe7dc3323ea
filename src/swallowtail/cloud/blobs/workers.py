"""The workers for blocking disk calls.

In threads with a bound on what waits, or inline in a simulated environment.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")

THREADS: Final = 4
WAITING: Final = 16
"""Jobs that may wait for a thread.

The next caller waits to hand its job over, and its sender waits for credit.
"""


class Workers(Protocol):
    """A runner of blocking jobs."""

    async def start(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        """Pass a job, waiting while too many wait; the future is the job's.

        A job that was passed runs to its end.
        """


class ThreadWorkers:
    """Jobs in threads."""

    def __init__(
        self, threads: int = THREADS, *, waiting: int = WAITING, name: str = "blobs"
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._slots = asyncio.Semaphore(threads + waiting)

    async def start(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        """Pass a job (`Workers`)."""
        await self._slots.acquire()
        future = asyncio.get_running_loop().run_in_executor(self._pool, job)
        future.add_done_callback(lambda _: self._slots.release())
        return future

    async def close(self) -> None:
        """Wait for the jobs, then end the threads."""
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)


class InlineWorkers:
    """Jobs on the loop, each after `delay` of its time.

    What has not begun when the process crashes never does.
    """

    def __init__(self, *, delay: Callable[[], float] = lambda: 0.0) -> None:
        self._delay = delay
        self._waiting: dict[asyncio.Future[Any], asyncio.TimerHandle] = {}

    async def start(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        """Pass a job (`Workers`)."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting[future] = loop.call_later(self._delay(), self._run, job, future)
        return future

    def crash(self) -> None:
        """Drop what waits."""
        waiting, self._waiting = self._waiting, {}
        for future, handle in waiting.items():
            handle.cancel()
            future.cancel()

    def _run(self, job: Callable[[], T], future: "asyncio.Future[T]") -> None:
        del self._waiting[future]
        try:
            result = job()
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the job
            if not future.cancelled():
                future.set_exception(error)
        else:
            if not future.cancelled():
                future.set_result(result)
