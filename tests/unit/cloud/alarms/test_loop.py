"""The one loop of periodic checks, its table, and the document of all conditions."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

import pytest
from structlog.testing import capture_logs

from swallowtail.cloud.alarms import loop as loop_module
from swallowtail.cloud.alarms.check import AlarmCheck
from swallowtail.cloud.alarms.loop import AlarmLoop
from swallowtail.cloud.alarms.table import CHECKS
from swallowtail.cloud.model.conditions import CONDITIONS, Condition, Severity
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import NORTH, NOW, SOUTH, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase
from tests.unit.cloud.alarms.examination import loop_of, sources_of
from tools import generate_alarms

CLEARED_BY_A_CHANGE = {
    Condition.INSTANCE_CONFLICT: (
        "conformance/test_instances.py::test_choosing_a_copy_clears_the_alarm_of_the_conflict"
    ),
    Condition.INSTANCE_QUARANTINED: (
        "conformance/test_index_jobs.py"
        "::test_what_is_quarantined_waits_again_and_its_alarm_is_cleared_when_it_is_read"
    ),
    Condition.LINK_KEY: "conformance/test_links.py::test_new_credentials_clear_the_alarm_of_a_key",
    Condition.CONFIGURATION_REFUSED: (
        "rest/test_links.py::test_a_refused_configuration_is_shown_and_alarmed_until_one_is_applied"
    ),
    Condition.STORAGE: (
        "unit/cloud/ingest/test_alarm.py"
        "::test_a_full_disk_raises_one_alarm_and_the_next_success_clears_it"
    ),
    Condition.DESTINATION_FAILING: (
        "unit/cloud/dispatch/test_runner.py"
        "::test_the_breaker_opens_with_an_alarm_and_closes_with_the_first_success"
    ),
    Condition.DEAD_LETTER: (
        "conformance/test_delivery_acts.py::test_its_alarm_is_cleared_with_what_a_person_decides"
    ),
    Condition.LANE_STOPPED: (
        "conformance/test_delivery_acts.py::test_its_alarm_is_cleared_with_what_a_person_decides"
    ),
    Condition.AUDIT_EXPORT: (
        "unit/cloud/audit_export/test_exporter.py"
        "::test_a_receiver_that_is_away_is_tried_less_and_less_and_raises_an_alarm_that_clears"
    ),
    Condition.OPERATOR_TOKEN: (
        "conformance/test_tokens.py"
        "::test_the_organisation_clears_the_alarm_by_a_rotation_that_leaves_no_old_secret"
    ),
}
"""The test of each condition that has no periodic check, which is raised and cleared by changes."""


class Failing(AlarmCheck):
    """A check that raises `error`, or never ends."""

    condition: ClassVar[Condition] = Condition.DISK_LOW
    error: ClassVar[Exception | None] = None

    async def alarms(self, tenant: Tenant, now: float) -> Collection[NewAlarm]:
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()
        return []


class Raised(AlarmCheck):
    """A check whose condition holds in one organisation."""

    condition: ClassVar[Condition] = Condition.QUEUE_OLD
    holds: ClassVar[bool] = True

    async def alarms(self, tenant: Tenant, now: float) -> Collection[NewAlarm]:
        if tenant != NORTH or not self.holds:
            return []
        alarm = NewAlarm(condition=self.condition, subject="x", severity=Severity.WARNING)
        return [alarm]


@pytest.fixture
async def records() -> Records:
    records = Records(MemoryDatabase(CommittedRows()))
    await tenants(records)
    return records


async def raised(records: Records, tenant: Tenant = NORTH) -> list[tuple[Condition, int]]:
    found = await records.alarms.alarms(tenant)
    return [(one.condition, one.count) for one in found.items]


@pytest.mark.parametrize("error", [StorageUnavailableError(), None])
async def test_a_check_that_fails_or_never_ends_stops_no_other(
    records: Records, error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    if error is None:
        monkeypatch.setattr(loop_module, "CHECK_LIMIT", 1.0)
    with capture_logs() as logs:
        await AlarmLoop(sources_of(records, lambda: NOW), [Failing, Raised]).examine()
    assert [one["event"] for one in logs] == ["periodic check deferred"]
    assert await raised(records) == [(Condition.QUEUE_OLD, 1)]


async def test_a_fault_in_a_check_is_logged_and_stops_no_other(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "error", ZeroDivisionError())
    with capture_logs() as logs:
        await AlarmLoop(sources_of(records, lambda: NOW), [Failing, Raised]).examine()
    assert [(one["event"], one["kind"]) for one in logs] == [("periodic check failed", "disk-low")]
    assert await raised(records) == [(Condition.QUEUE_OLD, 1)]


async def test_a_condition_is_raised_once_and_cleared_when_it_ends(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = loop_of(Raised, records, lambda: NOW)
    await loop.examine()
    await loop.examine()
    assert await raised(records) == [(Condition.QUEUE_OLD, 1)]
    assert await raised(records, SOUTH) == []
    monkeypatch.setattr(Raised, "holds", False)
    await loop.examine()
    assert await raised(records) == []


def test_every_condition_is_defined_and_every_check_is_in_the_table() -> None:
    assert set(CONDITIONS) == set(Condition)
    assert all(one.severities for one in CONDITIONS.values())
    assert {check.condition for check in CHECKS.values()} == set(CHECKS)


def test_every_other_condition_is_cleared_by_a_change_that_a_test_makes() -> None:
    assert set(CLEARED_BY_A_CHANGE) == set(Condition) - set(CHECKS)
    for test in CLEARED_BY_A_CHANGE.values():
        path, _, name = test.partition("::")
        assert f"def {name}(" in Path("tests", path).read_text(encoding="utf-8"), test


def test_an_alarm_has_a_severity_of_its_condition() -> None:
    with pytest.raises(ValueError, match="disk-low has no severity warning"):
        NewAlarm(condition=Condition.DISK_LOW, subject="disk", severity=Severity.WARNING)


def test_the_document_is_current() -> None:
    assert generate_alarms.PAGE.read_text() == generate_alarms.page()
