"""Destinations over the API.

Settings in the Link's configuration, the queue beside them, and what keeps people from each other.
"""

from typing import Any

import msgspec
import pytest

from swallowtail.calls.config import EndpointKind, EndpointState
from swallowtail.cloud.model.link_session import LinkSession
from swallowtail.cloud.model.operations import Running
from swallowtail.cloud.model.tenancy import Role
from tests.unit.cloud.web.conftest import HERON, Cloud

LINK = "annex-link-heron"
PACS = f"destinations/{LINK}:pacs"
SETTINGS = {"name": "archive", "host": "archive.example", "port": 11112, "ae_title": "ARCHIVE"}


async def test_a_destination_is_made_shown_changed_and_removed(cloud: Cloud) -> None:
    admin = await cloud.token(Role.INTEGRATOR)
    made = await cloud.call(
        "POST",
        "destinations",
        admin,
        {"link": LINK, "settings": SETTINGS, "comment": "new archive"},
    )
    assert made.status_code == 201
    shown = made.json()
    assert (shown["id"], shown["version"], shown["name"]) == (f"{LINK}:archive", 2, "archive")
    assert shown["settings"]["timeouts"]["response"] == 120.0, "defaults are written out"
    assert (shown["queue"]["breaker"], shown["queue"]["paused"], shown["reported"]) == (
        "closed",
        False,
        None,
    )
    path = f"destinations/{shown['id']}"
    assert (await cloud.call("GET", path, admin)).json() == shown
    change = {"settings": {"port": 104, "timeouts": {"connect": 3}}}
    changed = (await cloud.call("PATCH", path, admin, change)).json()
    assert (changed["settings"]["port"], changed["version"]) == (104, 3)
    assert changed["settings"]["timeouts"] == shown["settings"]["timeouts"] | {"connect": 3.0}
    back = (await cloud.call("PATCH", path, admin, {"settings": {"timeouts": None}})).json()
    assert back["settings"]["timeouts"] == shown["settings"]["timeouts"]
    history = (await cloud.call("GET", f"links/{LINK}/configuration/versions", admin)).json()[
        "items"
    ]
    assert [one["comment"] for one in history] == ["", "", "new archive", ""]
    assert (await cloud.call("DELETE", path, admin)).status_code == 204
    assert (await cloud.call("GET", path, admin)).status_code == 404
    assert [
        one["name"] for one in (await cloud.call("GET", "destinations", admin)).json()["items"]
    ] == ["pacs"]
    assert set(cloud.bus.published) == {f"link/{LINK}"}


async def test_the_first_destination_makes_the_first_configuration(cloud: Cloud) -> None:
    body = {"link": "radiology-heron", "settings": SETTINGS, "expected": 0}
    made = await cloud.call(
        "POST", "destinations", await cloud.token(Role.OPERATOR), body, organisation="heron"
    )
    assert (made.status_code, made.json()["version"]) == (201, 1)


@pytest.mark.parametrize(
    ("settings", "field", "message"),
    [
        ({"port": 0}, "$.settings.port", "`int` >= 1"),
        ({"ae_title": "A\\B"}, "$.settings.ae_title", "is not an AE title"),
        ({"host": None}, "$.settings", "missing required field `host`"),
        ({"prot": 1}, "$.settings", "unknown field `prot`"),
        ({"timeouts": {"connect": -1}}, "$.settings.timeouts.connect", "`float` > 0"),
        ({"name": "other"}, "$.settings.name", "keeps its name"),
        ({"name": None}, "$.settings", "keeps its name"),
    ],
)
async def test_settings_that_cannot_be_used_name_their_field(
    cloud: Cloud, settings: dict[str, Any], field: str, message: str
) -> None:
    answer = await cloud.call(
        "PATCH", PACS, await cloud.token(Role.ADMINISTRATOR), {"settings": settings}
    )
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["field"].startswith(field)
    assert message in fault["message"]
    assert answer.json()["remedy"]


async def test_what_is_taken_stale_or_still_used_is_a_conflict(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    doubled = await cloud.call(
        "POST", "destinations", admin, {"link": LINK, "settings": SETTINGS | {"name": "pacs"}}
    )
    stale = await cloud.call("PATCH", PACS, admin, {"settings": {"port": 105}, "expected": 7})
    used = await cloud.call("DELETE", PACS, admin)
    for answer, word in (
        (doubled, "already"),
        (stale, "the newest version is 1, not 7"),
        (used, "the rule 'all' sends there"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert word in answer.json()["detail"]


async def test_a_change_is_made_again_on_top_of_another_ones(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, others = (
        cloud.records.configuration.put,
        [{"name": "other", "host": "h", "port": 1, "ae_title": "O"}],
    )

    async def raced(*args: Any, **values: Any) -> Any:
        if others:
            entry = {"name": "pacs", "host": "10.0.0.9", "port": 104, "ae_title": "PACS"}
            monkeypatch.setattr(cloud.records.configuration, "put", put)
            await cloud.configure(HERON, LINK, {"destinations": [others.pop(), entry]})
        return await put(*args, **values)

    monkeypatch.setattr(cloud.records.configuration, "put", raced)
    admin = await cloud.token(Role.ADMINISTRATOR)
    changed = (await cloud.call("PATCH", PACS, admin, {"settings": {"port": 105}})).json()
    assert (changed["settings"]["port"], changed["version"], changed["name"]) == (105, 3, "pacs")
    assert [
        one["name"] for one in (await cloud.call("GET", "destinations", admin)).json()["items"]
    ] == ["other", "pacs"]


async def test_the_list_pages_over_links_and_keeps_to_the_callers_facilities(cloud: Cloud) -> None:
    for link in ("annex-link-heron", "radiology-heron"):
        entries = [
            {"name": name, "host": "h", "port": 1, "ae_title": "X"} for name in ("c", "a", "b")
        ]
        await cloud.configure(HERON, link, {"destinations": entries})
    admin = await cloud.token(Role.AUDITOR)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(4):
        page = (await cloud.call("GET", "destinations", admin, limit=2, **cursor)).json()
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == [
        f"{link}:{name}" for link in ("annex-link-heron", "radiology-heron") for name in "abc"
    ]
    one = (await cloud.call("GET", "destinations", admin, link="radiology-heron")).json()["items"]
    assert len(one) == 3
    limited = await cloud.token(Role.INTEGRATOR, facilities=frozenset({"main-heron"}))
    mine = (await cloud.call("GET", "destinations", limited)).json()["items"]
    assert {item["link"] for item in mine} == {"radiology-heron"}
    for method, path, body in (
        ("GET", f"destinations/{LINK}:a", None),
        ("PATCH", f"destinations/{LINK}:a", {"settings": {}}),
        ("DELETE", f"destinations/{LINK}:a", None),
        ("POST", f"destinations/{LINK}:a/check", None),
        ("POST", f"destinations/{LINK}:a/pause", None),
        ("POST", f"destinations/{LINK}:a/resume", None),
        ("POST", "destinations", {"link": LINK, "settings": SETTINGS}),
    ):
        assert (await cloud.call(method, path, limited, body)).status_code == 404, (method, path)
    assert (await cloud.call("GET", "destinations", limited, link=LINK)).status_code == 404


async def test_the_reported_state_is_of_the_destination_and_not_of_a_listener(cloud: Cloud) -> None:
    endpoints = [
        EndpointState(name="pacs", state="listening"),
        EndpointState(
            name="pacs", state="failed", detail="refused", since=5.0, kind=EndpointKind.DESTINATION
        ),
    ]
    report = msgspec.msgpack.encode(endpoints)
    running = Running(link=LINK, connected=True, since=1.0, seen=2.0, version=1, report=report)
    await cloud.records.configuration.note_running(HERON, running)
    shown = (await cloud.call("GET", PACS, await cloud.token(Role.AUDITOR))).json()
    assert (
        shown["reported"]["state"],
        shown["reported"]["detail"],
        shown["reported"]["since"],
    ) == (
        "failed",
        "refused",
        5.0,
    )


async def test_pause_and_resume_are_kept_audited_and_wake_the_queue(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    paused = (await cloud.call("POST", f"{PACS}/pause", admin)).json()["queue"]
    assert paused["paused"]
    assert paused["paused_by"] == (await cloud.call("GET", "whoami", admin)).json()["id"]
    assert not (await cloud.call("POST", f"{PACS}/resume", admin)).json()["queue"]["paused"]
    assert cloud.bus.published == [f"deliveries/{LINK}"] * 2
    kinds = [record.event.type for record in (await cloud.records.audit.records(HERON)).items]
    assert kinds[:2] == ["destination.resume", "destination.pause"]


async def test_a_check_names_its_steps_and_needs_the_link_and_its_newest_configuration(
    cloud: Cloud,
) -> None:
    admin = await cloud.token(Role.INTEGRATOR)
    offline = await cloud.call("POST", f"{PACS}/check", admin)
    assert (offline.status_code, offline.json()["code"]) == (503, "link-offline")
    cloud.sessions.live[HERON, LINK] = LinkSession(
        since=1.0, proven=2.0, address="192.0.2.1", release="0.1.0", epoch=1
    )
    checked = (await cloud.call("POST", f"{PACS}/check", admin)).json()
    assert [(step["name"], step["ok"]) for step in checked["steps"]] == [
        ("resolve", True),
        ("connect", False),
    ]
    assert not checked["ok"]
    assert (await cloud.records.audit.records(HERON)).items[0].event.type == "destination.check"
    assert "look whether the PACS runs" in checked["steps"][-1]["detail"]
    await cloud.records.configuration.note_running(
        HERON, Running(link=LINK, connected=True, since=1.0, seen=2.0, version=1)
    )
    await cloud.call("PATCH", PACS, admin, {"settings": {"port": 105}})
    behind = await cloud.call("POST", f"{PACS}/check", admin)
    assert (behind.status_code, behind.json()["code"]) == (409, "conflict")
    assert "the Link runs version 1 of its configuration, not 2 yet" in behind.json()["detail"]


@pytest.mark.parametrize(
    "wrong", ["pacs", ":pacs", f"{LINK}:", f"{LINK}:nothing", "nothing:pacs", "a:b:c"]
)
async def test_an_id_that_is_none_is_not_found(cloud: Cloud, wrong: str) -> None:
    answer = await cloud.call("GET", f"destinations/{wrong}", await cloud.token(Role.AUDITOR))
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
