"""What somebody does to the audit in the database's file of a running Cloud, `audit/verify` says in
which record.
"""

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from swallowtail.cloud.model.audit import GENESIS, UNKEYED, AuditKeys
from swallowtail.cloud.model.tenancy import Tenant
from tests.rest.served import Api, CloudProcess, hospital, within

Record = tuple[int, float, bytes, bytes]
ACTS = 8
GUESSED = AuditKeys({1: bytes(32)})
"""What somebody has who knows the code and the database, but not the key."""


class File:
    """The audit rows of one organisation in `cloud.sqlite3`, as on the disk."""

    def __init__(self, served: CloudProcess, tenant: str) -> None:
        self.path, self.tenant = served.ca.parent / "cloud.sqlite3", tenant

    def run(self, statement: str, *values: object) -> list[Record]:
        with closing(sqlite3.connect(self.path, timeout=10)) as database, database:
            return database.execute(statement, (*values, self.tenant)).fetchall()

    def records(self) -> list[Record]:
        return self.run(
            "SELECT sequence, at, event, digest FROM audit WHERE tenant = ? ORDER BY sequence"
        )

    def put(self, sequence: int, record: Record) -> None:
        changed = self.run(
            "UPDATE audit SET at = ?, event = ?, digest = ? WHERE sequence = ? AND tenant = ?",
            *record[1:],
            sequence,
        )
        assert changed == []


@pytest.fixture
def place(served: CloudProcess) -> tuple[Api, File]:
    admin, link = hospital(served, f"h{secrets.token_hex(4)}")
    for number in range(ACTS):
        admin("PATCH", f"links/{link['id']}", {"name": f"radiology-{number}"})
    file = File(served, admin("GET", "whoami")["organisation"]["id"])
    verdict = admin("GET", "audit/verify")
    assert (verdict["records"], verdict["broken_at"]) == (len(file.records()), None)
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


def test_an_edit_whose_digest_was_made_anew_is_named(place: tuple[Api, File]) -> None:
    admin, file = place
    before, (sequence, at, event, _) = file.records()[3:5]
    forged = GUESSED.digest(1, before[3], (Tenant(file.tenant), sequence, at - 3600), event)
    file.put(sequence, (sequence, at - 3600, event, forged))
    assert broken_at(admin) == sequence


def test_a_record_missing_in_the_middle_is_named(place: tuple[Api, File]) -> None:
    admin, file = place
    file.run("DELETE FROM audit WHERE sequence = ? AND tenant = ?", 5)
    assert broken_at(admin) == 5


def test_a_gap_that_was_closed_by_numbering_anew_is_named(place: tuple[Api, File]) -> None:
    admin, file = place
    file.run("DELETE FROM audit WHERE sequence = ? AND tenant = ?", 5)
    for record in file.records()[4:]:
        file.run(
            "UPDATE audit SET sequence = ? WHERE sequence = ? AND tenant = ?",
            record[0] - 1,
            record[0],
        )
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


@pytest.mark.parametrize("key", [UNKEYED, 1])
def test_a_chain_written_anew_as_a_whole_by_who_has_the_database_is_detected(
    place: tuple[Api, File], key: int
) -> None:
    """The forger knows how digests are made and takes care of every row, the head's too.

    Only the key is outside the database.
    """
    admin, file = place
    for table in ("audit", "audit_object"):
        file.run(f"DELETE FROM {table} WHERE sequence = 5 AND tenant = ?")
    for sequence, *_ in file.records()[4:]:
        for table in ("audit", "audit_object"):
            file.run(
                f"UPDATE {table} SET sequence = ? WHERE sequence = ? AND tenant = ?",
                sequence - 1,
                sequence,
            )
    digest, last = GENESIS, 0
    for sequence, at, event, _ in file.records():
        digest, last = (
            GUESSED.digest(key, digest, (Tenant(file.tenant), sequence, at), event),
            sequence,
        )
        file.run(
            "UPDATE audit SET digest = ?, key = ? WHERE sequence = ? AND tenant = ?",
            digest,
            key,
            sequence,
        )
    file.run("UPDATE audit_head SET sequence = ?, digest = ? WHERE tenant = ?", last, digest)
    verdict = admin("GET", "audit/verify")
    assert verdict["fault"] == ("changed" if key else "key")
    admin(
        "PATCH", f"links/{admin('GET', 'links')['items'][0]['id']}", {"name": "after"}
    )  # a true record does not heal it
    assert admin("GET", "audit/verify")["fault"] == ("changed" if key else "key")


def test_a_chain_cut_behind_a_head_that_was_kept_elsewhere_is_detected(
    place: tuple[Api, File],
) -> None:
    admin, file = place
    head = admin("GET", "audit/head")
    last = file.records()[-1]
    assert head == {"sequence": last[0], "digest": last[3].hex()}
    cut(file, 2)
    assert broken_at(admin) is None  # whole in itself
    verdict = admin("GET", "audit/verify", **head)
    assert (verdict["broken_at"], verdict["fault"]) == (last[0] - 1, "exported")
    for number in range(3):  # and when it has grown past that place again
        admin(
            "PATCH", f"links/{admin('GET', 'links')['items'][0]['id']}", {"name": f"again-{number}"}
        )
    verdict = admin("GET", "audit/verify", **head)
    assert (verdict["broken_at"], verdict["fault"]) == (last[0], "exported")
    admin("GET", "audit/verify", status=422, sequence=1)


def cut(file: File, count: int) -> None:
    """Remove the newest records and put the head where it was before them."""
    sequence, _, _, digest = file.records()[-1 - count]
    for table in ("audit", "audit_object"):
        file.run(f"DELETE FROM {table} WHERE sequence > ? AND tenant = ?", sequence)
    file.run("UPDATE audit_head SET sequence = ?, digest = ? WHERE tenant = ?", sequence, digest)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_chain_cut_while_the_cloud_stands_still_is_detected_and_raises_an_alarm(
    tmp_path: Path, elsewhere: bool
) -> None:
    heads = tmp_path / ("other-disk.json" if elsewhere else "data/audit-heads.json")
    options = ("--audit-heads", str(heads)) if elsewhere else ()
    cloud = CloudProcess(tmp_path / "data", *options)
    admin, _ = hospital(cloud, "heronsgate")
    file = File(cloud, admin("GET", "whoami")["organisation"]["id"])
    token, before = admin.token, len(file.records())
    assert cloud.stop() == 0
    assert str(before) in heads.read_text()

    cut(file, 1)
    cloud = CloudProcess(tmp_path / "data", *options)
    admin = cloud.api(token)
    verdict = admin("GET", "audit/verify")
    assert (verdict["broken_at"], verdict["fault"], verdict["exported"]["sequence"]) == (
        before,
        "exported",
        before,
    )
    alarm = within(
        10,
        lambda: [
            one for one in admin("GET", "alarms")["items"] if one["condition"] == "audit-broken"
        ],
    )[0]
    assert (alarm["subject"], alarm["severity"]) == ("chain", "critical")
    assert cloud.stop() == 0
    assert (
        f'"sequence": {before}' in heads.read_text()
    )  # the head of what was cut stays, however often the Cloud exports

    heads.rename(heads.with_suffix(".kept"))  # what the runbook ends with
    cloud = CloudProcess(tmp_path / "data", *options)
    admin = cloud.api(token)
    assert admin("GET", "audit/verify")["broken_at"] is None
    within(
        10,
        lambda: (
            not [
                one for one in admin("GET", "alarms")["items"] if one["condition"] == "audit-broken"
            ]
        ),
    )
    assert cloud.stop() == 0


def test_another_organisations_chain_holds_meanwhile(
    served: CloudProcess, place: tuple[Api, File]
) -> None:
    admin, file = place
    other, _ = hospital(served, f"h{secrets.token_hex(4)}")
    file.run("DELETE FROM audit WHERE sequence = ? AND tenant = ?", 2)
    assert (broken_at(admin), broken_at(other)) == (2, None)
    assert served.api()("GET", "audit/verify")["broken_at"] is None
