"""Rows and bars: the printed table and the file of `--json`."""

import enum
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

NOBODY: Final = "-"


@dataclass(frozen=True)
class Row:
    """One figure of ours beside a peer's; `ratio` above 1 means that ours is better.

    Without a peer only `ours` is set.
    """

    name: str
    ours: float | None
    peer: float | None
    peer_name: str
    unit: str
    ratio: float | None = None
    note: str = ""


def versus(name: str, ours: float | None, peer: float, peer_name: str, *, note: str = "") -> Row:
    """Compare two durations; less is better."""
    return Row(name, ours, peer, peer_name, "s", None if ours is None else peer / ours, note)


def alone(name: str, value: float, unit: str, *, note: str = "") -> Row:
    """Report a figure that has no peer."""
    return Row(name, value, None, NOBODY, unit, None, note)


class Verdict(enum.Enum):
    """The verdict of a run on a bar."""

    PASS = "pass"
    MISS = "MISS"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Bar:
    """The bound of a row: at least `least` for ratios, at most `most` for figures of ours.

    `aim` is the goal.
    """

    row: str
    peer_name: str
    least: float | None = None
    most: float | None = None
    aim: float | None = None

    def value(self, rows: Sequence[Row]) -> float | None:
        """Return the figure that is compared; None when it was not measured."""
        for row in rows:
            if (row.name, row.peer_name) == (self.row, self.peer_name):
                return row.ratio if self.least is not None else row.ours
        return None

    def verdict(self, rows: Sequence[Row]) -> Verdict:
        """Return whether the bar is reached."""
        if (value := self.value(rows)) is None:
            return Verdict.NOT_MEASURED
        if self.least is not None:
            return Verdict.PASS if value >= self.least else Verdict.MISS
        assert self.most is not None
        return Verdict.PASS if value <= self.most else Verdict.MISS

    def judge(self, rows: Sequence[Row]) -> str:
        """Return the verdict with the figures."""
        verdict, value = self.verdict(rows), self.value(rows)
        if value is None:
            return verdict.value
        must = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        aim = "" if self.aim is None else f", aim {self.aim:g}"
        known = (
            f"; known: {KNOWN_MISSES[self]}"
            if verdict is Verdict.MISS and self in KNOWN_MISSES
            else ""
        )
        return f"{verdict.value}  {value:.2f} (must be {must}{aim}){known}"


BARS: Final = (
    Bar("store-in ct one default", "storescp", least=8),
    Bar("store-in ct one default", "orthanc chain", least=8),
    Bar("store-in ct one default", "storescp nodelay + floor", least=0.5, aim=0.8),
    Bar("store-in cine one default", "storescp", least=0.4, aim=0.7),
    Bar("store-in cine one default", "orthanc chain", least=2, aim=4),
    Bar("store-in small one default", "floor", least=0.4, aim=0.7),
    Bar("store-in small eight default", "floor", least=0.9),
    Bar("store-out cine nodelay", "dcmsend nodelay", least=0.4, aim=0.7),
    Bar("store-out ct nodelay", "dcmsend nodelay", least=0.25, aim=0.5),
    Bar("p99 beside two bad PACS, over its bar", NOBODY, most=0),
    Bar("link memory idle", NOBODY, most=48, aim=40),
    Bar("link memory 4 GB over idle", NOBODY, most=32),
    Bar("link cpu 20 idle associations", NOBODY, most=1),
    Bar("wado frame of a cine, p50", "static file", least=1 / 1.5),
    Bar("control echo p99 behind 10 Mbit/s", NOBODY, most=500),
    Bar("ping p99 behind 10 Mbit/s", NOBODY, most=500),
)

KNOWN_MISSES: Final = {
    Bar("store-in ct one default", "storescp", least=8): "ADR 0010",
    Bar("store-in ct one default", "orthanc chain", least=8): "ADR 0010",
    Bar("store-in small one default", "floor", least=0.4, aim=0.7): "ADR 0010",
}
"""Bars that are known to be missed, and where that is discussed.

A run that misses another one fails.
"""


def new_misses(rows: Sequence[Row]) -> list[Bar]:
    """Return the bars that are missed and not listed as missed."""
    return [bar for bar in BARS if bar.verdict(rows) is Verdict.MISS and bar not in KNOWN_MISSES]


def render(rows: Sequence[Row]) -> str:
    """Return the table as text."""
    lines = [f"{'name':<42}{'ours':>10}  {'peer':>10}  {'ratio':>7}  peer, unit"]
    for row in rows:
        figures = f"{_figure(row.ours):>10}  {_figure(row.peer):>10}  {_figure(row.ratio):>7}"
        lines.append(f"{row.name:<42}{figures}  {row.peer_name}, {row.unit}  {row.note}".rstrip())
    return "\n".join(lines)


def render_bars(rows: Sequence[Row]) -> str:
    """Return each bar with pass or miss."""
    return "\n".join(f"{bar.row:<42}{bar.peer_name:<26}{bar.judge(rows)}" for bar in BARS)


def write(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as JSON."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def _figure(value: float | None) -> str:
    return NOBODY if value is None else f"{value:.2f}"
