import pytest

from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, InvalidCursorError, NotFoundError
from swallowtail.cloud.model.tenancy import (
    ApiToken,
    Facility,
    Organisation,
    OrganisationState,
    Role,
    Tenant,
    TokenProblem,
)
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, admitted_link, arrival, digest


async def test_a_name_is_taken_once_and_free_again_when_removed(records: Records) -> None:
    organisations = records.organisations
    with pytest.raises(ConflictError):
        await organisations.add_organisation(
            Organisation(id=Tenant("other"), name="north", created=NOW), now=NOW, event=EVENT
        )
    await organisations.change_organisation(
        NORTH, state=OrganisationState.REMOVED, now=NOW, event=EVENT
    )
    with pytest.raises(NotFoundError):
        await organisations.organisation(NORTH)
    await organisations.add_organisation(
        Organisation(id=Tenant("other"), name="north", created=NOW), now=NOW, event=EVENT
    )
    assert [one.id for one in (await organisations.organisations()).items] == ["other", "south"]
    assert [one.id for one in (await organisations.organisations(name="north")).items] == ["other"]


async def test_changing_gives_the_new_organisation(records: Records) -> None:
    changed = await records.organisations.change_organisation(
        NORTH, title="North Hospitals", now=NOW, event=EVENT
    )
    assert changed == await records.organisations.organisation(NORTH)
    assert (changed.title, changed.state) == ("North Hospitals", OrganisationState.ACTIVE)


async def test_suspending_fences_sessions_admissions_and_tokens(records: Records) -> None:
    epoch = await admitted_link(records)
    token = ApiToken(id="t", tenant=NORTH, name="ci", role=Role.INTEGRATOR, created=NOW)
    await records.tokens.add(token, digest("secret"), now=NOW, event=EVENT)
    await records.organisations.change_organisation(
        NORTH, state=OrganisationState.SUSPENDED, now=NOW, event=EVENT
    )
    assert (await records.links.link(NORTH, "ward")).epoch > epoch
    assert await records.tokens.find(digest("secret"), now=NOW) is None
    refusal = await records.tokens.refusal(digest("secret"), now=NOW)
    assert (refusal.problem, refusal.tenant) == (TokenProblem.ORGANISATION, NORTH)
    refused = await records.links.admit(digest("north/ward"), b"k" * 32, address="", now=NOW)
    assert refused.problem == "code"
    with pytest.raises(NotFoundError):
        await records.instances.commit(NORTH, arrival(link=None, facility="clinic"), now=NOW)


async def test_pages_follow_each_other_without_gap_or_repeat(records: Records) -> None:
    for number in range(7):
        facility = Facility(id=f"f{number}", name=f"f{number}", time_zone="UTC")
        await records.organisations.put_facility(NORTH, facility, now=NOW, event=EVENT)
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        page = await records.organisations.facilities(NORTH, PageRequest(2, cursor))
        seen += [facility.name for facility in page.items]
        cursor = page.next
    assert seen == ["clinic", *(f"f{number}" for number in range(7))]
    assert cursor is None


@pytest.mark.parametrize("cursor", ["x", "!!", "kgE", "gaFh" * 3])
async def test_a_foreign_cursor_is_refused(records: Records, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        await records.organisations.facilities(NORTH, PageRequest(2, cursor))


async def test_a_facility_is_created_then_changed_and_its_name_is_one_tenants(
    records: Records,
) -> None:
    await records.organisations.put_facility(
        NORTH, Facility(id="b", name="b", time_zone="UTC"), now=NOW, event=EVENT
    )
    with pytest.raises(ConflictError):
        await records.organisations.put_facility(
            NORTH, Facility(id="b", name="clinic", time_zone="UTC"), now=NOW, event=EVENT
        )
    moved = Facility(id="b", name="beach", title="Beach", time_zone="Europe/Paris")
    await records.organisations.put_facility(NORTH, moved, now=NOW, event=EVENT)
    assert (await records.organisations.facilities(NORTH, name="beach")).items == (moved,)
    assert [one.name for one in (await records.organisations.facilities(SOUTH)).items] == ["clinic"]
    mine = await records.organisations.facilities(NORTH, PageRequest(1), ids=frozenset({moved.id}))
    assert (mine.items, mine.next) == ((moved,), None), (
        "a page says nothing of what lies behind its limits"
    )
    with pytest.raises(NotFoundError):
        await records.organisations.put_facility(Tenant("nowhere"), moved, now=NOW, event=EVENT)
