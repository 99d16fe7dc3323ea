"""What somebody does to the audit in the database's file of a running Cloud, `audit/verify` says in which record."""

import secrets
import sqlite3
from contextlib import closing

import pytest

from swallowtail.cloud.model.audit import chain
from swallowtail.cloud.model.tenancy import Tenant
from tests.rest.served import Api, CloudProcess, hospital

Record = tuple[int, float, bytes, bytes]
ACTS = 8


class File:
    """The audit rows of one organisation in `cloud.sqlite3`, as whoever holds the disk sees them."""

    def __init__(self, served: CloudProcess, tenant: str) -> None:
        self.path, self.tenant = served.ca.parent / "cloud.sqlite3", tenant

    def run(self, statement: str, *values: object) -> list[Record]:
        with closing(sqlite3.connect(self.path, timeout=10)) as database, database:
            return database.execute(statement, (*values, self.tenant)).fetchall()

    def records(self) -> list[Record]:
        return self.run("SELECT sequence, at, event, digest FROM audit WHERE tenant = ? ORDER BY sequence")

    def put(self, sequence: int, record: Record) -> None:
        changed = self.run(
            "UPDATE audit SET at = ?, event = ?, digest = ? WHERE sequence = ? AND tenant = ?", *record[1:], sequence
        )
        assert changed == []


@pytest.fixture
def place(served: CloudProcess) -> tuple[Api, File]:
    admin, link = hospital(served, f"h{secrets.token_hex(4)}")
    for number in range(ACTS):
        admin("PATCH", f"links/{link['id']}", {"name": f"radiology-{number}"})
    file = File(served, admin("GET", "whoami")["organisation"]["id"])
    assert admin("GET", "audit/verify") == {"records": len(file.records()), "broken_at": None}
    return admin, file


def broken_at(admin: Api) -> int | None:
    found: int | None = admin("GET", "audit/verify")["broken_at"]
    return found


def test_an_edited_event_is_named(place: tuple[Api, File]) -> None:
    admin, file = place
    sequence, at, event, digest = file.records()[4]
    edited = event.replace(b"link", b"lynx")
    assert edited != event
    file.put(sequence, (sequence, at, edited, digest))
    assert broken_at(admin) == sequence
    file.put(sequence, (sequence, at, event, digest))
    assert broken_at(admin) is None


def test_an_edited_time_is_named(place: tuple[Api, File]) -> None:
    admin, file = place
    sequence, at, event, digest = file.records()[2]
    file.put(sequence, (sequence, at - 3600, event, digest))
    assert broken_at(admin) == sequence


def test_an_edit_whose_digest_was_made_anew_shows_in_the_next_record(place: tuple[Api, File]) -> None:
    admin, file = place
    before, (sequence, at, event, _) = file.records()[3:5]
    forged = chain(before[3], Tenant(file.tenant), sequence, at - 3600, event)
    file.put(sequence, (sequence, at - 3600, event, forged))
    assert broken_at(admin) == sequence + 1


def test_a_record_missing_in_the_middle_is_named(place: tuple[Api, File]) -> None:
    admin, file = place
    file.run("DELETE FROM audit WHERE sequence = ? AND tenant = ?", 5)
    assert broken_at(admin) == 5


def test_a_gap_that_was_closed_by_numbering_anew_is_named(place: tuple[Api, File]) -> None:
    admin, file = place
    file.run("DELETE FROM audit WHERE sequence = ? AND tenant = ?", 5)
    for record in file.records()[4:]:
        file.run("UPDATE audit SET sequence = ? WHERE sequence = ? AND tenant = ?", record[0] - 1, record[0])
    assert broken_at(admin) == 5


def test_two_records_in_swapped_order_are_named(place: tuple[Api, File]) -> None:
    admin, file = place
    first, second = file.records()[3:5]
    file.put(first[0], second)
    file.put(second[0], first)
    assert broken_at(admin) == first[0]


def test_missing_newest_records_are_named(place: tuple[Api, File]) -> None:
    admin, file = place
    last = file.records()[-1][0]
    file.run("DELETE FROM audit WHERE sequence >= ? AND tenant = ?", last - 1)
    assert broken_at(admin) == last - 1


def test_another_organisations_chain_holds_meanwhile(served: CloudProcess, place: tuple[Api, File]) -> None:
    admin, file = place
    other, _ = hospital(served, f"h{secrets.token_hex(4)}")
    file.run("DELETE FROM audit WHERE sequence = ? AND tenant = ?", 2)
    assert (broken_at(admin), broken_at(other)) == (2, None)
    assert served.api()("GET", "audit/verify")["broken_at"] is None
