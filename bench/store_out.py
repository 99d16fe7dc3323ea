"""Store out.

A study that the Cloud holds, through Link into a storescp, beside `dcmsend` straight into another
of the same kind.

The clock of ours starts with the request to send the study (REST) and stops when the Cloud has
every delivery as delivered: the association, the reads from the store, TLS and two commits an
instance are inside.
"""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import ours
from bench.compare import Runs, compare, store_run
from bench.peers import Dcmtk
from bench.sender import send
from bench.sets import Set, load
from bench.table import Row, alone, versus
from swallowtail.sim.installation import Installation
from swallowtail.sim.processes import ProgramFailedError

ENDS: Final = {"nodelay": True, "default": False}
"""TCP_NODELAY at both ends, or DCMTK as it comes; Link always sends without Nagle."""
DEADLINE: Final = 300.0
PACE: Final = 0.01
OURS: Final = "swallowtail"


@dataclass(frozen=True)
class Case:
    """One row's circumstances."""

    what: str
    ends: str

    @property
    def name(self) -> str:
        return f"store-out {self.what} {self.ends}"


CASES: Final = (
    *(Case(what, "nodelay") for what in ("ct", "cine", "small")),
    *(
        Case(what, "default") for what in ("ct", "cine")
    ),  # a thousand small ones would wait 44 s a run for Nagle's algorithm
)


def cases(only: str | None) -> list[Case]:
    """Return the cases whose name contains `only`."""
    return [case for case in CASES if only is None or only in case.name]


@dataclass
class Out:
    """One destination of a running installation, with its storescp and a study in the Cloud."""

    site: Installation
    receiver: Dcmtk
    destination: str
    study: str
    count: int
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def run(self) -> float:
        """Send the study once, and return the seconds until the last delivery is delivered."""
        self.receiver.reset()
        programs = {"link": self.site.link, "cloud": self.site.cloud}
        spent = {name: ours.cpu_seconds(program.pid) for name, program in programs.items()}
        before, started = self._delivered(), time.monotonic()
        self.site.rest.json(
            f"/api/v1/studies/{self.study}/send",
            method="POST",
            body={"destinations": [self.destination]},
        )
        self._wait(
            lambda: self.receiver.count() >= self.count
        )  # looks at a folder, so that asking costs the Cloud nothing
        self._wait(lambda: self._delivered() - before >= self.count)
        seconds = time.monotonic() - started
        self.receiver.wait_for_all(self.count)
        for name, program in programs.items():
            self.cpu.setdefault(name, []).append(ours.cpu_seconds(program.pid) - spent[name])
        return seconds

    def _delivered(self) -> int:
        return int(
            self.site.rest.json(f"/api/v1/destinations/{self.destination}")["queue"]["counts"].get(
                "delivered", 0
            )
        )

    def _wait(self, reached: Callable[[], bool]) -> None:
        until = time.monotonic() + DEADLINE
        while not reached():
            if time.monotonic() > until:
                queue = self.site.rest.json(f"/api/v1/destinations/{self.destination}")["queue"]
                raise ProgramFailedError(
                    f"the study was not delivered within {DEADLINE:g} s: {queue}"
                )
            time.sleep(PACE)

    def rows(self, case: Case, size: int) -> Iterator[Row]:
        """Return the CPU time of the runs."""
        for role, seconds in self.cpu.items():
            median = statistics.median(seconds)
            yield alone(
                f"{role} cpu per GB, {case.name}",
                median / (size / 1e9),
                "s",
                note=f"{median:.2f} s a run",
            )


@contextmanager
def installed(folder: Path) -> Iterator[tuple[Installation, dict[str, Dcmtk]]]:
    """Run an installation whose Link has one destination for each kind of storescp."""
    receivers = {
        name: Dcmtk(folder / name, nodelay=nodelay, max_pdu=None, fork=False)
        for name, nodelay in ENDS.items()
    }
    destinations = [
        {"name": name, "host": "127.0.0.1", "port": one.port, "ae_title": one.called_ae}
        for name, one in receivers.items()
    ]
    try:
        site = ours.start(folder / "site", destinations=destinations)
        try:
            yield site, receivers
        finally:
            site.stop()
    finally:
        for one in receivers.values():
            one.close()


def stored(site: Installation, what: Set, folder: Path) -> str:
    """Store and index the set, and return its study."""
    what.renew()
    send(
        what,
        site.port("default"),
        called_ae=site.called_ae("default"),
        senders=1,
        environment={},
        folder=folder,
    )
    site.wait_for_instances(len(what.files), what.study, seconds=120)
    return what.study


def measure(wanted: list[Case], folder: Path, report: Callable[[str], None]) -> Iterator[Row]:
    """Run the cases, ours and the peer alternately."""
    with installed(folder) as (site, receivers):
        studies = {
            name: stored(site, load(name), folder)
            for name in dict.fromkeys(case.what for case in wanted)
        }
        for case in wanted:
            report(case.name)
            what = load(case.what)
            mine = Out(
                site,
                receivers[case.ends],
                f"{site.link_id}:{case.ends}",
                studies[case.what],
                len(what.files),
            )
            peer = Dcmtk(folder / "peer", nodelay=ENDS[case.ends], max_pdu=None, fork=False)
            try:
                done = compare([Runs(OURS, mine.run), _straight(peer, what, folder)], report)
            finally:
                peer.close()
            shutil.rmtree(folder / "peer")
            yield _row(case, done)
            yield from mine.rows(case, what.size)
    shutil.rmtree(folder)


def _straight(peer: Dcmtk, what: Set, folder: Path) -> Runs:
    name = peer.name.replace("storescp", "dcmsend")
    return Runs(name, lambda: store_run(peer, what, 1, folder))


def _row(case: Case, done: dict[str, Runs]) -> Row:
    mine = done.pop(OURS)
    ((name, theirs),) = done.items()
    return versus(
        case.name,
        mine.median,
        theirs.median,
        name,
        note=f"(ours {mine.spread}; peer {theirs.spread})",
    )
