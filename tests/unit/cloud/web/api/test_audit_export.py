"""Receivers of the audit over REST.

What cannot be used is refused with its field, and a private key never comes back.
"""

from typing import Any

import pytest

from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.tenancy import Role
from tests.syslog_receiver import client_certificate
from tests.unit.cloud.web.conftest import EGRET, HERON, NOW, Cloud

CERTIFICATE, KEY = client_certificate()
_, OTHER_KEY = client_certificate()
RECEIVER = {
    "host": "arr.example",
    "authorities": CERTIFICATE,
    "certificate": CERTIFICATE,
    "key": KEY,
}


async def put(cloud: Cloud, **values: Any) -> Any:
    return await cloud.call(
        "PUT", "audit/export", await cloud.token(Role.ADMINISTRATOR), RECEIVER | values
    )


async def test_a_receiver_is_set_seen_changed_and_removed(cloud: Cloud) -> None:
    admin, auditor = await cloud.token(Role.ADMINISTRATOR), await cloud.token(Role.AUDITOR)
    assert (await cloud.call("GET", "audit/export", auditor)).status_code == 404
    answer = await put(cloud, whole=True)
    assert answer.status_code == 200, answer.text
    seen = (await cloud.call("GET", "audit/export", auditor)).json()
    assert (seen["host"], seen["port"], seen["sequence"], seen["failing_since"]) == (
        "arr.example",
        6514,
        0,
        None,
    )
    assert seen["waiting"] == (await cloud.records.audit.head(HERON)).sequence
    assert (
        await put(cloud, host="other.example", key=None)
    ).status_code == 200  # the key of the same certificate stays
    alarm = NewAlarm(condition=Condition.AUDIT_EXPORT, subject="receiver", severity=Severity.MAJOR)
    await cloud.records.alarms.raise_alarm(HERON, alarm, now=NOW)
    assert (await cloud.call("DELETE", "audit/export", admin)).status_code == 204
    assert (
        await cloud.records.alarms.alarms(HERON)
    ).items == ()  # nobody waits for the receiver any more
    assert (await cloud.call("DELETE", "audit/export", admin)).status_code == 404
    types = [one.event.type for one in (await cloud.records.audit.records(HERON)).items]
    assert [one for one in types if "export" in one] == [
        "audit.export.remove",
        "audit.export",
        "audit.export",
    ]


async def test_a_private_key_is_kept_sealed_and_is_in_no_answer(cloud: Cloud) -> None:
    answer = await put(cloud)
    kept = await cloud.records.audit_exports.export(HERON)
    assert kept is not None
    assert kept.receiver.key.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    seen = await cloud.call("GET", "audit/export", await cloud.token(Role.ADMINISTRATOR))
    audit = await cloud.call("GET", "audit", await cloud.token(Role.AUDITOR))
    for text in (answer.text, seen.text, audit.text):
        assert "PRIVATE KEY" not in text


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"host": ""}, "$.host"),
        ({"host": "a b"}, "$.host"),
        ({"host": "https://arr.example/"}, "$.host"),
        ({"port": 0}, "$.port"),
        ({"authorities": "nothing"}, "$.authorities"),
        ({"certificate": "", "key": KEY}, "$.key"),
        ({"key": None}, "$.key"),
        ({"key": "nothing"}, "$.key"),
        ({"key": OTHER_KEY}, "$.certificate"),
        ({"certificate": "nothing"}, "$.certificate"),
        ({"verify": False}, "$.verify"),
    ],
)
async def test_what_cannot_be_used_is_refused_with_its_field(
    cloud: Cloud, values: dict[str, Any], field: str
) -> None:
    answer = await put(cloud, **values)
    assert answer.status_code == 422, answer.text
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert await cloud.records.audit_exports.export(HERON) is None


async def test_an_export_is_seen_and_changed_by_its_own_organisation_alone(cloud: Cloud) -> None:
    await put(cloud)
    for role in (Role.ADMINISTRATOR, Role.AUDITOR):
        other = await cloud.token(role, EGRET)
        assert (await cloud.call("GET", "audit/export", other)).status_code == 404
        assert (
            await cloud.call("GET", "audit/export", other, organisation=HERON)
        ).status_code == 404
    operator = await cloud.token(Role.OPERATOR)
    for method in ("GET", "PUT", "DELETE"):
        body = RECEIVER if method == "PUT" else None
        assert (
            await cloud.call(method, "audit/export", operator, body, organisation=HERON)
        ).status_code == 403
    assert (
        await cloud.call("PUT", "audit/export", operator, RECEIVER)
    ).status_code == 200  # of its own chain
    limited = await cloud.token(Role.ADMINISTRATOR, facilities=frozenset({"main-heron"}))
    assert (await cloud.call("GET", "audit/export", limited)).status_code == 403
    for role in (Role.AUDITOR, Role.INTEGRATOR, Role.CLINICIAN):
        assert (
            await cloud.call("PUT", "audit/export", await cloud.token(role), RECEIVER)
        ).status_code == 403
