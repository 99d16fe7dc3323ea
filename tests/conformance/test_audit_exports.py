import pytest

from swallowtail.cloud.model.exporting import AuditReceiver
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.model.tenancy import OPERATOR, Tenant
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import EVENT, NORTH, NOW, SOUTH

RECEIVER = AuditReceiver(
    host="arr.example", port=6514, authorities="CA", certificate="mine", key=b"sealed"
)


async def test_an_export_is_its_tenants_and_audited(records: Records) -> None:
    exports, head = records.audit_exports, (await records.audit.head(NORTH)).sequence
    assert await exports.export(NORTH) is None
    made = await exports.put(NORTH, RECEIVER, whole=False, now=NOW, event=EVENT)
    assert (made.receiver, made.sequence, made.exported, made.failing_since) == (
        RECEIVER,
        head,
        None,
        None,
    )
    assert await exports.export(NORTH) == made
    assert (await records.audit.head(NORTH)).sequence == head + 1
    assert await exports.export(SOUTH) is None
    assert await exports.exports() == (made,)
    assert await exports.remove(SOUTH, now=NOW, event=EVENT) is False
    assert await exports.remove(NORTH, now=NOW, event=EVENT) is True
    assert await exports.exports() == ()
    with pytest.raises(NotFoundError):
        await exports.put(Tenant("nobody"), RECEIVER, whole=True, now=NOW, event=EVENT)
    assert (await exports.put(OPERATOR, RECEIVER, whole=True, now=NOW, event=EVENT)).sequence == 0


async def test_a_note_of_an_older_state_changes_nothing(records: Records) -> None:
    exports = records.audit_exports
    first = await exports.put(NORTH, RECEIVER, whole=True, now=NOW, event=EVENT)
    failed = await exports.fail(first, "it is away", now=NOW + 1)
    again = await exports.fail(first, "it is still away", now=NOW + 2)
    assert failed is not None
    assert again is not None
    assert (again.failing_since, again.detail) == (NOW + 1, "it is still away")
    moved = await exports.advance(again, 2, now=NOW + 3)
    assert moved is not None
    assert (moved.sequence, moved.exported, moved.failing_since, moved.detail) == (
        2,
        NOW + 3,
        None,
        "",
    )
    assert await exports.advance(first, 1, now=NOW + 4) is None
    other = await exports.put(
        NORTH, AuditReceiver(host="other", port=1), whole=False, now=NOW, event=EVENT
    )
    assert other.sequence == 2
    assert await exports.advance(moved, 3, now=NOW + 5) is None
    assert await exports.fail(moved, "late", now=NOW + 5) is None
    assert (await exports.put(NORTH, RECEIVER, whole=True, now=NOW, event=EVENT)).sequence == 0


async def test_records_behind_a_place_are_in_their_order(records: Records) -> None:
    await records.audit.append(NORTH, [EVENT] * 5, now=NOW)
    head = (await records.audit.head(NORTH)).sequence
    found = await records.audit.after(NORTH, head - 3, 2)
    assert [one.sequence for one in found] == [head - 2, head - 1]
    assert await records.audit.after(NORTH, head, 9) == ()
