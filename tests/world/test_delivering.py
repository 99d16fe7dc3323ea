"""One seed, one story with destinations.

Everything that was stored arrives, once, in order, and nobody waits for a stranger.
"""

from collections import Counter

import pytest

from tests.modes import amount
from tests.world.delivering import DeliveringWorld

SEEDS = 140


def replay(seed):
    return f"replay it with: PYTHONPATH=src:. python -m tests.world --delivering {seed} --trace 200"


@pytest.mark.parametrize("seed", range(amount(SEEDS, 8_000)))
def test_whatever_happens_everything_arrives_once_and_in_order(seed):
    story = DeliveringWorld(seed).run()
    assert not story.findings, "\n".join([replay(seed), *map(str, story.findings)])


def test_the_stories_hold_every_kind_of_ending():
    """Destinations that always answer, or nothing that is ever sent again, would prove nothing."""
    worlds = [DeliveringWorld(seed) for seed in range(40)]
    counts = sum((Counter(world.run().counts) for world in worlds), Counter())
    assert counts["delivered"] > 300
    assert counts["delivered again"] >= 5
    for status in ("A700", "B000", "C000", "A900"):
        assert counts[f"delivery answered {status}"] >= 1, (status, counts)
    assert 5 <= sum(world.calm for world in worlds) <= 20
