import msgspec
import pytest

from swallowtail.cloud.model.errors import ConflictError, InvalidCursorError, NotFoundError
from swallowtail.cloud.model.operations import Condition
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.tenancy import OPERATOR, ApiToken, Facility, Organisation, OrganisationState, Role, Tenant
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, admitted_link, arrival, digest


async def test_a_name_is_taken_once_and_free_again_when_removed(records: Records) -> None:
    people = records.people
    with pytest.raises(ConflictError):
        await people.add_organisation(Organisation(id=Tenant("other"), name="north", created=NOW), now=NOW, event=EVENT)
    await people.change_organisation(NORTH, state=OrganisationState.REMOVED, now=NOW, event=EVENT)
    with pytest.raises(NotFoundError):
        await people.organisation(NORTH)
    await people.add_organisation(Organisation(id=Tenant("other"), name="north", created=NOW), now=NOW, event=EVENT)
    assert [one.id for one in (await people.organisations()).items] == ["other", "south"]
    assert [one.id for one in (await people.organisations(name="north")).items] == ["other"]


async def test_changing_gives_the_new_organisation(records: Records) -> None:
    changed = await records.people.change_organisation(NORTH, title="North Hospitals", now=NOW, event=EVENT)
    assert changed == await records.people.organisation(NORTH)
    assert (changed.title, changed.state) == ("North Hospitals", OrganisationState.ACTIVE)


async def test_suspending_fences_sessions_admissions_and_tokens(records: Records) -> None:
    epoch = await admitted_link(records)
    token = ApiToken(id="t", tenant=NORTH, name="ci", role=Role.INTEGRATOR, created=NOW)
    await records.people.add_token(token, digest("secret"), now=NOW, event=EVENT)
    await records.people.change_organisation(NORTH, state=OrganisationState.SUSPENDED, now=NOW, event=EVENT)
    assert await records.links.epoch(NORTH, "ward") > epoch
    assert await records.people.token(digest("secret"), now=NOW) is None
    refused = await records.links.admit(digest("north/ward"), b"k" * 32, address="", now=NOW)
    assert refused.problem == "code"
    with pytest.raises(NotFoundError):
        await records.instances.commit(NORTH, arrival(link=None, facility="clinic"), now=NOW)


async def test_pages_follow_each_other_without_gap_or_repeat(records: Records) -> None:
    for number in range(7):
        facility = Facility(id=f"f{number}", name=f"f{number}", time_zone="UTC")
        await records.people.put_facility(NORTH, facility, now=NOW, event=EVENT)
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        page = await records.people.facilities(NORTH, PageRequest(2, cursor))
        seen += [facility.name for facility in page.items]
        cursor = page.next
    assert seen == ["clinic", *(f"f{number}" for number in range(7))]
    assert cursor is None


@pytest.mark.parametrize("cursor", ["x", "!!", "kgE", "gaFh" * 3])
async def test_a_foreign_cursor_is_refused(records: Records, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        await records.people.facilities(NORTH, PageRequest(2, cursor))


async def test_a_facility_is_created_then_changed_and_its_name_is_one_tenants(records: Records) -> None:
    await records.people.put_facility(NORTH, Facility(id="b", name="b", time_zone="UTC"), now=NOW, event=EVENT)
    with pytest.raises(ConflictError):
        await records.people.put_facility(NORTH, Facility(id="b", name="clinic", time_zone="UTC"), now=NOW, event=EVENT)
    moved = Facility(id="b", name="beach", title="Beach", time_zone="Europe/Paris")
    await records.people.put_facility(NORTH, moved, now=NOW, event=EVENT)
    assert (await records.people.facilities(NORTH, name="beach")).items == (moved,)
    assert [one.name for one in (await records.people.facilities(SOUTH)).items] == ["clinic"]
    mine = await records.people.facilities(NORTH, PageRequest(1), ids=frozenset({moved.id}))
    assert (mine.items, mine.next) == ((moved,), None), "a page says nothing of what lies behind its limits"
    with pytest.raises(NotFoundError):
        await records.people.put_facility(Tenant("nowhere"), moved, now=NOW, event=EVENT)


async def test_a_token_is_found_by_its_hash_until_it_expires_or_is_revoked(records: Records) -> None:
    people = records.people
    token = ApiToken(
        id="t1", tenant=NORTH, name="ci", role=Role.CLINICIAN, facilities=frozenset({"clinic"}), created=NOW, expires=NOW + 10
    )
    await people.add_token(token, digest("secret"), now=NOW, event=EVENT)
    assert await people.token(digest("secret"), now=NOW) == token
    assert await people.token(digest("other"), now=NOW) is None
    assert await people.token(digest("secret"), now=NOW + 10) is None
    with pytest.raises(NotFoundError):
        await people.revoke_token(SOUTH, "t1", now=NOW + 1, event=EVENT)
    await people.revoke_token(NORTH, "t1", now=NOW + 1, event=EVENT)
    await people.revoke_token(NORTH, "t1", now=NOW + 2, event=EVENT)
    assert await people.token(digest("secret"), now=NOW + 2) is None
    assert (await people.tokens(NORTH)).items == (msgspec.structs.replace(token, revoked=NOW + 1),)
    assert (await people.tokens(SOUTH)).items == ()


async def test_the_operators_tokens_belong_to_no_organisation(records: Records) -> None:
    token = ApiToken(id="op", tenant=None, name="root", role=Role.OPERATOR, created=NOW)
    await records.people.add_token(token, digest("op"), now=NOW, event=EVENT)
    assert await records.people.token(digest("op"), now=NOW) == token
    assert (await records.people.tokens(OPERATOR)).items == (token,)
    with pytest.raises(ConflictError):
        await records.people.add_token(token, digest("op2"), now=NOW, event=EVENT)


async def test_a_token_that_an_operator_makes_for_an_organisation_is_an_alarm_there(records: Records) -> None:
    people = records.people
    theirs, own = (msgspec.structs.replace(EVENT, role=role) for role in (Role.OPERATOR, Role.ADMINISTRATOR))
    for number, (tenant, event) in enumerate(((NORTH, theirs), (NORTH, own), (None, theirs))):
        token = ApiToken(id=f"t{number}", tenant=tenant, name="ward", role=Role.AUDITOR, created=NOW)
        await people.add_token(token, digest(str(number)), now=NOW, event=event)
    (alarm,) = (await records.alarms.alarms(NORTH)).items
    assert (alarm.condition, alarm.subject) == (Condition.OPERATOR_TOKEN, "t0")
    assert "'ward' of the role auditor" in alarm.detail
    assert (await records.alarms.alarms(OPERATOR)).items == ()
    await people.revoke_token(NORTH, "t0", now=NOW, event=theirs)
    assert (await records.alarms.alarms(NORTH)).items == (alarm,), "who made it does not make it go away"
    await people.revoke_token(NORTH, "t0", now=NOW, event=own)
    assert (await records.alarms.alarms(NORTH)).items == ()


async def test_the_alarm_of_a_token_is_kept_with_it_or_not_at_all(records: Records) -> None:
    event = msgspec.structs.replace(EVENT, role=Role.OPERATOR)
    token = ApiToken(id="t", tenant=NORTH, name="ward", role=Role.CLINICIAN, created=NOW)
    await records.people.add_token(token, digest("secret"), now=NOW, event=EVENT)
    with pytest.raises(ConflictError):
        await records.people.add_token(msgspec.structs.replace(token, id="u"), digest("secret"), now=NOW, event=event)
    assert (await records.alarms.alarms(NORTH)).items == ()
