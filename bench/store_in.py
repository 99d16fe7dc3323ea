"""Store in: the time until a set is at its destination, ours beside the peers."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.bare import Bare
from bench.compare import Runs, compare, competitors
from bench.ours import Ours
from bench.peers import Receiver, peers
from bench.sets import load
from bench.table import Row, versus

PDU_128K: Final = 131_072
SENDERS: Final = {"one": 1, "eight": 8}
SUM: Final = "storescp nodelay + floor"


@dataclass(frozen=True)
class Case:
    """One row's circumstances."""

    what: str
    senders: str
    pdu: str

    @property
    def name(self) -> str:
        return f"store-in {self.what} {self.senders} {self.pdu}"


def cases(only: str | None) -> list[Case]:
    """Return the cases whose name contains `only`.

    The default PDU length first, since it determines which receivers are slow.
    """
    every = (
        Case(what, senders, pdu)
        for pdu in ("default", "128k")
        for senders in SENDERS
        for what in ("ct", "cine", "small")
    )
    return [case for case in every if only is None or only in case.name]


def measure(
    wanted: Sequence[Case],
    ours: Callable[[Case], Ours | Bare | None],
    folder: Path,
    *,
    full: bool,
    report: Callable[[str], None],
) -> Iterator[Row]:
    """Run the cases; `ours` returns our receiver for a case, or None where ours does not run."""
    slow: set[tuple[str, str, str]] = set()
    for case in wanted:
        report(case.name)
        max_pdu = PDU_128K if case.pdu == "128k" else None
        with peers(folder / "peers", max_pdu=max_pdu, fork=case.senders == "eight") as found:
            kept = [
                peer for peer in found if full or (case.what, case.senders, peer.name) not in slow
            ]
            mine = ours(case)
            receivers: list[Receiver] = [mine, *kept] if mine else kept
            what = load(case.what)
            done = compare(competitors(receivers, what, SENDERS[case.senders], folder), report)
            slow |= {(case.what, case.senders, runs.name) for runs in done.values() if runs.slow}
        shutil.rmtree(folder / "peers")
        yield from rows_of(case, done, mine.name if mine else None)
        if isinstance(mine, Ours):
            yield from mine.rows(case.name.removeprefix("store-in "))


def rows_of(case: Case, done: dict[str, Runs], ours: str | None) -> list[Row]:
    """Compare ours with each peer, and with the bound of a durable receiver without Nagle."""
    mine = done[ours] if ours else None
    value = mine.median if mine else None
    spread = f"ours {mine.spread}; " if mine else ""
    rows = [
        versus(case.name, value, runs.median, name, note=f"({spread}peer {runs.spread})")
        for name, runs in done.items()
        if name != ours
    ]
    if "storescp nodelay" in done:
        rows.append(
            versus(case.name, value, done["storescp nodelay"].median + done["floor"].median, SUM)
        )
    return rows
