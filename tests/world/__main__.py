"""Replay seeds and print what happened.

`python -m tests.world [--delivering] SEED [SEED …] [--trace LINES]`.

`--selective CONNECTIONS` replays the worlds whose destinations refuse some instances.
"""

import argparse
import sys
import time

from tests.world.delivering import DeliveringWorld
from tests.world.selective import SelectiveWorld
from tests.world.world import World


def main() -> int:
    """Replay; the exit code says whether the oracle found anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=main.__doc__)
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument(
        "--trace", type=int, default=0, help="print the last so many lines of each trace"
    )
    parser.add_argument("--delivering", action="store_true", help="the worlds with destinations")
    parser.add_argument(
        "--selective",
        type=int,
        default=0,
        metavar="CONNECTIONS",
        help="destinations that refuse some instances",
    )
    arguments = parser.parse_args()
    found = 0
    for seed in arguments.seeds:
        began = time.monotonic()
        story = _world(arguments, seed).run()
        for line in story.trace[-arguments.trace :] if arguments.trace else ():
            print(line)
        took = time.monotonic() - began
        print(
            f"seed {seed}: {story.seconds:.0f} s in {took:.2f} s, {story.steps} steps,"
            f" {story.trace_hash}, {story.counts}"
        )
        for finding in story.findings:
            print(f"  {finding}")
        found += len(story.findings)
    return 1 if found else 0


def _world(arguments: argparse.Namespace, seed: int) -> World:
    if arguments.selective:
        return SelectiveWorld(seed, connections=arguments.selective)
    return (DeliveringWorld if arguments.delivering else World)(seed)


if __name__ == "__main__":
    sys.exit(main())
