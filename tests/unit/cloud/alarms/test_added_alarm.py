"""The page "Add an alarm": a check that is entered where the page says, and nowhere else, is run by
the loop, raised and cleared.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

import pytest

from swallowtail.cloud.alarms import table
from swallowtail.cloud.alarms.check import AlarmCheck
from swallowtail.cloud.alarms.loop import AlarmLoop
from swallowtail.cloud.model import conditions
from swallowtail.cloud.model.conditions import Condition, Definition, Severity
from swallowtail.cloud.model.operations import NewAlarm
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import NORTH, NOW, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase
from tests.unit.cloud.alarms.examination import sources_of
from tools import generate_alarms

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/howto/add-an-alarm.md").read_text(encoding="utf-8")
MOST_EDITED = 2
DEFINITION = Definition(
    severities=(Severity.WARNING,),
    subject="the name of the door",
    raised="a door of the server room is open",
    cleared="it is closed",
    action="close it",
)


class DoorOpen(AlarmCheck):
    """An invented condition, under the name of an existing one: the enumeration is fixed."""

    condition: ClassVar[Condition] = Condition.QUEUE_OLD
    doors: ClassVar[tuple[str, ...]] = ("north",)

    async def alarms(self, tenant: Tenant, now: float) -> Collection[NewAlarm]:
        return [
            NewAlarm(
                condition=self.condition,
                subject=door,
                severity=Severity.WARNING,
                detail=f"the {door} door of the server room is open; close it",
            )
            for door in self.doors
        ]


async def test_an_alarm_needs_a_row_and_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        conditions, "CONDITIONS", {**conditions.CONDITIONS, DoorOpen.condition: DEFINITION}
    )
    monkeypatch.setattr(generate_alarms, "CONDITIONS", conditions.CONDITIONS)
    checks = {**table.CHECKS, DoorOpen.condition: DoorOpen}
    records = Records(MemoryDatabase(CommittedRows()))
    await tenants(records)
    loop = AlarmLoop(sources_of(records, lambda: NOW, disk_usage=lambda: (1, 1)), checks.values())
    await loop.examine()
    (alarm,) = (await records.alarms.alarms(NORTH)).items
    assert (alarm.subject, alarm.severity) == ("north", Severity.WARNING)
    assert "| the name of the door | a door of the server room is open |" in generate_alarms.page()
    monkeypatch.setattr(DoorOpen, "doors", ())
    await loop.examine()
    assert (await records.alarms.alarms(NORTH)).items == ()


def test_the_page_is_short_and_its_files_are_there() -> None:
    assert len(PAGE.splitlines()) <= 40
    edited = re.findall(r"^\| edit \| `([^`]+)`", PAGE, re.MULTILINE)
    assert len(edited) <= MOST_EDITED
    for file in [*edited, *re.findall(r"`(tests/[^`]+)`", PAGE)]:
        assert (ROOT / file).is_file(), file


def test_no_other_file_of_the_product_names_a_check() -> None:
    """A check is known by its module's name; who else imported it would have to be edited."""
    modules = {check.__module__ for check in table.CHECKS.values()}
    importing = {
        path.name
        for path in (ROOT / "src").rglob("*.py")
        if any(f"from {module} import" in path.read_text(encoding="utf-8") for module in modules)
    }
    assert importing == {"table.py"}
