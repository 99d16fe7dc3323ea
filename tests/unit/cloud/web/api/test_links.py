"""Links and their configuration over the API."""

from typing import Any

import msgspec
import pytest

from swallowtail.calls.config import EndpointKind, EndpointState
from swallowtail.cloud.link_administration.configuration import compare
from swallowtail.cloud.model.link_session import LinkSession
from swallowtail.cloud.model.operations import ConfigurationVersion, Running, UnknownDevice
from swallowtail.cloud.model.tenancy import Role
from tests.unit.cloud.web.conftest import HERON, NOW, Cloud

LINK = "links/radiology-heron"
LISTENER = {"name": "store", "ae_title": "SWALLOWTAIL", "port": 104}


async def test_a_new_link_shows_its_code_once(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    made = await cloud.call("POST", "links", admin, {"name": "ct", "facility": "main-heron"})
    assert made.status_code == 201
    link = made.json()
    assert (link["code_state"], link["code_until"], link["epoch"]) == (
        "fresh",
        NOW + 14 * 86_400,
        0,
    )
    for path in ("links", f"links/{link['id']}"):
        assert link["code"] not in (await cloud.call("GET", path, admin)).text
    assert (
        await cloud.call("POST", "links", admin, {"name": "ct", "facility": "main-heron"})
    ).status_code == 409
    assert (
        await cloud.call("POST", "links", admin, {"name": "x", "facility": "main-egret"})
    ).status_code == 404
    named = (await cloud.call("GET", "links", admin, name="ct")).json()["items"]
    assert [item["id"] for item in named] == [link["id"]]


@pytest.mark.parametrize(
    ("act", "state", "until"),
    [("rotate", "fresh", 14 * 86_400), ("rebind", "fresh", 3600), ("revoke", "revoked", None)],
)
async def test_a_change_of_the_code_raises_the_epoch_and_wakes_the_session(
    cloud: Cloud, act: str, state: str, until: float | None
) -> None:
    answer = (await cloud.call("POST", f"{LINK}/{act}", await cloud.token(Role.INTEGRATOR))).json()
    assert answer["code_state"] == state
    assert answer["epoch"] == 1
    assert ("code" in answer) is (act != "revoke")
    if until is not None:
        assert answer["code_until"] == NOW + until
    assert cloud.bus.published == ["link/radiology-heron"]


async def test_a_link_moves_and_is_removed(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    moved = (
        await cloud.call("PATCH", LINK, admin, {"facility": "annex-heron", "name": "moved"})
    ).json()
    assert (moved["facility"], moved["name"]) == ("annex-heron", "moved")
    assert (await cloud.call("PATCH", LINK, admin, {"facility": "main-egret"})).status_code == 404
    assert (await cloud.call("DELETE", LINK, admin)).status_code == 204
    assert (await cloud.call("GET", LINK, admin)).status_code == 404
    assert (await cloud.call("GET", "instances", admin)).json()["items"], "what it brought stays"


async def test_presence_is_the_sessions_own_where_there_is_one(cloud: Cloud) -> None:
    auditor = await cloud.token(Role.AUDITOR)
    assert not (await cloud.call("GET", LINK, auditor)).json()["session"]["online"]
    kept = Running(
        link="radiology-heron",
        connected=False,
        since=1.0,
        seen=2.0,
        address="192.0.2.1",
        release="0.0.9",
    )
    await cloud.records.configuration.note_running(HERON, kept)
    session_state = (await cloud.call("GET", LINK, auditor)).json()["session"]
    assert (
        session_state["online"],
        session_state["since"],
        session_state["last_seen"],
        session_state["release"],
    ) == (
        False,
        1.0,
        2.0,
        "0.0.9",
    )
    live = LinkSession(since=3.0, proven=4.0, address="192.0.2.2", release="0.1.0", epoch=1)
    cloud.sessions.live[HERON, "radiology-heron"] = live
    session_state = (await cloud.call("GET", LINK, auditor)).json()["session"]
    assert (session_state["online"], session_state["since"], session_state["address"]) == (
        True,
        3.0,
        "192.0.2.2",
    )
    assert (await cloud.call("GET", f"{LINK}/status", auditor)).json()["endpoints"][0][
        "state"
    ] == "listening"
    assert (
        await cloud.call("POST", f"{LINK}/ping", await cloud.token(Role.INTEGRATOR), bytes=2048)
    ).json()["bytes"] == 2048


async def test_versions_grow_conflicts_are_seen_and_the_same_again_is_no_version(
    cloud: Cloud,
) -> None:
    admin = await cloud.token(Role.INTEGRATOR)
    path = f"{LINK}/configuration"
    missing = await cloud.call("GET", path, admin)
    assert "put one" in missing.json()["detail"]
    document = {"listeners": [LISTENER]}
    first = (
        await cloud.call(
            "PUT", path, admin, {"document": document, "expected": 0, "comment": "first"}
        )
    ).json()
    assert (first["version"], first["comment"]) == (1, "first")
    assert first["document"]["listeners"][0]["timeouts"] == {"associate": 30.0, "idle": 300.0}, (
        "defaults are written out"
    )
    again = (await cloud.call("PUT", path, admin, {"document": document})).json()
    assert again["version"] == 1
    stale = await cloud.call("PUT", path, admin, {"document": {}, "expected": 0})
    assert (stale.status_code, stale.json()["code"]) == (409, "conflict")
    assert (await cloud.call("PUT", path, admin, {"document": {}})).json()["version"] == 2
    rolled = (await cloud.call("POST", f"{path}/rollback", admin, {"version": 1})).json()
    assert (rolled["version"], rolled["restored_from"], rolled["document"]) == (
        3,
        1,
        first["document"],
    )
    assert (await cloud.call("POST", f"{path}/rollback", admin, {"version": 9})).status_code == 404
    history = (await cloud.call("GET", f"{path}/versions", admin)).json()["items"]
    assert [(item["version"], item["document"]) for item in history] == [
        (3, None),
        (2, None),
        (1, None),
    ]
    assert (await cloud.call("GET", f"{path}/versions/2", admin)).json()["document"][
        "listeners"
    ] == []
    assert set(cloud.bus.published) == {"link/radiology-heron"}


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ({"listeners": [LISTENER | {"prot": 1}]}, "$.listeners[0]", "unknown field `prot`"),
        ({"listeners": [LISTENER | {"port": 0}]}, "$.listeners[0].port", "`int` >= 1"),
        ({"listeners": [LISTENER, LISTENER]}, "$.listeners[...].name", "used 2 times"),
        (
            {"listeners": [LISTENER | {"address": "x"}]},
            "$.listeners[0].address",
            "not an IP address",
        ),
        (
            {"devices": [{"name": "d", "ae_title": "A\\B", "addresses": ["::1"]}]},
            "$.devices[0].ae_title",
            "is not an AE title",
        ),
        (
            {"devices": [{"name": "d", "ae_title": "A", "addresses": ["::1"], "listeners": ["x"]}]},
            "$.devices[0].listeners",
            "no listener 'x'",
        ),
    ],
)
async def test_a_document_that_cannot_run_names_its_fields(
    cloud: Cloud, document: Any, field: str, message: str
) -> None:
    answer = await cloud.call(
        "PUT", f"{LINK}/configuration", await cloud.token(Role.INTEGRATOR), {"document": document}
    )
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid-configuration"
    faults = {fault["field"]: fault["message"] for fault in answer.json()["errors"]}
    assert message in faults[field], faults


async def test_the_schema_of_a_configuration_is_published(cloud: Cloud) -> None:
    schema = (
        await cloud.call("GET", "schemas/configuration", await cloud.token(Role.CLINICIAN))
    ).json()
    assert schema["$defs"]["DicomListener"]["properties"]["port"]["maximum"] == 65535


def version(number: int, *names: str) -> ConfigurationVersion:
    listeners = ",".join(
        f'{{"name":"{name}","ae_title":"A","port":{n + 1}}}' for n, name in enumerate(names)
    )
    document = f'{{"listeners":[{listeners}]}}'.encode()
    return ConfigurationVersion(
        link="l", version=number, document=document, author="a", created=0.0
    )


def running(number: int, **states: str) -> Running:
    report = msgspec.msgpack.encode(
        [EndpointState(name=name, state=state) for name, state in states.items()]
    )
    return Running(link="l", connected=True, since=0.0, seen=0.0, version=number, report=report)


@pytest.mark.parametrize(
    ("desired", "runs", "online", "in_sync"),
    [
        (None, None, False, False),
        (None, None, True, True),
        (version(1, "a"), None, True, False),
        (version(1, "a"), running(1, a="listening"), True, True),
        (version(1, "a"), running(1, a="listening"), False, False),
        (version(1, "a"), running(1, a="failed"), True, False),
        (version(2, "a"), running(1, a="listening"), True, False),
        (version(1, "a", "b"), running(1, a="listening"), True, False),
        (version(1, "a"), running(1, a="listening", old="closing"), True, True),
    ],
)
def test_in_sync_means_online_newest_and_every_desired_listener_listening(
    desired: ConfigurationVersion | None, runs: Running | None, online: bool, in_sync: bool
) -> None:
    assert compare(desired, runs, online=online).in_sync is in_sync


def test_the_comparison_lists_every_destination_and_a_failing_one_does_not_affect_in_sync() -> None:
    document = (
        b'{"listeners":[{"name":"a","ae_title":"A","port":104}],"destinations":['
        b'{"name":"a","ae_title":"P","host":"pacs","port":104},'
        b'{"name":"b","ae_title":"P","host":"pacs2","port":104}]}'
    )
    desired = ConfigurationVersion(link="l", version=1, document=document, author="a", created=0.0)
    states = [
        EndpointState(name="a", state="listening"),
        EndpointState(name="a", state="failed", detail="refused", kind=EndpointKind.DESTINATION),
        EndpointState(name="old", state="unused", kind=EndpointKind.DESTINATION),
    ]
    runs = Running(
        link="l",
        connected=True,
        since=0.0,
        seen=0.0,
        version=1,
        report=msgspec.msgpack.encode(states),
    )
    comparison = compare(desired, runs, online=True)
    assert comparison.in_sync
    assert [
        (one.kind, one.name, one.desired, one.reported and one.reported.state)
        for one in comparison.endpoints
    ] == [
        ("listener", "a", True, "listening"),
        ("destination", "a", True, "failed"),
        ("destination", "b", True, None),
        ("destination", "old", False, "unused"),
    ]


@pytest.mark.parametrize(
    ("calling_ae", "reason", "hint"),
    [
        (
            " US 1 ",
            "calling-ae",
            {"name": "us-1", "ae_title": "US 1", "addresses": ["10.0.0.1"], "listeners": ["store"]},
        ),
        (
            "US1",
            "address",
            {"name": "us1", "ae_title": "US1", "addresses": ["10.0.0.1"], "listeners": ["store"]},
        ),
        ("US1", "called-ae", {}),
        ("   ", "calling-ae", {}),
        ("A\\B<script>", "calling-ae", {}),
    ],
)
async def test_an_unknown_device_comes_with_the_entry_that_would_let_it_in(
    cloud: Cloud, calling_ae: str, reason: str, hint: dict[str, Any]
) -> None:
    seen = UnknownDevice(
        link="radiology-heron",
        listener="store",
        address="10.0.0.1",
        calling_ae=calling_ae,
        called_ae="X",
        reason=reason,
        count=1,
        first=1.0,
        last=1.0,
    )
    await cloud.records.configuration.note_unknown(HERON, [seen])
    admin = await cloud.token(Role.INTEGRATOR)
    (device,) = (await cloud.call("GET", "unknown-devices", admin, link="radiology-heron")).json()[
        "items"
    ]
    assert device["hint"] == hint
    dismissed = {"link": "radiology-heron", "address": "10.0.0.1", "calling_ae": calling_ae}
    assert (
        await cloud.call("POST", "unknown-devices/dismiss", admin, dismissed)
    ).status_code == 204
    assert (await cloud.call("GET", "unknown-devices", admin)).json()["items"] == []
