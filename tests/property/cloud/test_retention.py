"""Stores, deletions, restorations, purges and sweeps in any order, side by side, and with kills.

What was acknowledged is there.

The invariant: what was acknowledged and not deleted afterwards is present and byte-identical; what
was deleted and not purged is kept; no row is ever without its blob, whatever a loss of power
leaves.
"""

import random

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from swallowtail.cloud.blobs.holds import Holds
from tests.modes import amount
from tests.property.cloud.retaining import Act, Retained

UIDS = ("1.2.1", "1.2.2")
CONTENTS = (1, 2)

stores = st.builds(
    lambda uid, number: lambda cloud: cloud.store(uid, number),
    st.sampled_from(UIDS),
    st.sampled_from(CONTENTS),
)
cancelled = st.builds(
    lambda uid, number, after: lambda cloud: cloud.store(uid, number, give_up=after),
    st.sampled_from(UIDS),
    st.sampled_from(CONTENTS),
    st.floats(0.0, 0.005),
)
deletions = st.builds(lambda uid: lambda cloud: cloud.delete(uid), st.sampled_from(UIDS))
restorations = st.builds(lambda number: lambda cloud: cloud.restore(number), st.integers(1, 6))
purges = st.builds(lambda number: lambda cloud: cloud.purge_now(number), st.integers(1, 6))
sweeps = st.just(lambda cloud: cloud.sweep_now())
expiries = st.just(lambda cloud: cloud.purge_expired())
acts = st.one_of(stores, stores, cancelled, deletions, restorations, purges, sweeps, expiries)


class Retention(RuleBasedStateMachine):
    """Drives a Cloud that may die."""

    def __init__(self) -> None:
        super().__init__()
        self.cloud = Retained()

    def teardown(self) -> None:
        self.cloud.close()

    @rule(many=st.lists(acts, min_size=1, max_size=5), seed=st.integers(0, 2**16))
    def side_by_side(self, many: list[Act], seed: int) -> None:
        self.cloud.random_source.seed(seed)
        self.cloud.run([act(self.cloud) for act in many])

    @rule(
        many=st.lists(acts, min_size=1, max_size=5),
        seed=st.integers(0, 2**16),
        steps=st.integers(1, 120),
        power=st.booleans(),
    )
    def with_a_kill(self, many: list[Act], seed: int, steps: int, power: bool) -> None:
        self.cloud.random_source.seed(seed)
        self.cloud.run([act(self.cloud) for act in many], kill_after=steps, power=power)

    @rule(days=st.sampled_from((0.5, 7.0, 31.0)))
    def time_passes(self, days: float) -> None:
        self.cloud.wait(days)

    @rule()
    def power_fails(self) -> None:
        self.cloud.run([self.cloud.sweep_now()], kill_after=1, power=True)

    @invariant()
    def nothing_is_lost(self) -> None:
        self.cloud.check()


Retention.TestCase.settings = settings(
    max_examples=amount(25, 1500),
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
)
test_whatever_happens_nothing_acknowledged_is_lost = Retention.TestCase


def races(count: int) -> int:
    """Race a sweep with stores of the content that it is about to remove, and return how many
    stores were acknowledged.
    """
    cloud, total = Retained(), 0
    try:
        for seed in range(count):
            random_source = random.Random(seed)
            cloud.random_source.seed(seed)
            uid = f"1.3.{seed}"
            cloud.run([cloud.store(uid, seed)])
            cloud.run([cloud.delete(uid)])
            cloud.run([cloud.purge_now(cloud.deletions)])
            give_up, late = (
                random_source.choice((None, random_source.uniform(0.0, 0.004))),
                random_source.uniform(0.0, 0.006),
            )
            works = [
                cloud.store(f"1.4.{seed}", seed, give_up=give_up, late=late),
                cloud.sweep.sweep(before=cloud.wall()),
            ]
            kill = random_source.choice((None, None, None, random_source.randrange(5, 60)))
            cloud.run(works, kill_after=kill, power=random_source.random() < 0.5)
            cloud.check()
            total += len(cloud.acknowledged)
            _forget(cloud)
        return total
    finally:
        cloud.close()


def _forget(cloud: Retained) -> None:
    """Begin the next race without what the last one left, but for the files."""
    connection = cloud.rows.connection
    with connection.begin():
        for table in ("instance", "deleted_instance", "deletion", "deletion_part", "index_job"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    cloud.acknowledged.clear()
    cloud.removed.clear()
    cloud.purges.clear()


def test_a_sweep_that_races_with_storing_again_loses_nothing() -> None:
    count = amount(80, 10_000)
    assert races(count) > count / 2


def test_without_holds_the_races_lose_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Holds, "hold", lambda self, path: self._held.update([path]))
    monkeypatch.setattr(Holds, "condemn", lambda self, path: self._condemned.add(path) or True)
    with pytest.raises(AssertionError, match="without its blob"):
        races(200)


def test_in_the_end_only_what_is_referenced_is_left_on_the_disk() -> None:
    cloud = Retained()
    try:
        for number in range(6):
            cloud.run([cloud.store(f"1.2.{number}", number)])
        cloud.run([cloud.store("1.2.9", 0)])
        cloud.run([cloud.delete(f"1.2.{number}") for number in range(4)])
        cloud.wait(29.9)
        cloud.run([cloud.purge_expired()])
        assert len(cloud.blobs_left()) == len(cloud.referenced()) == 6
        cloud.wait(0.2)
        cloud.run([cloud.purge_expired()])
        cloud.run([cloud.sweep.look()])
        assert (len(cloud.blobs_left()), len(cloud.referenced())) == (6, 3)
        cloud.wait(6.9)
        cloud.run([cloud.sweep.look()])
        assert len(cloud.blobs_left()) == 6
        cloud.run([cloud.store("1.2.1", 1)])  # within the quarantine
        cloud.wait(0.2)
        cloud.run([cloud.sweep.look()])
        cloud.check()
        assert cloud.blobs_left() == cloud.referenced()
        assert len(cloud.blobs_left()) == 4
    finally:
        cloud.close()
