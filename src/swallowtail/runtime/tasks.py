"""The one way to start a task: with a name and an owner that reports its failure.

Bare `asyncio.create_task` is banned by ruff.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

import structlog

T = TypeVar("T")
log = structlog.get_logger()


class Tasks:
    """The owner of background tasks.

    An unexpected failure is logged and reported once; leaving the scope cancels and awaits all.

    `asyncio.TaskGroup` fits work that ends together and is used there; this owner is for servers,
    whose tasks start and end independently and where one peer's failure must not cancel the others.
    """

    def __init__(
        self, name: str, *, on_failure: Callable[[str, BaseException], None] | None = None
    ) -> None:
        self._name = name
        self._on_failure = on_failure
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start `work` as a task called `<owner>/<name>`."""
        # the one permitted place
        task = asyncio.create_task(work, name=f"{self._name}/{name}")  # noqa: TID251
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("task failed", task=task.get_name(), error=type(error).__name__, exc_info=error)
        if self._on_failure is not None:
            self._on_failure(task.get_name(), error)

    async def close(self) -> None:
        """Cancel every task and wait until each has ended."""
        while self._running:
            batch = list(self._running)
            for task in batch:
                task.cancel()
            await asyncio.wait(batch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
