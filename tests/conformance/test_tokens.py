from typing import Any

import msgspec
import pytest

from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.conditions import Condition
from swallowtail.cloud.model.operations import Alarm
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.port_errors import ConflictError, NotFoundError
from swallowtail.cloud.model.tenancy import (
    OPERATOR,
    ApiToken,
    RefusedToken,
    Role,
    Tenant,
    TokenChange,
    TokenProblem,
    TokenSearch,
    TokenState,
)
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH, digest

THEIRS, OWN = (
    msgspec.structs.replace(EVENT, role=role) for role in (Role.OPERATOR, Role.ADMINISTRATOR)
)
"""What an operator does, and what an administrator of the organisation does."""


async def test_a_token_is_found_by_its_hash_until_it_expires_or_is_revoked(
    records: Records,
) -> None:
    tokens = records.tokens
    token = ApiToken(
        id="t1",
        tenant=NORTH,
        name="ci",
        role=Role.CLINICIAN,
        facilities=frozenset({"clinic"}),
        created=NOW,
        expires=NOW + 10,
    )
    await tokens.add(token, digest("secret"), now=NOW, event=EVENT)
    assert await tokens.find(digest("secret"), now=NOW) == token
    assert await tokens.find(digest("other"), now=NOW) is None
    assert await tokens.find(digest("secret"), now=NOW + 10) is None
    with pytest.raises(NotFoundError):
        await tokens.revoke(SOUTH, "t1", now=NOW + 1, event=EVENT)
    await tokens.revoke(NORTH, "t1", now=NOW + 1, event=EVENT)
    await tokens.revoke(NORTH, "t1", now=NOW + 2, event=EVENT)
    assert await tokens.find(digest("secret"), now=NOW + 2) is None
    assert (await tokens.tokens(NORTH, now=NOW)).items == (
        msgspec.structs.replace(token, revoked=NOW + 1),
    )
    assert (await tokens.tokens(SOUTH, now=NOW)).items == ()


async def test_the_operators_tokens_belong_to_no_organisation(records: Records) -> None:
    token = ApiToken(id="op", tenant=None, name="root", role=Role.OPERATOR, created=NOW)
    await records.tokens.add(token, digest("op"), now=NOW, event=EVENT)
    assert await records.tokens.find(digest("op"), now=NOW) == token
    assert (await records.tokens.tokens(OPERATOR, now=NOW)).items == (token,)
    with pytest.raises(ConflictError):
        await records.tokens.add(token, digest("op2"), now=NOW, event=EVENT)


async def test_a_token_that_an_operator_makes_for_an_organisation_is_an_alarm_there(
    records: Records,
) -> None:
    tokens = records.tokens
    theirs, own = (
        msgspec.structs.replace(EVENT, role=role) for role in (Role.OPERATOR, Role.ADMINISTRATOR)
    )
    for number, (tenant, event) in enumerate(((NORTH, theirs), (NORTH, own), (None, theirs))):
        token = ApiToken(
            id=f"t{number}",
            tenant=tenant,
            name="ward",
            role=Role.AUDITOR,
            created=NOW,
        )
        await tokens.add(token, digest(str(number)), now=NOW, event=event)
    (alarm,) = (await records.alarms.alarms(NORTH)).items
    assert (alarm.condition, alarm.subject) == (Condition.OPERATOR_TOKEN, "t0")
    assert "'ward' of the role auditor" in alarm.detail
    assert (await records.alarms.alarms(OPERATOR)).items == ()
    await tokens.revoke(NORTH, "t0", now=NOW, event=theirs)
    assert (await records.alarms.alarms(NORTH)).items == (alarm,), (
        "who made it does not make it go away"
    )
    await tokens.revoke(NORTH, "t0", now=NOW, event=own)
    assert (await records.alarms.alarms(NORTH)).items == ()


async def test_the_alarm_of_a_token_is_kept_with_it_or_not_at_all(records: Records) -> None:
    event = msgspec.structs.replace(EVENT, role=Role.OPERATOR)
    token = ApiToken(id="t", tenant=NORTH, name="ward", role=Role.CLINICIAN, created=NOW)
    await records.tokens.add(token, digest("secret"), now=NOW, event=EVENT)
    with pytest.raises(ConflictError):
        await records.tokens.add(
            msgspec.structs.replace(token, id="u"),
            digest("secret"),
            now=NOW,
            event=event,
        )
    assert (await records.alarms.alarms(NORTH)).items == ()


async def added(
    records: Records,
    name: str = "ward",
    *,
    tenant: Tenant | None = NORTH,
    event: AuditEvent = EVENT,
    **fields: Any,
) -> ApiToken:
    """Add a token whose id and secret are its name."""
    made: dict[str, Any] = {"role": Role.AUDITOR, "created": NOW, **fields}
    token = ApiToken(id=name, tenant=tenant, name=name, **made)
    await records.tokens.add(token, digest(name), now=NOW, event=event)
    return token


async def alarms(records: Records) -> tuple[Alarm, ...]:
    return (await records.alarms.alarms(NORTH)).items


async def works(records: Records, secret: str, now: float) -> bool:
    return await records.tokens.find(digest(secret), now=now) is not None


async def test_a_change_changes_what_is_set_and_nothing_else(records: Records) -> None:
    tokens, facilities = records.tokens, frozenset({"clinic"})
    token = await added(records, facilities=facilities, expires=NOW + 50)
    other = await added(records, "other")
    change = TokenChange(role=Role.CLINICIAN, expires=None)
    changed = await tokens.change(NORTH, "ward", change, now=NOW, event=EVENT)
    assert changed == msgspec.structs.replace(token, role=Role.CLINICIAN, expires=None)
    assert await tokens.find(digest("ward"), now=NOW + 60) == changed
    change = TokenChange(name="new", facilities=None)
    changed = await tokens.change(NORTH, "ward", change, now=NOW, event=EVENT)
    assert (changed.name, changed.facilities, changed.role) == ("new", None, Role.CLINICIAN)
    nothing = await tokens.change(NORTH, "ward", TokenChange(), now=NOW, event=EVENT)
    assert nothing == changed == await tokens.token(NORTH, "ward")
    assert await tokens.token(NORTH, "other") == other
    assert len((await records.audit.records(NORTH, PageRequest(3))).items) == 3


async def test_a_changed_expiry_ends_a_token_and_revives_it(records: Records) -> None:
    await added(records, expires=NOW + 10)
    assert not await works(records, "ward", NOW + 10)
    await records.tokens.change(NORTH, "ward", TokenChange(expires=NOW + 20), now=NOW, event=EVENT)
    assert await works(records, "ward", NOW + 19)
    assert not await works(records, "ward", NOW + 20)


async def test_a_rotation_replaces_the_secret_at_once(records: Records) -> None:
    await added(records)
    rotated = await records.tokens.rotate(
        NORTH,
        "ward",
        digest("second"),
        until=None,
        now=NOW + 1,
        event=EVENT,
    )
    assert (rotated.rotated, rotated.previous_until) == (NOW + 1, None)
    assert not await works(records, "ward", NOW + 1)
    assert await records.tokens.find(digest("second"), now=NOW + 1) == rotated


async def test_a_grace_keeps_one_old_secret_until_it_ends(records: Records) -> None:
    tokens = records.tokens
    await added(records)
    await tokens.rotate(NORTH, "ward", digest("b"), until=NOW + 60, now=NOW, event=EVENT)
    assert await works(records, "ward", NOW + 59)
    assert await works(records, "b", NOW + 59)
    assert not await works(records, "ward", NOW + 60)
    await tokens.rotate(NORTH, "ward", digest("c"), until=NOW + 90, now=NOW + 1, event=EVENT)
    valid = [secret for secret in ("ward", "b", "c") if await works(records, secret, NOW + 2)]
    assert valid == ["b", "c"], "one old secret at most, whatever grace the first had"
    await tokens.rotate(NORTH, "ward", digest("d"), until=None, now=NOW + 3, event=EVENT)
    assert not await works(records, "c", NOW + 3)
    await tokens.rotate(NORTH, "ward", digest("e"), until=NOW + 90, now=NOW + 4, event=EVENT)
    await tokens.revoke(NORTH, "ward", now=NOW + 5, event=EVENT)
    assert not await works(records, "d", NOW + 6), "a revoked token has no secret"
    assert not await works(records, "e", NOW + 6)


async def test_an_old_secret_ends_with_its_token(records: Records) -> None:
    await added(records, expires=NOW + 10)
    await records.tokens.rotate(NORTH, "ward", digest("b"), until=NOW + 60, now=NOW, event=EVENT)
    assert not await works(records, "ward", NOW + 10)


async def test_what_is_revoked_expired_or_anothers_is_neither_changed_nor_rotated(
    records: Records,
) -> None:
    tokens, change = records.tokens, TokenChange(name="x")
    await added(records, "gone")
    await added(records, "old", expires=NOW + 10)
    await tokens.revoke(NORTH, "gone", now=NOW, event=EVENT)
    with pytest.raises(ConflictError, match="revoked"):
        await tokens.change(NORTH, "gone", change, now=NOW, event=EVENT)
    for name in ("gone", "old"):
        with pytest.raises(ConflictError):
            await tokens.rotate(NORTH, name, digest("b"), until=None, now=NOW + 10, event=EVENT)
    before = (await records.audit.records(SOUTH)).items
    for tenant, name in ((SOUTH, "old"), (OPERATOR, "old"), (NORTH, "nobody")):
        with pytest.raises(NotFoundError):
            await tokens.change(tenant, name, change, now=NOW, event=EVENT)
        with pytest.raises(NotFoundError):
            await tokens.rotate(tenant, name, digest("b"), until=None, now=NOW, event=EVENT)
        with pytest.raises(NotFoundError):
            await tokens.token(tenant, name)
    assert (await records.audit.records(SOUTH)).items == before
    assert not await works(records, "b", NOW)


async def test_what_an_operator_changes_or_rotates_is_to_be_acknowledged_again(
    records: Records,
) -> None:
    tokens = records.tokens
    await added(records, event=OWN)
    await tokens.change(NORTH, "ward", TokenChange(name="w"), now=NOW, event=OWN)
    assert await alarms(records) == ()
    await tokens.change(NORTH, "ward", TokenChange(role=Role.CLINICIAN), now=NOW, event=THEIRS)
    (alarm,) = await alarms(records)
    assert (alarm.condition, alarm.subject) == (Condition.OPERATOR_TOKEN, "ward")
    assert "changed the token 'w' of the role clinician" in alarm.detail
    await records.alarms.acknowledge(NORTH, alarm.id, now=NOW, event=OWN)
    await tokens.rotate(NORTH, "ward", digest("b"), until=None, now=NOW, event=THEIRS)
    (alarm,) = await alarms(records)
    assert alarm.acknowledged is None
    assert "rotated the token 'w'" in alarm.detail
    await records.alarms.acknowledge(NORTH, alarm.id, now=NOW, event=OWN)
    change = TokenChange(role=Role.ADMINISTRATOR)
    await tokens.change(NORTH, "ward", change, now=NOW, event=THEIRS)
    assert (await alarms(records))[0].acknowledged is None


async def test_the_organisation_clears_the_alarm_by_a_rotation_that_leaves_no_old_secret(
    records: Records,
) -> None:
    tokens = records.tokens
    await added(records, event=THEIRS, role=Role.ADMINISTRATOR)
    by_itself = msgspec.structs.replace(OWN, actor="ward")
    await tokens.rotate(NORTH, "ward", digest("b"), until=None, now=NOW, event=by_itself)
    assert len(await alarms(records)) == 1, "whoever has its secret sees the new one too"
    await tokens.rotate(NORTH, "ward", digest("c"), until=NOW + 60, now=NOW, event=OWN)
    assert len(await alarms(records)) == 1, "the secret that the operator knows is still valid"
    await tokens.rotate(NORTH, "ward", digest("d"), until=None, now=NOW, event=OWN)
    assert await alarms(records) == ()


async def test_an_operators_own_tokens_raise_no_alarm(records: Records) -> None:
    await added(records, "root", tenant=None, role=Role.OPERATOR)
    change = TokenChange(name="x")
    await records.tokens.change(OPERATOR, "root", change, now=NOW, event=THEIRS)
    await records.tokens.rotate(OPERATOR, "root", digest("b"), until=None, now=NOW, event=THEIRS)
    assert (await records.alarms.alarms(OPERATOR)).items == ()


async def test_tokens_are_found_by_name_role_facility_and_state(records: Records) -> None:
    tokens = records.tokens
    await added(records, "a-all", role=Role.CLINICIAN)
    await added(records, "b-clinic", facilities=frozenset({"clinic", "annex"}))
    await added(records, "c-annex", facilities=frozenset({"annex"}), expires=NOW + 5)
    await added(records, "d-none", facilities=frozenset())
    await added(records, "e_gone", expires=NOW + 5)
    await added(records, "a-south", tenant=SOUTH)
    await tokens.revoke(NORTH, "e_gone", now=NOW, event=EVENT)

    async def found(now: float = NOW + 5, **search: Any) -> str:
        page = await tokens.tokens(NORTH, TokenSearch(**search), now=now)
        return "".join(one.id[0] for one in page.items)

    assert await found() == "abcde"
    assert await found(name="b-clinic") == "b"
    assert await found(name="?-*n*") == "bcd"
    assert await found(name="%") == ""
    assert await found(role=Role.CLINICIAN) == "a"
    assert await found(facility="clinic") == "abe"
    assert await found(facility="annex") == "abce"
    assert await found(facility="nnex") == await found(facility="%") == "ae"
    assert await found(state=TokenState.ACTIVE) == "abd"
    assert await found(NOW, state=TokenState.ACTIVE) == "abcd"
    assert await found(state=TokenState.EXPIRED) == "c"
    assert await found(state=TokenState.REVOKED) == "e"
    assert await found(state=TokenState.ACTIVE, facility="annex", name="b*") == "b"
    search = TokenSearch(state=TokenState.ACTIVE)
    first = await tokens.tokens(NORTH, search, PageRequest(2), now=NOW)
    second = await tokens.tokens(NORTH, search, PageRequest(2, first.next), now=NOW)
    assert [one.id[0] for one in first.items + second.items] == ["a", "b", "c", "d"]
    assert second.next is None


async def test_a_refusal_says_why_and_whose_token_it_is(records: Records) -> None:
    tokens = records.tokens
    for name, expires in (("ends", NOW + 10), ("revoked", None), ("rotated", None)):
        token = ApiToken(
            id=name, tenant=NORTH, name=name, role=Role.CLINICIAN, created=NOW, expires=expires
        )
        await tokens.add(token, digest(name), now=NOW, event=EVENT)
    await tokens.revoke(NORTH, "revoked", now=NOW, event=EVENT)
    await tokens.rotate(NORTH, "rotated", digest("new"), until=NOW + 5, now=NOW, event=EVENT)
    found = {
        name: await tokens.refusal(digest(name), now=NOW + 10)
        for name in ("ends", "revoked", "rotated", "nobody's")
    }
    assert found == {
        "ends": RefusedToken(problem=TokenProblem.EXPIRED, tenant=NORTH, id="ends"),
        "revoked": RefusedToken(problem=TokenProblem.REVOKED, tenant=NORTH, id="revoked"),
        "rotated": RefusedToken(problem=TokenProblem.ROTATED, tenant=NORTH, id="rotated"),
        "nobody's": RefusedToken(problem=TokenProblem.UNKNOWN),
    }
    for name in found:
        assert await tokens.find(digest(name), now=NOW + 10) is None
