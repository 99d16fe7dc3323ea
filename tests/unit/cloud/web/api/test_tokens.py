"""Tokens over the API: who updates and rotates them, and what a token cannot do to itself."""

from typing import Any

import pytest

from swallowtail.cloud.model.tenancy import Role
from tests.unit.cloud.web.conftest import NOW, Cloud


async def made(cloud: Cloud, by: str, role: str = "auditor", **body: Any) -> dict[str, Any]:
    """Create a token over the API."""
    answer = await cloud.call("POST", "tokens", by, {"name": "ward", "role": role, **body})
    assert answer.status_code == 201, answer.text
    token: dict[str, Any] = answer.json()
    return token


async def test_an_update_is_what_the_next_request_is_judged_by(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    token = await made(cloud, admin)
    path, secret = f"tokens/{token['id']}", token["token"]
    assert (await cloud.call("GET", "studies", secret)).status_code == 403
    body = {"role": "clinician", "facilities": ["annex-heron"]}
    changed = (await cloud.call("PATCH", path, admin, body)).json()
    assert (changed["role"], changed["facilities"]) == ("clinician", ["annex-heron"])
    assert (await cloud.call("GET", "studies", secret)).json()["items"] == []
    assert (await cloud.call("GET", path, admin)).json() == changed
    await cloud.call("PATCH", path, admin, {"facilities": None, "expires": NOW + 9, "name": "w"})
    assert len((await cloud.call("GET", "studies", secret)).json()["items"]) == 1
    shown = (await cloud.call("GET", path, admin)).json()
    assert [shown[key] for key in ("name", "facilities", "expires")] == ["w", None, NOW + 9]
    (record,) = (await cloud.call("GET", "audit", admin, limit=1)).json()["items"]
    assert record["type"] == "study.search"
    records = (await cloud.call("GET", "audit", admin)).json()["items"]
    details = [one["detail"] for one in records if one["type"] == "token.update"]
    assert details[1] == "role clinician; facilities annex-heron"
    assert sorted(details[0].split("; ")) == [
        f"expires {NOW + 9}",
        "facilities unlimited",
        "name w",
    ]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"role": "operator"}, 403, None),
        ({"role": "king"}, 422, "$.role"),
        ({"facilities": ["main-egret"]}, 422, "$.facilities"),
        ({"expires": NOW}, 422, "$.expires"),
        ({"token": "swt_mine"}, 422, "$.token"),
        ({"tenant": "egret"}, 422, "$.tenant"),
        ({"name": "x" * 201}, 422, "$.name"),
    ],
)
async def test_a_wrong_update_changes_nothing(
    cloud: Cloud,
    body: dict[str, Any],
    status: int,
    field: str | None,
) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    path = f"tokens/{(await made(cloud, admin))['id']}"
    before = (await cloud.call("GET", path, admin)).json()
    answer = await cloud.call("PATCH", path, admin, {"name": "changed", **body})
    assert answer.status_code == status
    if field is not None:
        assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert (await cloud.call("GET", path, admin)).json() == before


async def test_a_token_neither_widens_nor_prolongs_itself(cloud: Cloud) -> None:
    admin = await made(cloud, await cloud.token(Role.ADMINISTRATOR), "administrator")
    path = f"tokens/{admin['id']}"
    for body in ({"role": "administrator"}, {"facilities": None}, {"expires": None}):
        answer = await cloud.call("PATCH", path, admin["token"], body)
        assert answer.status_code == 403, body
        assert "own" in answer.json()["detail"]
    renamed = await cloud.call("PATCH", path, admin["token"], {"name": "me"})
    assert renamed.json()["name"] == "me"
    operator = await cloud.token(Role.OPERATOR)
    own = (await cloud.call("GET", "whoami", operator)).json()["id"]
    answer = await cloud.call("PATCH", f"operator-tokens/{own}", operator, {"expires": None})
    assert answer.status_code == 403


async def test_a_token_that_is_limited_to_facilities_manages_no_tokens(cloud: Cloud) -> None:
    limited = await cloud.token(Role.ADMINISTRATOR, facilities=frozenset({"main-heron"}))
    own = (await cloud.call("GET", "whoami", limited)).json()["id"]
    other = (await made(cloud, await cloud.token(Role.ADMINISTRATOR)))["id"]
    for token_id in (own, other):
        for method, path, body in (
            ("GET", f"tokens/{token_id}", None),
            ("PATCH", f"tokens/{token_id}", {"facilities": None}),
            ("PATCH", f"tokens/{token_id}", {"name": "x"}),
            ("POST", f"tokens/{token_id}/rotate", {}),
        ):
            answer = await cloud.call(method, path, limited, body)
            assert answer.status_code == 403, (method, path)
    assert (await cloud.call("GET", "whoami", limited)).json()["facilities"] == ["main-heron"]


async def test_a_rotation_shows_a_new_secret_once_and_the_old_one_ends_as_asked(
    cloud: Cloud,
) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    token = await made(cloud, admin)
    path = f"tokens/{token['id']}/rotate"
    second = (await cloud.call("POST", path, admin)).json()
    assert second["id"] == token["id"]
    assert (await cloud.call("GET", "whoami", token["token"])).status_code == 401
    assert (await cloud.call("GET", "whoami", second["token"])).json()["id"] == token["id"]
    third = (await cloud.call("POST", path, admin, {"grace": 86_400})).json()
    assert third["previous_until"] == NOW + 86_400
    for secret in (second["token"], third["token"]):
        assert (await cloud.call("GET", "whoami", secret)).status_code == 200
    assert third["token"] not in (await cloud.call("GET", "tokens", admin)).text
    for grace in (86_401, -1, "nan"):
        answer = await cloud.call("POST", path, admin, {"grace": grace})
        assert answer.json()["errors"][0]["field"] == "$.grace", grace
    types = [one["type"] for one in (await cloud.call("GET", "audit", admin)).json()["items"]]
    assert types.count("token.rotate") == 2
    await cloud.call("DELETE", f"tokens/{token['id']}", admin)
    answer = await cloud.call("POST", path, admin)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_an_operator_rotates_its_own_list_and_is_seen_in_an_organisations(
    cloud: Cloud,
) -> None:
    operator, admin = await cloud.token(Role.OPERATOR), await cloud.token(Role.ADMINISTRATOR)
    body = {"name": "second", "role": "operator"}
    own = (await cloud.call("POST", "operator-tokens", operator, body)).json()
    path = f"operator-tokens/{own['id']}"
    changed = await cloud.call("PATCH", path, operator, {"name": "b", "expires": NOW + 5})
    assert (changed.json()["name"], changed.json()["expires"]) == ("b", NOW + 5)
    for body in ({"role": "auditor"}, {"facilities": []}):
        assert (await cloud.call("PATCH", path, operator, body)).status_code == 422
    again = (await cloud.call("POST", f"{path}/rotate", operator)).json()
    assert (await cloud.call("GET", "whoami", again["token"])).json()["role"] == "operator"
    theirs = await made(cloud, admin, "clinician")
    answer = await cloud.call("POST", f"operator-tokens/{theirs['id']}/rotate", operator)
    assert answer.status_code == 404
    assert (await cloud.call("GET", "alarms", admin)).json()["items"] == []
    path = f"tokens/{theirs['id']}/rotate"
    assert (await cloud.call("POST", path, operator, organisation="heron")).status_code == 200
    (alarm,) = (await cloud.call("GET", "alarms", admin)).json()["items"]
    assert (alarm["condition"], alarm["subject"]) == ("operator-token", theirs["id"])


async def test_tokens_are_listed_by_what_is_asked(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    await made(cloud, admin, name="reading-1", facilities=["main-heron"])
    await made(cloud, admin, name="reading-2", facilities=["annex-heron"], expires=NOW + 9)
    for query, names in (
        ({"name": "reading-*"}, {"reading-1", "reading-2"}),
        ({"name": "reading-*", "facility": "main-heron"}, {"reading-1"}),
        ({"role": "administrator"}, {"administrator"}),
        ({"state": "revoked"}, set()),
    ):
        found = (await cloud.call("GET", "tokens", admin, **query)).json()["items"]
        assert {one["name"] for one in found} == names, query
    for query in ({"state": "dead"}, {"role": "king"}):
        assert (await cloud.call("GET", "tokens", admin, **query)).status_code == 422
    operator = await cloud.token(Role.OPERATOR)
    for name, count in (("oper*", 1), ("x", 0)):
        found = (await cloud.call("GET", "operator-tokens", operator, name=name)).json()
        assert len(found["items"]) == count
