import pytest

from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.port_errors import ConflictError, FencedError, NotFoundError
from swallowtail.cloud.model.tenancy import (
    AdmissionProblem,
    Admitted,
    CodeState,
    Link,
    NotAdmitted,
    SecurityCode,
)
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import (
    EVENT,
    NORTH,
    NOW,
    SOUTH,
    admitted_link,
    arrival,
    digest,
    link,
)

CODE = SecurityCode(digest=digest("code"), until=NOW + 100)
KEY, OTHER_KEY = b"k" * 32, b"o" * 32


async def admit(
    records: Records, code: SecurityCode = CODE, key: bytes = KEY, now: float = NOW
) -> Admitted | NotAdmitted:
    return await records.links.admit(code.digest, key, address="192.0.2.9", now=now)


@pytest.fixture
async def ward(records: Records) -> Records:
    await records.links.add(NORTH, link(), CODE, now=NOW, event=EVENT)
    return records


async def test_the_first_key_is_bound_and_every_admission_raises_the_epoch(ward: Records) -> None:
    first, second = await admit(ward), await admit(ward, now=NOW + 1000)
    assert (first.tenant, first.bound, first.link.key, first.link.code_state) == (
        NORTH,
        True,
        KEY,
        CodeState.BOUND,
    )
    assert (second.bound, second.link.epoch) == (False, first.link.epoch + 1)
    assert (await ward.links.link(NORTH, "ward")).epoch == second.link.epoch


async def test_a_fresh_code_waits_no_longer_than_its_window(ward: Records) -> None:
    refused = await admit(ward, now=NOW + 100)
    assert refused == NotAdmitted(problem=AdmissionProblem.CODE, tenant=NORTH, link="ward")
    assert isinstance(await admit(ward, now=NOW + 99), Admitted)


async def test_another_key_is_refused_and_raises_an_alarm(ward: Records) -> None:
    before = await admit(ward)
    refused = await admit(ward, key=OTHER_KEY)
    assert refused == NotAdmitted(problem=AdmissionProblem.KEY, tenant=NORTH, link="ward")
    (alarm,) = (await ward.alarms.alarms(NORTH)).items
    assert (alarm.condition, alarm.subject) == (Condition.LINK_KEY, "ward")
    assert (await ward.links.link(NORTH, "ward")).epoch == before.link.epoch


@pytest.mark.parametrize("change", ["rotate", "rebind", "revoke", "remove"])
async def test_new_credentials_clear_the_alarm_of_a_key(ward: Records, change: str) -> None:
    await admit(ward)
    await admit(ward, key=OTHER_KEY)
    await ward.links.change(NORTH, "ward", name="renamed", facility="clinic", now=NOW, event=EVENT)
    assert len((await ward.alarms.alarms(NORTH)).items) == 1, "a new name is no new credential"
    new = SecurityCode(digest=digest("new"), until=NOW + 5)
    arguments = ("ward", new) if change in {"rotate", "rebind"} else ("ward",)
    await getattr(ward.links, change)(NORTH, *arguments, now=NOW, event=EVENT)
    assert (await ward.alarms.alarms(NORTH)).items == ()


async def test_an_unknown_code_is_nobodys(ward: Records) -> None:
    assert await admit(ward, SecurityCode(digest=digest("guess"), until=0.0)) == NotAdmitted(
        problem=AdmissionProblem.CODE
    )


async def test_rotating_keeps_the_key_and_fences_the_session(ward: Records) -> None:
    session = await admit(ward)
    new = SecurityCode(digest=digest("new"), until=NOW + 5)
    rotated = await ward.links.rotate(NORTH, "ward", new, now=NOW, event=EVENT)
    assert (rotated.code_state, rotated.epoch) == (CodeState.BOUND, session.link.epoch + 1)
    assert (await admit(ward)).problem is AdmissionProblem.CODE
    assert (await admit(ward, new, OTHER_KEY)).problem is AdmissionProblem.KEY
    assert not (await admit(ward, new, now=NOW + 1000)).bound


async def test_rotating_before_a_key_is_bound_gives_a_new_window(ward: Records) -> None:
    new = SecurityCode(digest=digest("new"), until=NOW + 5)
    assert (
        await ward.links.rotate(NORTH, "ward", new, now=NOW, event=EVENT)
    ).code_state is CodeState.FRESH
    assert (await admit(ward, new, now=NOW + 5)).problem is AdmissionProblem.CODE
    assert (await admit(ward, new, now=NOW + 4)).bound


async def test_rebinding_drops_the_key_and_binds_the_first_that_comes_in_time(
    ward: Records,
) -> None:
    session = await admit(ward)
    new = SecurityCode(digest=digest("rebind"), until=NOW + 3600)
    rebound = await ward.links.rebind(NORTH, "ward", new, now=NOW, event=EVENT)
    assert (rebound.key, rebound.epoch) == (b"", session.link.epoch + 1)
    with pytest.raises(FencedError):
        await ward.instances.commit(NORTH, arrival(epoch=session.link.epoch), now=NOW)
    assert (await admit(ward)).problem is AdmissionProblem.CODE
    assert (await admit(ward, new, OTHER_KEY, now=NOW + 3599)).bound
    assert (await admit(ward, new, KEY, now=NOW + 3599)).problem is AdmissionProblem.KEY


async def test_a_revoked_code_is_good_for_nothing_until_it_is_rotated(ward: Records) -> None:
    session = await admit(ward)
    assert (
        await ward.links.revoke(NORTH, "ward", now=NOW, event=EVENT)
    ).epoch == session.link.epoch + 1
    assert (await admit(ward)).problem is AdmissionProblem.CODE
    new = SecurityCode(digest=digest("new"), until=NOW + 5)
    await ward.links.rotate(NORTH, "ward", new, now=NOW, event=EVENT)
    assert isinstance(await admit(ward, new), Admitted)


async def test_names_are_unique_in_a_tenant_and_links_are_found_in_their_own_alone(
    ward: Records,
) -> None:
    namesake = Link(id="x", facility="clinic", name="ward", created=NOW)
    with pytest.raises(ConflictError):
        await ward.links.add(
            NORTH, namesake, SecurityCode(digest=digest("2"), until=NOW), now=NOW, event=EVENT
        )
    await ward.links.add(
        SOUTH, link(), SecurityCode(digest=digest("3"), until=NOW + 1), now=NOW, event=EVENT
    )
    await ward.links.add(
        NORTH,
        link("attic", "tower"),
        SecurityCode(digest=digest("4"), until=NOW + 1),
        now=NOW,
        event=EVENT,
    )
    assert [one.name for one in (await ward.links.links(NORTH)).items] == ["attic", "ward"]
    assert [
        one.name for one in (await ward.links.links(NORTH, facilities=frozenset({"tower"}))).items
    ] == ["attic"]
    assert [one.id for one in (await ward.links.links(NORTH, name="ward")).items] == ["ward"]
    for missing in (
        ward.links.link(SOUTH, "attic"),
        ward.links.revoke(SOUTH, "attic", now=NOW, event=EVENT),
    ):
        with pytest.raises(NotFoundError):
            await missing
    with pytest.raises(ConflictError):
        await ward.links.change(NORTH, "attic", name="ward", facility="tower", now=NOW, event=EVENT)


async def test_a_moved_link_brings_its_instances_to_its_new_facility(records: Records) -> None:
    epoch = await admitted_link(records)
    moved = await records.links.change(
        NORTH, "ward", name="ward", facility="tower", now=NOW, event=EVENT
    )
    assert (moved.facility, moved.epoch) == ("tower", epoch)
    receipt = await records.instances.commit(NORTH, arrival(epoch=epoch), now=NOW)
    assert (await records.instances.instance(NORTH, receipt.id)).origin.facility == "tower"


async def test_a_removed_link_is_gone_and_fenced(records: Records) -> None:
    epoch = await admitted_link(records)
    await records.links.remove(NORTH, "ward", now=NOW, event=EVENT)
    with pytest.raises(NotFoundError):
        await records.links.link(NORTH, "ward")
    with pytest.raises(FencedError):
        await records.instances.commit(NORTH, arrival(epoch=epoch), now=NOW)
    assert (
        await records.links.admit(digest("north/ward"), KEY, address="", now=NOW)
    ).problem is AdmissionProblem.CODE
