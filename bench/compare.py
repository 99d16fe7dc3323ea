"""The protocol of the benchmark: receivers run in turn over one set.

Each turn runs every receiver once, ours among them, so that each pair of ours and a peer shares the
same minute of the machine. Before each run the set gets new UIDs, the receiver is reset, and the
disk's dirty pages are written, all untimed. The first run of a receiver is its warm-up and not
counted; if it took longer than SLOW seconds it counts, and the receiver has three runs instead of
five.
"""

import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.floor import floor
from bench.peers import Receiver
from bench.sender import send
from bench.sets import Set

SLOW: Final = 10.0
RUNS: Final = 5
SLOW_RUNS: Final = 3


@dataclass
class Runs:
    """The seconds of one competitor's counted runs."""

    name: str
    run: Callable[[], float]
    seconds: list[float] = field(default_factory=list)
    wanted: int = 0

    def warm_up(self) -> None:
        first = self.run()
        self.wanted = RUNS if first <= SLOW else SLOW_RUNS
        if first > SLOW:
            self.seconds.append(first)

    @property
    def slow(self) -> bool:
        return self.wanted == SLOW_RUNS

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> str:
        return f"{min(self.seconds):.2f} to {max(self.seconds):.2f}"


def store_run(receiver: Receiver, what: Set, senders: int, folder: Path) -> float:
    """Send the set to the receiver once.

    Returns the seconds until it is at its destination.
    """
    what.renew()
    receiver.reset()
    os.sync()
    started = time.monotonic()
    send(
        what,
        receiver.port,
        called_ae=receiver.called_ae,
        senders=senders,
        environment=receiver.sender_environment,
        folder=folder,
    )
    receiver.wait_for_all(len(what.files))
    seconds = time.monotonic() - started
    receiver.after()
    return seconds


def floor_run(what: Set, folder: Path) -> float:
    """Measure the durability floor once, on an empty folder."""
    what.renew()
    shutil.rmtree(folder / "floor", ignore_errors=True)
    os.sync()
    seconds = floor(what, folder / "floor")
    shutil.rmtree(folder / "floor")
    return seconds


def competitors(receivers: Sequence[Receiver], what: Set, senders: int, folder: Path) -> list[Runs]:
    """Return the receivers and the floor, without runs."""

    def of(receiver: Receiver) -> Runs:
        return Runs(receiver.name, lambda: store_run(receiver, what, senders, folder))

    return [
        *(of(receiver) for receiver in receivers),
        Runs("floor", lambda: floor_run(what, folder)),
    ]


def compare(runs: Sequence[Runs], report: Callable[[str], None]) -> dict[str, Runs]:
    """Run everything in turn until each has its runs."""
    for one in runs:
        one.warm_up()
    while waiting := [one for one in runs if len(one.seconds) < one.wanted]:
        for one in waiting:
            one.seconds.append(one.run())
    for one in runs:
        report(f"  {one.name:<18} {one.median:8.2f} s   ({one.spread}, {len(one.seconds)} runs)")
    return {one.name: one for one in runs}
