"""Organisations, facilities, tokens: who creates what, and what a limited token does not see."""

import pytest

from swallowtail.cloud.model.tenancy import DAY, Role
from tests.unit.cloud.web.conftest import HERON, NOW, Cloud


async def test_an_operator_creates_finds_suspends_and_removes_organisations(cloud: Cloud) -> None:
    operator = await cloud.token(Role.OPERATOR)
    made = await cloud.call(
        "POST", "organisations", operator, {"name": "ibis", "title": "Ibis Clinic"}
    )
    assert made.status_code == 201
    path = f"organisations/{made.json()['id']}"
    assert (await cloud.call("POST", "organisations", operator, {"name": "ibis"})).json()[
        "code"
    ] == "conflict"
    found = (await cloud.call("GET", "organisations", operator, name="ibis")).json()["items"]
    assert [item["title"] for item in found] == ["Ibis Clinic"]
    clinician = (
        await cloud.call(
            "POST",
            "tokens",
            operator,
            {"name": "c", "role": "clinician"},
            organisation=made.json()["id"],
        )
    ).json()
    assert (await cloud.call("GET", "studies", clinician["token"])).status_code == 200
    assert (await cloud.call("PATCH", path, operator, {"state": "suspended"})).json()[
        "state"
    ] == "suspended"
    assert (await cloud.call("GET", "studies", clinician["token"])).status_code == 401
    assert (await cloud.call("PATCH", path, operator, {"state": "active"})).status_code == 200
    assert (await cloud.call("GET", "studies", clinician["token"])).status_code == 200
    refused = await cloud.call("PATCH", path, operator, {"state": "removed"})
    assert refused.json()["errors"][0]["field"] == "$.state"
    assert (await cloud.call("DELETE", path, operator)).status_code == 204
    assert (await cloud.call("GET", path, operator)).status_code == 404


async def test_suspending_wakes_every_link_of_the_organisation(cloud: Cloud) -> None:
    await cloud.call(
        "PATCH", "organisations/heron", await cloud.token(Role.OPERATOR), {"state": "suspended"}
    )
    assert sorted(cloud.bus.published) == ["link/annex-link-heron", "link/radiology-heron"]


async def test_an_operator_names_the_organisation(cloud: Cloud) -> None:
    operator = await cloud.token(Role.OPERATOR)
    missing = await cloud.call("GET", "facilities", operator)
    assert missing.status_code == 400
    assert "?organisation=" in missing.json()["remedy"]
    assert (
        await cloud.call("GET", "facilities", operator, organisation="nobody")
    ).status_code == 404
    named = (await cloud.call("GET", "facilities", operator, organisation="egret")).json()["items"]
    assert {facility["id"] for facility in named} == {"main-egret", "annex-egret"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "time_zone": "Europe/Atlantis"}, "$.time_zone"),
        ({"name": "X Y", "time_zone": "UTC"}, "$.name"),
        ({"name": "x"}, "$.time_zone"),
        ({"name": "x", "time_zone": "UTC", "tz": 1}, "$.tz"),
        ({"name": "x", "time_zone": "UTC", "title": "t" * 201}, "$.title"),
    ],
)
async def test_a_wrong_facility_names_its_field(cloud: Cloud, body: object, field: str) -> None:
    answer = await cloud.call("POST", "facilities", await cloud.token(Role.ADMINISTRATOR), body)
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_facility_is_changed_and_its_name_is_unique(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    changed = await cloud.call("PATCH", "facilities/main-heron", admin, {"time_zone": "Asia/Tokyo"})
    assert (changed.json()["time_zone"], changed.json()["name"]) == ("Asia/Tokyo", "main")
    assert (
        await cloud.call("POST", "facilities", admin, {"name": "main", "time_zone": "UTC"})
    ).status_code == 409


async def test_a_token_limited_to_a_facility_sees_nothing_of_the_other(cloud: Cloud) -> None:
    await cloud.store("heron", "annex-link-heron", "1.2.3.1.1.9", b"annex")  # type: ignore[arg-type]
    limited = frozenset({"annex-heron"})
    admin, reader = (
        await cloud.token(Role.ADMINISTRATOR, facilities=limited),
        await cloud.token(Role.CLINICIAN, facilities=limited),
    )
    assert [
        item["id"] for item in (await cloud.call("GET", "facilities", admin)).json()["items"]
    ] == ["annex-heron"]
    assert [item["id"] for item in (await cloud.call("GET", "links", admin)).json()["items"]] == [
        "annex-link-heron"
    ]
    found = (await cloud.call("GET", "instances", reader)).json()["items"]
    assert [item["sop_instance"] for item in found] == ["1.2.3.1.1.9"]
    assert (await cloud.call("GET", "instances/1/file", reader)).status_code == 404
    assert (await cloud.call("GET", f"instances/{found[0]['id']}/file", reader)).status_code == 200
    for method, path in (
        ("GET", "links/radiology-heron"),
        ("POST", "links/radiology-heron/rotate"),
        ("PATCH", "facilities/main-heron"),
    ):
        assert (await cloud.call(method, path, admin, {})).status_code == 404, path
    for method, path in (
        ("GET", "tokens"),
        ("GET", "audit"),
        ("GET", "alarms"),
        ("POST", "facilities"),
    ):
        body = {"name": "x", "time_zone": "UTC"}
        assert (await cloud.call(method, path, admin, body)).status_code == 403, path


async def test_a_tokens_secret_is_shown_once_and_ends_when_revoked_or_expired(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    made = (
        await cloud.call(
            "POST", "tokens", admin, {"name": "x", "role": "auditor", "expires": NOW + 10}
        )
    ).json()
    assert (await cloud.call("GET", "whoami", made["token"])).json()["role"] == "auditor"
    assert made["token"] not in (await cloud.call("GET", "tokens", admin)).text
    assert (await cloud.call("DELETE", f"tokens/{made['id']}", admin)).status_code == 204
    assert (await cloud.call("GET", "whoami", made["token"])).status_code == 401
    past = await cloud.call(
        "POST", "tokens", admin, {"name": "x", "role": "auditor", "expires": NOW - 1}
    )
    assert past.json()["errors"][0]["field"] == "$.expires"
    assert (
        await cloud.call("POST", "tokens", admin, {"name": "x", "role": "operator"})
    ).status_code == 403


async def test_an_operator_who_makes_itself_a_way_to_patients_is_seen_doing_so(
    cloud: Cloud,
) -> None:
    """ADR 0006."""
    operator, auditor = await cloud.token(Role.OPERATOR), await cloud.token(Role.AUDITOR)
    body = {"name": "reading room", "role": "clinician"}
    made = (await cloud.call("POST", "tokens", operator, body, organisation="heron")).json()
    assert (await cloud.call("GET", "studies", made["token"])).status_code == 200
    (alarm,) = (await cloud.call("GET", "alarms", auditor)).json()["items"]
    assert (alarm["condition"], alarm["subject"]) == ("operator-token", made["id"])
    records = (await cloud.call("GET", "audit", auditor)).json()["items"]
    assert [(one["type"], one["role"]) for one in records[:2]] == [
        ("study.search", "clinician"),
        ("token.create", "operator"),
    ]
    assert records[0]["actor"] == made["id"]
    for method, path in (
        ("GET", "alarms"),
        ("POST", f"alarms/{alarm['id']}/acknowledge"),
        ("GET", "audit"),
    ):
        assert (
            await cloud.call(method, path, operator, organisation="heron")
        ).status_code == 403, path
    await cloud.call("DELETE", f"tokens/{made['id']}", operator, organisation="heron")
    assert len((await cloud.call("GET", "alarms", auditor)).json()["items"]) == 1
    await cloud.call("DELETE", f"tokens/{made['id']}", await cloud.token(Role.ADMINISTRATOR))
    assert (await cloud.call("GET", "alarms", auditor)).json()["items"] == []


async def test_operators_tokens_are_a_list_of_their_own(cloud: Cloud) -> None:
    operator = await cloud.token(Role.OPERATOR)
    made = await cloud.call(
        "POST", "operator-tokens", operator, {"name": "second", "role": "operator"}
    )
    assert (await cloud.call("GET", "whoami", made.json()["token"])).json()["organisation"] is None
    assert len((await cloud.call("GET", "operator-tokens", operator)).json()["items"]) == 2
    assert (
        await cloud.call("POST", "operator-tokens", operator, {"name": "x", "role": "auditor"})
    ).status_code == 422
    await cloud.call("DELETE", f"operator-tokens/{made.json()['id']}", operator)
    assert (await cloud.call("GET", "whoami", made.json()["token"])).status_code == 401


async def test_every_change_stands_in_the_audit_and_the_chain_holds(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    await cloud.call("POST", "links/radiology-heron/rotate", admin)
    await cloud.call("GET", "studies", admin, patient_id="P1")
    auditor = await cloud.token(Role.AUDITOR)
    types = [item["type"] for item in (await cloud.call("GET", "audit", auditor)).json()["items"]]
    assert types[1:3] == ["study.search", "link.rotate"]
    verdict = (await cloud.call("GET", "audit/verify", auditor)).json()
    assert verdict["broken_at"] is None
    assert verdict["records"] == len(types)
    own = (await cloud.call("GET", "audit", await cloud.token(Role.OPERATOR))).json()["items"]
    assert "study.search" not in [item["type"] for item in own]


async def test_every_list_pages(cloud: Cloud) -> None:
    auditor = await cloud.token(Role.AUDITOR)
    first = (await cloud.call("GET", "audit", auditor, limit=2)).json()
    assert len(first["items"]) == 2
    second = (await cloud.call("GET", "audit", auditor, limit=2, cursor=first["next"])).json()
    assert second["items"][0]["sequence"] == first["items"][1]["sequence"] - 1
    wrong = await cloud.call("GET", "audit", auditor, cursor="bm90")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "cursor")
    assert (await cloud.call("GET", "audit", auditor, limit=1001)).json()["errors"][0][
        "field"
    ] == "limit"


@pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.OPERATOR])
async def test_the_retention_is_set_and_holds_for_what_is_deleted_from_then_on(
    cloud: Cloud, role: Role
) -> None:
    setter, admin = await cloud.token(role), await cloud.token(Role.ADMINISTRATOR)
    query = {"organisation": "heron"} if role is Role.OPERATOR else {}
    await cloud.store(HERON, "radiology-heron", "1.2.3.1.1.2", b"another")
    reason = {"reason": "mistaken"}
    first = (await cloud.call("DELETE", "instances/1", admin, **reason)).json()
    changed = await cloud.call("PUT", "retention", setter, {"days": 7}, **query)
    assert (changed.status_code, changed.json()["retention_days"]) == (200, 7)
    assert (await cloud.call("GET", "whoami", admin)).json()["organisation"]["retention_days"] == 7
    second = (await cloud.call("DELETE", "studies/1.2.3.1", admin, **reason)).json()
    assert (first["until"], second["until"]) == (NOW + 30 * DAY, NOW + 7 * DAY)
    records = (await cloud.call("GET", "audit", admin)).json()["items"]
    assert next(one["detail"] for one in records if one["type"] == "retention.change") == "7 days"


@pytest.mark.parametrize("days", [0, -1, 3651, "x", None, 1.5])
async def test_a_retention_has_bounds(cloud: Cloud, days: object) -> None:
    answer = await cloud.call(
        "PUT", "retention", await cloud.token(Role.ADMINISTRATOR), {"days": days}
    )
    assert answer.status_code == 422
