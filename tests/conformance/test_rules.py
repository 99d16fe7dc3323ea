import msgspec
import pytest

from swallowtail.cloud.model.delivery import (
    INSTANCE,
    DeliverySearch,
    NewDelivery,
    Routed,
    Rule,
    RuleAction,
    RuleCondition,
    Target,
)
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, admitted_link, arrival, indexed

PACS = Target(link="ward", destination="pacs")
RULE = Rule(
    id="r1",
    name="all to the PACS",
    position=2,
    condition=RuleCondition(modalities=("US",), tags=(("StudyDescription", "Abd*"),)),
    action=RuleAction(targets=(PACS,)),
    created=NOW,
    changed=NOW,
)


@pytest.fixture
async def ids(records: Records) -> list[int]:
    await admitted_link(records)
    made = [
        (await records.instances.commit(NORTH, arrival(f"1.2.{n}", str(n)), now=NOW + n)).id
        for n in range(3)
    ]
    await records.index_jobs.settle([indexed(one) for one in made], now=NOW + 5)
    return made


async def test_rules_come_by_position_and_are_each_tenants_own(records: Records) -> None:
    first = msgspec.structs.replace(RULE, id="r0", name="first", position=1)
    for rule in (RULE, first):
        await records.rules.put(NORTH, rule, now=NOW, event=EVENT)
    assert await records.rules.rules(NORTH) == (first, RULE)
    assert await records.rules.rules(SOUTH) == ()
    with pytest.raises(ConflictError):
        await records.rules.put(
            NORTH, msgspec.structs.replace(first, name=RULE.name), now=NOW, event=EVENT
        )
    with pytest.raises(NotFoundError):
        await records.rules.remove(SOUTH, "r1", now=NOW, event=EVENT)
    await records.rules.remove(NORTH, "r1", now=NOW, event=EVENT)
    await records.rules.put(
        NORTH, msgspec.structs.replace(first, enabled=False), now=NOW, event=EVENT
    )
    assert [rule.enabled for rule in await records.rules.rules(NORTH)] == [False]


async def test_rules_are_ordered_as_a_whole_or_not_at_all(records: Records) -> None:
    for name in "abc":
        rule = msgspec.structs.replace(RULE, id=name, name=name, position=7)
        await records.rules.put(NORTH, rule, now=NOW, event=EVENT)
    await records.rules.order(NORTH, ["c", "a", "b"], now=NOW + 1, event=EVENT)
    assert [(rule.id, rule.position) for rule in await records.rules.rules(NORTH)] == [
        ("c", 1),
        ("a", 2),
        ("b", 3),
    ]
    for wrong in (["c", "a"], ["c", "a", "a"], ["c", "a", "b", "b"], ["c", "a", "x"], []):
        with pytest.raises(ConflictError):
            await records.rules.order(NORTH, wrong, now=NOW + 2, event=EVENT)
    with pytest.raises(ConflictError):
        await records.rules.order(SOUTH, ["c", "a", "b"], now=NOW + 2, event=EVENT)
    assert [rule.id for rule in await records.rules.rules(NORTH)] == ["c", "a", "b"]


async def test_an_instance_is_given_to_the_rules_once_when_it_is_indexed(
    records: Records, ids: list[int]
) -> None:
    assert await records.rules.unrouted(9, now=NOW + 4) == ()
    found = await records.rules.unrouted(9, now=NOW + 5)
    assert [routing.instance.id for routing in found] == ids
    assert (found[0].tenant, found[0].document, found[0].patient) == (
        NORTH,
        b"compressed json",
        "\\H-1",
    )
    assert (found[0].association_open, found[0].quiet_since) == (True, NOW + 2)
    desired = NewDelivery(target=PACS, kind=INSTANCE, reference=ids[0], cause="rule:r1/1")
    assert (
        await records.rules.routed(NORTH, [Routed(instance=one) for one in ids], [desired], now=NOW)
        == 1
    )
    await records.index_jobs.settle([indexed(one) for one in ids], now=NOW + 6)  # a rebuild
    assert await records.rules.unrouted(9, now=NOW + 99) == ()
    assert len((await records.deliveries.deliveries(NORTH, DeliverySearch())).items) == 1


async def test_an_instance_can_be_looked_at_again_and_remembers_which_rules_fired(
    records: Records, ids: list[int]
) -> None:
    again = [Routed(instance=one, again_at=NOW + 60, fired=("r1",)) for one in ids]
    await records.rules.routed(NORTH, again, [], now=NOW)
    assert await records.rules.unrouted(9, now=NOW + 59) == ()
    assert [routing.fired for routing in await records.rules.unrouted(2, now=NOW + 60)] == [
        ("r1",)
    ] * 2


async def test_routing_and_queueing_are_one_transaction(records: Records, ids: list[int]) -> None:
    nobodys = NewDelivery(target=PACS, kind=INSTANCE, reference=99, cause="rule:r1/1")
    with pytest.raises(NotFoundError):
        await records.rules.routed(NORTH, [Routed(instance=ids[0])], [nobodys], now=NOW)
    assert len(await records.rules.unrouted(9, now=NOW + 99)) == len(ids)


async def test_the_end_of_an_association_is_known_and_counts_as_news_of_the_study(
    records: Records, ids: list[int]
) -> None:
    await records.rules.note_ended(NORTH, "ward", [b"b" * 16], now=NOW + 8)
    assert {
        routing.association_open for routing in await records.rules.unrouted(9, now=NOW + 9)
    } == {True}
    for _ in range(2):
        await records.rules.note_ended(NORTH, "ward", [b"a" * 16], now=NOW + 9)
    (first, *_) = await records.rules.unrouted(9, now=NOW + 9)
    assert (first.association_open, first.quiet_since) == (False, NOW + 9)


async def test_what_another_facility_does_under_the_same_study_uid_is_no_news_of_it(
    records: Records, ids: list[int]
) -> None:
    await records.rules.note_ended(NORTH, "ward", [b"a" * 16], now=NOW + 9)
    before = await records.rules.unrouted(9, now=NOW + 9)
    await admitted_link(records, name="tower-link", facility="tower")
    theirs = arrival("1.2.9", "9", link="tower-link")
    origin = msgspec.structs.replace(theirs.origin, association=b"t" * 16)
    receipt = await records.instances.commit(
        NORTH, msgspec.structs.replace(theirs, origin=origin), now=NOW + 50
    )
    await records.index_jobs.settle([indexed(receipt.id, patient_id="C-9")], now=NOW + 50)
    *mine, other = await records.rules.unrouted(9, now=NOW + 60)
    assert tuple(mine) == before
    assert (other.patient, other.association_open, other.quiet_since) == ("\\C-9", True, NOW + 50)


async def test_a_stored_study_is_shown_as_the_rules_would_see_it(
    records: Records, ids: list[int]
) -> None:
    await records.rules.routed(NORTH, [Routed(instance=one) for one in ids], [], now=NOW)
    first = await records.rules.stored(NORTH, "1.2.1", PageRequest(2))
    rest = await records.rules.stored(NORTH, "1.2.1", PageRequest(2, first.next))
    assert [one.instance.id for one in (*first.items, *rest.items)] == ids
    assert (first.items[0].document, first.items[0].patient, first.items[0].fired) == (
        b"compressed json",
        "\\H-1",
        (),
    )
    for tenant, study in ((SOUTH, "1.2.1"), (NORTH, "1.2.2"), (NORTH, "")):
        assert (await records.rules.stored(tenant, study)).items == ()


async def test_a_copy_that_is_not_visible_is_not_routed(records: Records, ids: list[int]) -> None:
    other = await records.instances.commit(NORTH, arrival("1.2.0", "other bytes"), now=NOW)
    await records.index_jobs.settle([indexed(other.id)], now=NOW)
    assert [routing.instance.id for routing in await records.rules.unrouted(9, now=NOW + 99)] == ids
