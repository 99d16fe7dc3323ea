"""The oracle finds what it is there for.

Each planted fault, by one of the rules that are meant for it, within the seeds of CI.
"""

import pytest

from tests.world.faults import FAULTS
from tests.world.test_delivering import SEEDS as DELIVERING_SEEDS
from tests.world.test_world import SEEDS
from tests.world.world import World


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name, record_property):
    fault = FAULTS[name]
    seeds = SEEDS if fault.world is World else DELIVERING_SEEDS
    for seed in range(seeds):
        story = fault.world(seed, fault.parts).run()
        if story.rules & fault.rules:
            record_property("seed", seed)
            return
    pytest.fail(f"{name}: {seeds} seeds found nothing against {sorted(fault.rules)}")
