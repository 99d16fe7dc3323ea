"""Lists by what is asked for: rules, alarms, audit records."""

from typing import Any

import pytest

from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.tenancy import Role
from tests.unit.cloud.web.conftest import HERON, NOW, STUDY, Cloud


async def items(cloud: Cloud, path: str, token: str, **query: Any) -> list[dict[str, Any]]:
    answer = await cloud.call("GET", path, token, **query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_rules_are_found_by_name_state_and_destination(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    other = {"name": "x", "host": "192.0.2.1", "port": 104, "ae_title": "X"}
    body = {"link": "annex-link-heron", "settings": other}
    destination = (await cloud.call("POST", "destinations", admin, body)).json()["id"]
    for name, enabled in (("CT night", False), ("CT day", True)):
        rule = {"name": name, "enabled": enabled, "action": {"targets": [destination]}}
        assert (await cloud.call("POST", "rules", admin, rule)).status_code == 201
    for query, names in (
        ({}, ["all", "CT night", "CT day"]),
        ({"name": "ct*"}, ["CT night", "CT day"]),
        ({"name": "all"}, ["all"]),
        ({"enabled": False}, ["CT night"]),
        ({"enabled": True, "name": "*day"}, ["CT day"]),
        ({"destination": destination}, ["CT night", "CT day"]),
        ({"destination": "annex-link-heron:pacs"}, ["all"]),
        ({"destination": "annex-link-egret:pacs"}, []),
    ):
        assert [one["name"] for one in await items(cloud, "rules", admin, **query)] == names, query
    first = (await cloud.call("GET", "rules", admin, name="ct*", limit=1)).json()
    rest = await items(cloud, "rules", admin, name="ct*", limit=1, cursor=first["next"])
    assert [one["name"] for one in first["items"] + rest] == ["CT night", "CT day"]
    assert (await cloud.call("GET", "rules", admin, destination="nonsense")).status_code == 404


async def test_alarms_are_found_by_condition_severity_subject_and_state(cloud: Cloud) -> None:
    for number, (condition, severity) in enumerate(
        (
            (Condition.LINK_OFFLINE, Severity.MAJOR),
            (Condition.STORAGE, Severity.CRITICAL),
            (Condition.QUEUE_OLD, Severity.WARNING),
        )
    ):
        new = NewAlarm(condition=condition, subject=f"s{number}", severity=severity)
        await cloud.records.alarms.raise_alarm(HERON, new, now=NOW + number)
    await cloud.records.alarms.clear(HERON, Condition.QUEUE_OLD, "s2", now=NOW + 5)
    admin = await cloud.token(Role.ADMINISTRATOR)
    (disk,) = await items(cloud, "alarms", admin, condition="storage")
    await cloud.call("POST", f"alarms/{disk['id']}/acknowledge", admin)
    for query, subjects in (
        ({}, ["s1", "s0"]),
        ({"cleared": True}, ["s2", "s1", "s0"]),
        ({"state": "cleared"}, ["s2"]),
        ({"state": "raised", "cleared": True}, ["s1", "s0"]),
        ({"condition": ["storage", "link-offline"]}, ["s1", "s0"]),
        ({"condition": "queue-old"}, []),
        ({"severity": "major"}, ["s0"]),
        ({"subject": "s1"}, ["s1"]),
        ({"acknowledged": False}, ["s0"]),
        ({"since": NOW + 1, "cleared": True}, ["s2", "s1"]),
        ({"since": NOW + 1, "before": NOW + 2, "cleared": True}, ["s1"]),
    ):
        found = await items(cloud, "alarms", admin, **query)
        assert [one["subject"] for one in found] == subjects, query


async def test_an_auditor_finds_who_saw_a_study_and_what_a_token_did(cloud: Cloud) -> None:
    reader, auditor = await cloud.token(Role.CLINICIAN), await cloud.token(Role.AUDITOR)
    me = (await cloud.call("GET", "whoami", reader)).json()["id"]
    await cloud.call("GET", "studies", reader)
    assert (await cloud.call("GET", "instances/1/file", reader)).status_code == 200
    for query, types in (
        ({"actor": me}, ["instance.fetch", "study.search"]),
        ({"object": STUDY, "actor": me}, ["instance.fetch"]),
        ({"type": "study.search"}, ["study.search"]),
        ({"actor": me, "outcome": "failure"}, []),
        ({"actor": me, "outcome": "success", "limit": 1}, ["instance.fetch"]),
        ({"actor": me, "before": NOW}, []),
        ({"actor": me, "since": NOW}, ["instance.fetch", "study.search"]),
    ):
        found = await items(cloud, "audit", auditor, **query)
        assert [one["type"] for one in found] == types, query


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("alarms", {"condition": "warp-core"}, "condition.0"),
        ("alarms", {"severity": "bad"}, "severity.0"),
        ("alarms", {"state": "dead"}, "state"),
        ("alarms", {"since": "yesterday"}, "since"),
        ("audit", {"outcome": "maybe"}, "outcome"),
        ("audit", {"before": "nan"}, "before"),
        ("audit", {"type": "x" * 65}, "type"),
        ("rules", {"enabled": "perhaps"}, "enabled"),
        ("tokens", {"state": "dead"}, "state"),
    ],
)
async def test_a_value_that_no_list_knows_is_named(
    cloud: Cloud,
    path: str,
    query: dict[str, Any],
    field: str,
) -> None:
    answer = await cloud.call("GET", path, await cloud.token(Role.ADMINISTRATOR), **query)
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
