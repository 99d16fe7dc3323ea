"""A deterministic event loop.

Virtual time, no selector, no threads, and processes that can die between any two steps.

Why a loop of our own and not a selector that lies: the world must be able to kill a simulated
process, which means that none of its callbacks runs any more, no `finally` has an effect, and the
other processes on the same loop notice nothing but silence. So every callback carries the process
that scheduled it (in its context), and the loop drops the steps of the dead.

Time moves in two ways: every step costs a microsecond, so that a busy loop cannot stop the clock,
and when nothing is ready the clock jumps to the next timer that is not cancelled. When there is
none, nothing can ever happen again: a deadlock, and an error.
"""

import asyncio
import contextlib
import heapq
import random
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar

T = TypeVar("T")

STEP_COST: Final = 1e-6
MAX_STEPS: Final = 5_000_000

_process: ContextVar["Process | None"] = ContextVar("process", default=None)


class Killed(BaseException):
    """The process that ran this code has just died in the middle of it.

    Nobody may catch this but the loop.
    """


class DeadlockError(Exception):
    """Nothing is ready and no timer is set, but the run has not ended."""


class RealTimeError(Exception):
    """Something wanted to wait in real time, or in a real thread."""


class Step(asyncio.TimerHandle):
    """A callback that waits for its turn, with the process that it belongs to."""

    __slots__ = ("process",)

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Any,
        loop: "WorldLoop",
        context: Context | None,
    ):
        super().__init__(when, callback, args, loop, context)
        self.process: Process | None = self._context.get(_process)

    def run(self) -> None:
        self._context.run(self._callback, *self._args)


class WorldTask(asyncio.Task[T]):
    """A task whose hash is its number.

    A set of tasks is iterated in the same order in every run.
    """

    def __init__(self, coro: Coroutine[Any, Any, T], *, number: int, **options: Any) -> None:
        self._number = number  # first: Task.__init__ puts itself into a WeakSet
        self.process = (
            options["context"].get(_process)
            if options.get("context") is not None
            else _process.get()
        )
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class WorldFuture(asyncio.Future[Any]):
    """A future whose hash is its number, and that knows whose it is."""

    def __init__(self, *, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        self.process = _process.get()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class Process:
    """One incarnation of a simulated program: from its start to its end or its death.

    A restart is a new Process.
    """

    def __init__(self, loop: "WorldLoop", name: str) -> None:
        self.name = name
        self.alive = True
        self.steps = 0
        self.on_death: list[Callable[[], None]] = []
        """What the machine does when the process dies: closes sockets, forgets memory."""
        loop.processes.append(self)
        self._loop = loop
        self._tasks: list[asyncio.Task[Any]] = []
        self._fuse: tuple[int, Callable[[], None]] | None = None
        self.context = copy_context()
        self.context.run(_process.set, self)

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str = "main") -> asyncio.Task[T]:
        """Start `work` inside this process.

        Everything that it schedules belongs to the process too.
        """
        return self._loop.create_task(work, name=f"{self.name}/{name}", context=self.context.copy())

    def after_steps(self, count: int, action: Callable[[], None]) -> None:
        """Call `action` when the process has made `count` more steps.

        How a crash falls between any two awaits.
        """
        self._fuse = (self.steps + count, action)

    def defuse(self) -> None:
        """Let `after_steps` not happen."""
        self._fuse = None

    def own(self, task: asyncio.Task[Any]) -> None:
        if len(self._tasks) > 64:
            self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(task)

    def stepped(self) -> None:
        self.steps += 1
        if self._fuse is not None and self.steps >= self._fuse[0]:
            action, self._fuse = self._fuse[1], None
            action()

    def kill(self) -> None:
        """Die.

        No step of this process runs any more, and nothing that its coroutines do while they are
        buried has an effect.
        """
        if not self.alive:
            return
        self.alive = False
        self._loop.trace(f"{self.name} dies after {self.steps} steps")
        for action in self.on_death:
            action()
        for task in self._tasks:
            if not task.done():
                self._bury(task)
        self._tasks = []

    def _bury(self, task: asyncio.Task[Any]) -> None:
        """Unwind a coroutine now, with all effects cut off, and not whenever the garbage collector
        comes by.
        """
        task._log_destroy_pending = False
        coroutine = task.get_coro()
        if coroutine.cr_running:  # it died in the middle of a step; Killed unwinds it
            return
        for _ in range(100):  # one that awaits in its `finally` is thrown at once more
            try:
                self.context.copy().run(coroutine.throw, Killed())
            except BaseException:  # noqa: BLE001 - the dead tell no tales
                return


def current_process() -> Process | None:
    """Give the process whose code is running, None for the world's own."""
    return _process.get()


class WorldLoop(asyncio.AbstractEventLoop):
    """Runs callbacks in the order in which they were scheduled, on a clock of its own, the same way
    for the same seed.
    """

    def __init__(self, seed: object = 0) -> None:
        self._now = 0.0
        self._ready: deque[Step] = deque()
        self._timers: list[tuple[float, int, Step]] = []
        self._number = 0
        self._closed = False
        self._random = random.Random(f"{seed}/loop")
        self._trace = 0
        self.steps = 0
        self.processes: list[Process] = []
        self.recent: deque[str] = deque(maxlen=20_000)
        """The last lines of the trace, for a person."""
        self._world = Process(self, "world")
        self.problems: list[str] = []
        """What reached the exception handler: a bug in a program, or in the world."""

    # the clock and the queue

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Step:
        step = self._step(self._now, callback, args, context)
        if step.process is None or step.process.alive:
            self._ready.append(step)
        return step

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Step:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Step:
        step = self._step(when, callback, args, context)
        if step.process is None or step.process.alive:
            heapq.heappush(self._timers, (when, self._next_number(), step))
        return step

    def _step(
        self, when: float, callback: Callable[..., object], args: Any, context: Context | None
    ) -> Step:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        return Step(when, callback, args, self, context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer stays in the heap and is purged before the clock would jump to it."""

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    # tasks and futures

    def create_future(self) -> asyncio.Future[Any]:
        return WorldFuture(number=self._next_number(), loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task = WorldTask(coro, number=self._next_number(), loop=self, name=name, context=context)
        owner = task.process or self._world
        if owner.alive:
            owner.own(task)
        else:  # its code is being buried: this never begins
            task._log_destroy_pending = False
            coro.close()
        return task

    def get_task_factory(self) -> None:
        return None

    # threads become simulated work

    def run_in_executor(
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run `func` later, as a step of its own.

        A process may die before it, in it, and before its result is heard.
        """
        future = self.create_future()
        self.call_later(self._random.expovariate(2000), self._work, future, func, args)
        return future

    def _work(self, future: asyncio.Future[Any], func: Callable[..., Any], args: Any) -> None:
        result, error = None, None
        try:
            result = func(*args)
        except Exception as raised:  # noqa: BLE001 - it belongs to whoever awaits the future
            error = raised
        self.call_later(self._random.expovariate(5000), self._worked, future, result, error)

    def _worked(self, future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    # running

    def run(self, main: Coroutine[Any, Any, T], *, max_steps: int = MAX_STEPS) -> T:
        """Run until `main` has ended.

        Raises DeadlockError when it never can, RealTimeError when it waits in real time.
        """
        with _no_real_time():
            asyncio._set_running_loop(self)
            try:
                task = self.create_task(main, name="world")
                while not task.done():
                    self._once()
                    if self.steps > max_steps:
                        raise DeadlockError(
                            f"no end after {max_steps} steps at {self._now:.3f} s:"
                            f" {self._waiting()}"
                        )
                return task.result()
            finally:
                asyncio._set_running_loop(None)

    run_until_complete = run  # asyncio.Runner and pytest-asyncio call it so

    def _once(self) -> None:
        while self._timers and (
            self._timers[0][0] <= self._now
            or self._timers[0][2].cancelled()
            or _is_dead(self._timers[0][2])
        ):
            step = heapq.heappop(self._timers)[2]
            if not step.cancelled():
                self._ready.append(step)
        if not self._ready:
            if not self._timers:
                raise DeadlockError(
                    f"nothing can happen any more at {self._now:.3f} s: {self._waiting()}"
                )
            self._now = self._timers[0][0]
            return
        step = self._ready.popleft()
        if not step.cancelled() and not _is_dead(step):
            self._run_step(step)

    def _run_step(self, step: Step) -> None:
        self.steps += 1
        self._now += STEP_COST
        try:
            step.run()
        except (SystemExit, KeyboardInterrupt):
            raise
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - as asyncio's loop does
            self.call_exception_handler({"message": f"in {step!r}", "exception": error})
        if step.process is not None and step.process.alive:
            step.process.stepped()

    def _waiting(self) -> str:
        return ", ".join(sorted(task.get_name() for task in asyncio.all_tasks(self)))

    # what went wrong, and what happened

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        owner = getattr(context.get("future") or context.get("task"), "process", None)
        if not isinstance(error, Killed) and (owner is None or owner.alive):
            self.problems.append(f"{context.get('message')}: {error!r}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def trace(self, what: str) -> None:
        """Note that something happened; the hash of all notes is what a replay must reproduce."""
        line = f"{self._now:.6f} {what}"
        self._trace = zlib.crc32(line.encode(), self._trace)
        self.recent.append(line)

    def trace_hash(self) -> str:
        """Give the hash of everything that was traced and of how many steps it took."""
        return f"{self._trace:08x}-{self.steps}"

    # the rest of what asyncio asks of a loop

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End everything that still runs, without a trace and without an effect."""
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(self)  # what unwinds may still start tasks, which are buried too
        try:
            for process in self.processes:
                process.kill()
        finally:
            asyncio._set_running_loop(running)
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: generators end with the coroutines that hold them."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing to do: there are no threads."""


def _is_dead(step: Step) -> bool:
    return step.process is not None and not step.process.alive


@contextlib.contextmanager
def _no_real_time() -> Iterator[None]:
    """Make everything that waits in real time an error while the world runs."""

    def refuse(*_: object, **__: object) -> None:
        raise RealTimeError("the world runs on virtual time: no time.sleep and no thread")

    saved = time.sleep, threading.Thread.start
    time.sleep, threading.Thread.start = refuse, refuse  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        time.sleep, threading.Thread.start = saved  # type: ignore[method-assign]
