"""`python -m bench [--json FILE] [--full] [--only NAME] [--receiver PORT | --peers]`."""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from bench import store_in, table
from bench.bare import Bare
from bench.peers import missing
from bench.sets import CACHE


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Swallowtail beside its peers (docs/bench.md).")
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    parser.add_argument("--full", action="store_true", help="run slow peers in every row")
    parser.add_argument("--only", metavar="NAME", help="only rows whose name contains this, `ct one default` for example")
    parser.add_argument("--peers", action="store_true", help="measure the peers alone")
    parser.add_argument(
        "--receiver", type=int, metavar="PORT", help="measure what listens on this port as ours (any called AE title)"
    )
    return parser.parse_args()


def main() -> None:
    wanted = arguments()
    started = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    for name, remedy in missing().items():
        print(f"missing: {name} (not measured; {remedy})")
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE.parent))
    rows: list[table.Row] = []
    ours = Bare(wanted.receiver) if wanted.receiver else None
    try:
        for _, _, found in store_in.measure(
            store_in.cases(wanted.only), lambda _: ours, folder, full=wanted.full, say=lambda line: print(line, flush=True)
        ):
            rows += found
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        print("\n" + table.render(rows))
        if wanted.json:
            table.write(rows, wanted.json)
    print("\n" + table.render_bars(rows))
    print(f"\n{(time.monotonic() - started) / 60:.1f} minutes")


main()
