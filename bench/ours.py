"""Ours as a receiver: Link and Cloud as processes, default configuration, indexing on.

Done when dcmsend has its last 0000.
"""

import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from bench.sets import Set
from bench.table import Row, alone
from swallowtail.sim.installation import ANY_DEVICE, Installation, Listening
from swallowtail.sim.processes import Program

_OPEN: Final = {
    **ANY_DEVICE,
    "max_associations_per_address": 32,
}  # one machine plays twenty modalities
LISTENERS: Final = {
    "default": Listening("default", more=_OPEN),
    "128k": Listening("narrow", more={**_OPEN, "max_pdu": 131_072}),
    "third": Listening("third", more=_OPEN),
}


@dataclass
class Ours:
    """One listener of a running installation.

    `cpu` and `found` keep the other costs of each run.
    """

    site: Installation
    pdu: str
    what: Set
    name: str = "swallowtail"
    sender_environment: dict[str, str] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    found: list[float] = field(default_factory=list)
    _before: dict[str, float] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.site.port(LISTENERS[self.pdu].name)

    @property
    def called_ae(self) -> str:
        return LISTENERS[self.pdu].ae_title

    def reset(self) -> None:
        self._before = {name: cpu_seconds(program.pid) for name, program in self.programs().items()}

    def wait_for_all(self, count: int) -> None:
        """Do nothing: at the last 0000 every instance was durable."""

    def after(self) -> None:
        """Record the CPU time, untimed.

        Wait until QIDO finds every instance, which also proves that all are stored.
        """
        self.found.append(
            self.site.wait_for_instances(len(self.what.files), self.what.study, seconds=120)
        )
        for name, program in self.programs().items():
            self.cpu.setdefault(name, []).append(cpu_seconds(program.pid) - self._before[name])

    def rows(self, case: str) -> Iterator[Row]:
        """Return the costs of the runs of a case besides their seconds."""
        yield alone(
            f"until QIDO finds all, {case}",
            statistics.median(self.found),
            "s",
            note="after the last 0000",
        )
        for role, seconds in self.cpu.items():
            median = statistics.median(seconds)
            yield alone(
                f"{role} cpu per GB, {case}",
                median / (self.what.size / 1e9),
                "s",
                note=f"{median:.2f} s a run, with indexing",
            )

    def programs(self) -> dict[str, Program]:
        return {"link": self.site.link, "cloud": self.site.cloud}


def start(folder: Path, **more: Any) -> Installation:
    """Start Cloud and Link with the three listeners of the benchmark."""
    site = Installation(folder, listeners=list(LISTENERS.values()), **more)
    site.start()
    return site


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and of its children, ended ones included."""
    total = 0.0
    process = psutil.Process(pid)
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue  # counted among the children of its parent, once that has waited for it
        total += times.user + times.system + times.children_user + times.children_system
    return total


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB (10⁶ bytes)."""
    return psutil.Process(pid).memory_info().rss / 1e6


def peak(pid: int) -> float:
    """Return the largest resident memory of a process since `reset_peak` in MB (10⁶ bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/{pid}/status has no VmHWM")


def reset_peak(pid: int) -> None:
    """Start a new measurement of the peak."""
    descriptor = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY)
    try:
        os.write(descriptor, b"5")
    finally:
        os.close(descriptor)
