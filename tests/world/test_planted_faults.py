"""The oracle finds what it is there for: each planted fault, by one of the rules that are meant for it, within the seeds of CI."""

import pytest

from tests.world.faults import FAULTS
from tests.world.world import World

SEEDS = 500


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, record_property):
    parts, rules = FAULTS[fault]
    for seed in range(SEEDS):
        story = World(seed, parts).run()
        if story.rules & rules:
            record_property("seed", seed)
            return
    pytest.fail(f"{fault}: {SEEDS} seeds found nothing against {sorted(rules)}")
