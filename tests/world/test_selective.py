"""One seed, one story with destinations that refuse some instances.

The others arrive once, in order, with every attempt.
"""

from collections import Counter

import pytest

from tests.modes import amount
from tests.world.selective import SelectiveWorld

SEEDS = 60
"""Of each number of connections."""


@pytest.mark.parametrize("seed", range(amount(SEEDS, 1_000)))
@pytest.mark.parametrize("connections", [1, 4])
def test_what_a_destination_accepts_arrives_once_and_in_order_whatever_it_refuses(
    connections, seed
):
    story = SelectiveWorld(seed, connections=connections).run()
    replay = f"PYTHONPATH=src:. python -m tests.world --selective {connections} {seed} --trace 200"
    assert not story.findings, "\n".join([f"replay it with: {replay}", *map(str, story.findings)])


def test_the_stories_hold_every_kind_of_ending():
    """Destinations that refuse nothing, or all, would prove nothing."""
    worlds = [SelectiveWorld(seed) for seed in range(30)]
    counts = sum((Counter(world.run().counts) for world in worlds), Counter())
    assert counts["delivered"] > 150
    assert counts["delivered again"] >= 1
    kinds = Counter(kind for world in worlds for kind in world.kinds)
    for kind in ("accepted", "refused", "stop", "park", "outstanding 1", "outstanding 4"):
        assert kinds[kind] >= 10, (kind, kinds)
    assert 4 <= sum(world.calm for world in worlds) <= 20
