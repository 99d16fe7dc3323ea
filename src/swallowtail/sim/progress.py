"""Shows a story as it goes: a table that exists on a terminal, plain lines anywhere else."""

import shutil
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final, Self, TextIO

from swallowtail.sim.story import Result

TICK: Final = 0.2
_WIDTH: Final = 40


class Lines:
    """One line for each step when it has ended."""

    def __init__(self, titles: Sequence[str], out: TextIO = sys.stdout) -> None:
        self._out, self._count, self._ended = out, len(titles), 0

    def begin(self, title: str) -> None:
        """Report nothing yet."""

    def end(self, result: Result) -> None:
        """Print what was seen."""
        self._ended += 1
        mark = "ok  " if result.held else "FAIL"
        number = f"{self._ended:>2}/{self._count}"
        print(
            f"{number} {mark} {result.title:<{_WIDTH}} {result.seconds:5.1f} s  {result.detail}",
            file=self._out,
            flush=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Table:
    """Every step with its state; the running one counts its seconds. Redraws itself in place."""

    def __init__(self, titles: Sequence[str], out: TextIO = sys.stdout) -> None:
        self._out, self._titles = out, titles
        self._results: list[Result] = []
        self._running, self._since, self._drawn = "", 0.0, False
        self._lock, self._over = threading.Lock(), threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def begin(self, title: str) -> None:
        """Show the step as running."""
        with self._lock:
            self._running, self._since = title, time.monotonic()
            self._draw()

    def end(self, result: Result) -> None:
        """Show how it went; the whole of a failure stands below the table."""
        with self._lock:
            self._results.append(result)
            self._running = ""
            self._draw()
            if not result.held:
                print(f"\n{result.title}: {result.detail}", file=self._out, flush=True)

    def _tick(self) -> None:
        while not self._over.wait(TICK):
            with self._lock:
                if self._running:
                    self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns
        back = f"\x1b[{len(self._titles)}F" if self._drawn else ""
        lines = "".join(
            f"\x1b[2K{self._line(number, title)[: width - 1]}\n"
            for number, title in enumerate(self._titles)
        )
        self._out.write(back + lines)
        self._out.flush()
        self._drawn = True

    def _line(self, number: int, title: str) -> str:
        if number < len(self._results):
            result = self._results[number]
            detail = (result.detail.splitlines() or [""])[0]
            return (
                f" {'ok  ' if result.held else 'FAIL'}  {title:<{_WIDTH}} {result.seconds:5.1f} s "
                f" {detail}"
            )
        if title == self._running:
            return f" ...   {title:<{_WIDTH}} {time.monotonic() - self._since:5.1f} s"
        return f"       {title}"

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._ticker.join()


def progress(titles: Sequence[str], out: TextIO = sys.stdout) -> Table | Lines:
    """Return what fits the output; use it as a context."""
    return Table(titles, out) if out.isatty() else Lines(titles, out)
