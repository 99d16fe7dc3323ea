import msgspec
import pytest

from swallowtail.cloud.model import archives
from swallowtail.cloud.model.archives import AccessLimits, Archive
from swallowtail.cloud.model.delivery import Routed, Rule, RuleAction, RuleCondition
from swallowtail.cloud.model.imaging import InstanceSearch, SeriesSearch, StudySearch
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.tenancy import ApiToken, Role
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import (
    EVENT,
    NORTH,
    NOW,
    SOUTH,
    admitted_link,
    arrival,
    digest,
    indexed,
)

ANYWHERE = AccessLimits()
HEARTS, LUNGS = frozenset({"hearts"}), frozenset({"lungs"})


@pytest.fixture
async def ids(records: Records) -> list[int]:
    """Two archives; the study 1.2.1 in two facilities and 1.3 in one, all in no archive."""
    for number, name in enumerate(("hearts", "lungs")):
        archive = Archive(id=name, name=name, created=NOW + number)
        await records.archives.add(NORTH, archive, now=NOW, event=EVENT)
    await admitted_link(records)
    await admitted_link(records, name="tower-link", facility="tower")
    made = []
    for number, (link, study) in enumerate(
        (("ward", "1.2.1"), ("tower-link", "1.2.1"), ("ward", "1.3"))
    ):
        kept = await records.instances.commit(
            NORTH, arrival(f"1.2.{number}", str(number), link=link), now=NOW
        )
        await records.index_jobs.settle(
            [indexed(kept.id, study=study, series=f"{study}.1")], now=NOW
        )
        made.append(kept.id)
    return made


async def put(records: Records, study: str, archive: str, limits: AccessLimits = ANYWHERE) -> None:
    await records.archives.put(NORTH, study, archive, limits=limits, now=NOW, event=EVENT)


async def places(records: Records, archive: frozenset[str]) -> set[tuple[str, str]]:
    found = await records.instances.studies(NORTH, StudySearch(archives=archive))
    return {(one.facility, one.uid) for one in found.items}


async def test_archives_are_listed_renamed_and_deleted(records: Records, ids: list[int]) -> None:
    port = records.archives
    first = await port.archives(NORTH, PageRequest(1))
    rest = await port.archives(NORTH, PageRequest(1, first.next))
    assert [one.id for one in (*first.items, *rest.items)] == ["hearts", "lungs"]
    assert [one.id for one in (await port.archives(NORTH, ids=LUNGS)).items] == ["lungs"]
    assert [one.id for one in (await port.archives(NORTH, name="hearts")).items] == ["hearts"]
    assert (await port.archives(SOUTH)).items == ()
    assert await port.known(NORTH, ["hearts", "x"]) == {"hearts"}
    for name in ("lungs", "hearts"):
        twice = Archive(id="new", name=name, created=NOW)
        with pytest.raises(ConflictError):
            await port.add(NORTH, twice, now=NOW, event=EVENT)
    with pytest.raises(ConflictError):
        await port.rename(NORTH, "hearts", "lungs", now=NOW, event=EVENT)
    assert (await port.rename(NORTH, "hearts", "echo", now=NOW, event=EVENT)).name == "echo"
    for act in (
        port.archive(SOUTH, "hearts"),
        port.rename(SOUTH, "hearts", "x", now=NOW, event=EVENT),
        port.remove(SOUTH, "hearts", now=NOW, event=EVENT),
    ):
        with pytest.raises(NotFoundError):
            await act
    before = (await records.audit.verify(NORTH)).records
    await put(records, "1.3", "hearts")
    await port.remove(NORTH, "hearts", now=NOW, event=EVENT)
    assert (await records.audit.verify(NORTH)).records == before + 2
    assert [one.id for one in (await port.archives(NORTH)).items] == ["lungs"]
    assert {
        one.archive for one in (await records.instances.studies(NORTH, StudySearch())).items
    } == {""}


async def test_an_organisation_has_so_many_archives(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swallowtail.cloud.records.archives.MAX_ARCHIVES", 1)
    assert archives.MAX_ARCHIVES == 1000
    await records.archives.add(NORTH, Archive(id="a", name="a", created=NOW), now=NOW, event=EVENT)
    with pytest.raises(ConflictError, match="already"):
        await records.archives.add(
            NORTH, Archive(id="b", name="b", created=NOW), now=NOW, event=EVENT
        )
    await records.archives.add(SOUTH, Archive(id="b", name="b", created=NOW), now=NOW, event=EVENT)


async def test_a_study_is_in_one_archive_and_what_comes_later_is_in_it_too(
    records: Records, ids: list[int]
) -> None:
    await put(records, "1.3", "hearts")
    await put(records, "1.3", "lungs")
    assert (await places(records, HEARTS), await places(records, LUNGS)) == (
        set(),
        {("clinic", "1.3")},
    )
    later = await records.instances.commit(NORTH, arrival("1.9", "9"), now=NOW)
    await records.index_jobs.settle([indexed(later.id, study="1.3", series="1.3.2")], now=NOW)
    await records.index_jobs.settle(
        [indexed(ids[2], study="1.3", series="1.3.1")], now=NOW
    )  # a rebuild
    found = await records.instances.instances(NORTH, InstanceSearch(archives=LUNGS))
    assert [one.id for one in found.items] == [ids[2], later.id]
    series = await records.instances.series(NORTH, SeriesSearch(archives=LUNGS))
    assert [one.uid for one in series.items] == ["1.3.1", "1.3.2"]
    assert await records.instances.count(NORTH, InstanceSearch(archives=HEARTS), 9) == 0
    assert (
        await records.instances.count(
            NORTH, InstanceSearch(archives=LUNGS, ids=frozenset({ids[0], later.id})), 9
        )
        == 1
    )
    await records.archives.take_out(NORTH, "1.3", "lungs", limits=ANYWHERE, now=NOW, event=EVENT)
    assert await places(records, LUNGS) == set()


async def test_only_what_lies_within_the_limits_is_moved(records: Records, ids: list[int]) -> None:
    await put(records, "1.2.1", "hearts", AccessLimits(facilities=frozenset({"tower"})))
    assert await places(records, HEARTS) == {("tower", "1.2.1")}
    await put(records, "1.2.1", "lungs", AccessLimits(archives=HEARTS))
    assert await places(records, LUNGS) == {("tower", "1.2.1")}
    for study, archive, limits in (
        ("1.2.1", "hearts", AccessLimits(facilities=frozenset({"beach"}))),
        ("1.2.1", "hearts", AccessLimits(archives=HEARTS)),
        ("1.3", "hearts", AccessLimits(archives=LUNGS)),
        ("1.99", "hearts", ANYWHERE),
        ("1.3", "nowhere", ANYWHERE),
    ):
        with pytest.raises(NotFoundError):
            await put(records, study, archive, limits)
    for study, archive, limits in (
        ("1.2.1", "hearts", ANYWHERE),
        ("1.2.1", "lungs", AccessLimits(facilities=frozenset({"clinic"}))),
        ("1.3", "lungs", ANYWHERE),
    ):
        with pytest.raises(NotFoundError):
            await records.archives.take_out(
                NORTH, study, archive, limits=limits, now=NOW, event=EVENT
            )
    assert await places(records, LUNGS) == {("tower", "1.2.1")}


async def test_rules_file_what_is_in_no_archive(records: Records, ids: list[int]) -> None:
    assert {one.archive for one in await records.rules.unrouted(9, now=NOW)} == {""}
    await put(records, "1.3", "lungs")
    routed = [Routed(instance=one, archive="hearts") for one in ids]
    await records.rules.routed(
        NORTH, [*routed, Routed(instance=ids[1], archive="gone")], [], now=NOW
    )
    assert await places(records, HEARTS) == {("clinic", "1.2.1"), ("tower", "1.2.1")}
    assert await places(records, LUNGS) == {("clinic", "1.3")}, "what a person decided stays"
    kinds = [one.event.type for one in (await records.audit.records(NORTH, PageRequest(3))).items]
    assert kinds[:2] == ["archive.put", "archive.put"]
    assert {one.archive for one in (await records.rules.stored(NORTH, "1.3")).items} == {"lungs"}


@pytest.mark.parametrize("by", ["condition", "action", "token"])
async def test_an_archive_that_is_named_is_not_deleted(
    records: Records, ids: list[int], by: str
) -> None:
    if by == "token":
        token = ApiToken(
            id="t", tenant=NORTH, name="reader", role=Role.CLINICIAN, archives=HEARTS, created=NOW
        )
        await records.tokens.add(token, digest("t"), now=NOW, event=EVENT)
        assert await records.tokens.find(digest("t"), now=NOW) == token
    else:
        rule = Rule(
            id="r",
            name="reader",
            position=1,
            action=RuleAction(archive="hearts"),
            created=NOW,
            changed=NOW,
        )
        if by == "condition":
            rule = msgspec.structs.replace(
                rule,
                action=RuleAction(archive="lungs"),
                condition=RuleCondition(archives=("x", "hearts")),
            )
        await records.rules.put(NORTH, rule, now=NOW, event=EVENT)
    with pytest.raises(ConflictError, match="reader"):
        await records.archives.remove(NORTH, "hearts", now=NOW, event=EVENT)
    if by == "token":
        await records.tokens.revoke(NORTH, "t", now=NOW, event=EVENT)
    else:
        await records.rules.remove(NORTH, "r", now=NOW, event=EVENT)
    await records.archives.remove(NORTH, "hearts", now=NOW, event=EVENT)
