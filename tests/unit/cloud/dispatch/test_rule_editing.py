"""What people do with rules."""

import msgspec
import pytest

from swallowtail.cloud.dispatch.rule_editing import InvalidRuleError, Rulebook
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.model.delivery import Rule, RuleAction, RuleCondition, Target
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from tests.conformance.invented import EVENT, NORTH, SOUTH
from tests.unit.cloud.dispatch.stage import PACS, Stage

RULE = Rule(
    id="r1", name="all", position=1, action=RuleAction(targets=(PACS,)), created=0.0, changed=0.0
)


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    await made.populate()
    return made


@pytest.fixture
def book(stage: Stage) -> Rulebook:
    sites = ConfigurationCache(stage.records.links, stage.records.configuration)
    return Rulebook(stage.records.rules, sites, stage.records.archives, clock=lambda: stage.now)


async def test_a_rule_is_as_old_as_its_first_version(stage: Stage, book: Rulebook) -> None:
    made = await book.put(NORTH, RULE, event=EVENT)
    assert (made.created, made.changed) == (stage.now, stage.now)
    stage.now += 60
    changed = await book.put(NORTH, msgspec.structs.replace(RULE, enabled=False), event=EVENT)
    assert (changed.created, changed.changed) == (made.created, stage.now)
    assert await book.rules(NORTH) == (changed,)
    assert await book.rule(NORTH, "r1") == changed
    for act in (book.rule(SOUTH, "r1"), book.remove(SOUTH, "r1", event=EVENT)):
        with pytest.raises(NotFoundError):
            await act
    with pytest.raises(ConflictError):
        await book.put(NORTH, msgspec.structs.replace(RULE, id="r2"), event=EVENT)
    await book.remove(NORTH, "r1", event=EVENT)
    assert await book.rules(NORTH) == ()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "$.name"),
        ({"quiet": -1.0}, "$.quiet"),
        ({"position": 2**40}, "$.position"),
        ({"action": RuleAction(targets=())}, "$.action.targets"),
        ({"action": RuleAction(archive="nowhere")}, "$.action.archive"),
        ({"condition": RuleCondition(archives=("nowhere",))}, "$.condition.archives[0]"),
        (
            {"action": RuleAction(targets=(Target(link="ward", destination="nowhere"),))},
            "$.action.targets[0]",
        ),
        (
            {"action": RuleAction(targets=(PACS, Target(link="attic", destination="pacs")))},
            "$.action.targets[1]",
        ),
        ({"condition": RuleCondition(address="10.1")}, "$.condition.address"),
        ({"condition": RuleCondition(tags=(("StudyDescripton", "*"),))}, "$.condition.tags[0]"),
        ({"condition": RuleCondition(sop_classes=("CT", "1.2"))}, "$.condition.sop_classes[0]"),
        ({"condition": RuleCondition(calling_ae="x" * 200)}, "$.condition.calling_ae"),
        ({"condition": RuleCondition(modalities=("US",) * 65)}, "$.condition.modalities"),
    ],
)
async def test_a_rule_that_means_nothing_is_refused_with_the_place(
    book: Rulebook, change: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidRuleError) as refused:
        await book.put(NORTH, msgspec.structs.replace(RULE, **change), event=EVENT)
    assert [problem.field for problem in refused.value.problems] == [field]
    assert await book.rules(NORTH) == ()


async def test_another_tenants_destination_is_none(book: Rulebook) -> None:
    with pytest.raises(InvalidRuleError):
        await book.put(SOUTH, RULE, event=EVENT)


async def test_a_dry_run_explains_a_stored_study_and_queues_nothing(
    stage: Stage, book: Rulebook
) -> None:
    for uid in ("1.1", "1.2", "1.3"):
        await stage.instance(uid, listener="store", calling_ae="PACS" if uid == "1.3" else "SONO1")
    stage.now += 86_400
    waits = msgspec.structs.replace(RULE, when_complete=True)
    other = msgspec.structs.replace(
        RULE, id="r2", name="CT", position=0, condition=RuleCondition(called_ae="CT")
    )
    for rule in (waits, other):
        await book.put(NORTH, rule, event=EVENT)
    page = await book.dry_run(NORTH, "1.2.1", PageRequest(2))
    assert [one.instance.identity.sop_instance for one in page.items] == ["1.1", "1.2"]
    decision = page.items[0].decision
    assert [(rule.id, reason) for rule, reason in decision.verdicts] == [
        ("r2", "called_ae does not match 'CT'"),
        ("r1", ""),
    ]
    assert [wanted.target for wanted in decision.deliveries] == [PACS]
    (last,) = (await book.dry_run(NORTH, "1.2.1", PageRequest(2, page.next))).items
    assert last.decision.remarks == ((PACS, "it came from there"),)
    assert await stage.states() == []


async def test_a_dry_run_of_proposed_rules_takes_them_in_their_order(
    stage: Stage, book: Rulebook
) -> None:
    await stage.instance("1.1", listener="store")
    final = msgspec.structs.replace(RULE, id="r2", name="first", position=0, final=True)
    (one,) = (await book.dry_run(NORTH, "1.2.1", proposed=[RULE, final])).items
    assert [rule.id for rule, _ in one.decision.verdicts] == ["r2"]


async def test_a_dry_run_shows_nothing_of_other_tenants_and_facilities(
    stage: Stage, book: Rulebook
) -> None:
    await stage.instance("1.1")
    for act in (
        book.dry_run(SOUTH, "1.2.1"),
        book.dry_run(NORTH, "1.2.9"),
        book.dry_run(NORTH, "1.2.1", facilities=frozenset({"annex"})),
    ):
        with pytest.raises(NotFoundError):
            await act
    assert len((await book.dry_run(NORTH, "1.2.1", facilities=frozenset({"clinic"}))).items) == 1
