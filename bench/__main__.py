"""`python -m bench [--json FILE] [--full] [--only NAME] [--receiver PORT | --peers]`."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import footprint, narrow, ours, postgresql, slow, store_in, store_out, table, web_frames
from bench.bare import Bare
from bench.peers import missing
from bench.sets import CACHE, load


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Swallowtail beside its peers (docs/bench.md)."
    )
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    parser.add_argument("--full", action="store_true", help="run slow peers in every row")
    parser.add_argument(
        "--only",
        metavar="NAME",
        help=(
            "`footprint`, `narrow`, `postgresql`, `slow`, or a part of a row's name: `ct one"
            " default`, `out ct`"
        ),
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=slow.SECONDS,
        help="how long `--only slow` sends to its bad destinations",
    )
    parser.add_argument("--peers", action="store_true", help="measure the peers of store in alone")
    parser.add_argument(
        "--receiver",
        type=int,
        metavar="PORT",
        help="measure what listens on this port as ours (any called AE title)",
    )
    return parser.parse_args()


def report(line: str) -> None:
    print(line, flush=True)


def rows(wanted: argparse.Namespace, folder: Path) -> Iterator[table.Row]:
    """Measure the selected rows; each is returned as soon as it is measured."""
    cases = store_in.cases(wanted.only)
    if wanted.peers or wanted.receiver:
        other = Bare(wanted.receiver) if wanted.receiver else None
        yield from store_in.measure(cases, lambda _: other, folder, full=wanted.full, report=report)
        return
    if wanted.only in {None, "footprint"}:
        yield from footprint.measure(folder / "footprint", report)
    if wanted.only in {None, "narrow"}:
        if reason := narrow.possible():
            report(f"missing: the row behind 10 Mbit/s ({reason})")
        else:
            yield from narrow.measure(folder / "narrow", report)
    if wanted.only in {None, "wado"}:
        yield from web_frames.measure(folder / "wado", report)
    if cases:
        site = ours.start(folder / "site")
        try:
            yield from store_in.measure(
                cases,
                lambda case: ours.Ours(site, case.pdu, load(case.what)),
                folder,
                full=wanted.full,
                report=report,
            )
            yield from footprint.loop_lag(site)
        finally:
            site.stop()
    if wanted.only == "postgresql":
        yield from postgresql.measure(folder / "postgresql", report)
    if wanted.only == "slow":
        yield from slow.measure(folder / "slow", report, seconds=wanted.seconds)
    if outbound := store_out.cases(wanted.only):
        yield from store_out.measure(outbound, folder / "out", report)


def main() -> None:
    wanted = arguments()
    started = time.monotonic()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # unwinds, so that every program that was started is stopped
    CACHE.mkdir(parents=True, exist_ok=True)
    for name, remedy in missing().items():
        report(f"missing: {name} (not measured; {remedy})")
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE.parent))
    found: list[table.Row] = []
    try:
        found.extend(rows(wanted, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        report("\n" + table.render(found))
        if wanted.json:
            table.write(found, wanted.json)
    report("\n" + table.render_bars(found))
    report(f"\n{(time.monotonic() - started) / 60:.1f} minutes")
    if missed := table.new_misses(found):
        report(
            f"\n{len(missed)} bars are missed that are not on the list of known misses"
            " (bench/table.py)"
        )
        sys.exit(1)


main()
