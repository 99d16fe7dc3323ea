"""Audit events in the terms of PS3.15 A.5.

The keyed chain that detects changed or missing records.

The digest of a record is an HMAC under a key that is not in the database, over the digest before
it, its place, its time and its event (ADR 0013). Without the key nobody can compute a chain again.
What a chain alone cannot show is that its newest records were cut off; for this its head is
exported, and later chains are compared with exported heads.
"""

import enum
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from swallowtail.cloud.model.tenancy import Tenant, Value


class EventId(enum.StrEnum):
    """PS3.15 A.5.1.1 EventID, as DCM code values (PS3.16 CID 400)."""

    APPLICATION_ACTIVITY = "110100"
    BEGIN_TRANSFERRING = "110102"
    INSTANCES_ACCESSED = "110103"
    INSTANCES_TRANSFERRED = "110104"
    STUDY_DELETED = "110105"
    QUERY = "110112"
    SECURITY_ALERT = "110113"
    USER_AUTHENTICATION = "110114"


class EventAction(enum.StrEnum):
    """PS3.15 A.5.1.1 EventActionCode."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class EventOutcome(enum.IntEnum):
    """PS3.15 A.5.1.1 EventOutcomeIndicator."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


class AuditEvent(Value, frozen=True, kw_only=True, omit_defaults=True):
    """An event of the audit: the action, its actor, its origin and its objects.

    The one place besides the store where patient data may stand.
    """

    event: EventId
    action: EventAction
    outcome: EventOutcome = EventOutcome.SUCCESS
    type: str = ""
    """EventTypeCode: our own word for the act, like `link.rebind`."""
    actor: str
    """UserID of the active participant who asked for it: a principal, or an AE title."""
    role: str = ""
    address: str = ""
    """NetworkAccessPointID."""
    objects: tuple[tuple[str, str], ...] = ()
    """ParticipantObjects as (kind, id): `study`, `instance`, `patient`, `link`, `token` …"""
    detail: str = ""

    @property
    def object_ids(self) -> frozenset[str]:
        """Return the ids by which the record is found.

        A SHA-256 is an attribute of its instance.
        """
        return frozenset(name for kind, name in self.objects if kind != "sha256")


class AuditRecord(Value, frozen=True, kw_only=True):
    """An event in its place in a tenant's chain; sequences count from 1 without a gap."""

    tenant: Tenant
    sequence: int
    at: float
    event: AuditEvent
    digest: bytes


class AuditSearch(Value, frozen=True, kw_only=True):
    """The keys of a search for records; every given one must match."""

    type: str = ""
    actor: str = ""
    object: str = ""
    """The id of a participant object."""
    failed: bool | None = None
    """Whether the outcome is a failure; None: whatever it is."""
    since: float | None = None
    before: float | None = None


ALL_RECORDS: Final = AuditSearch()


class ChainHead(Value, frozen=True, kw_only=True):
    """The place and digest of a chain's last record."""

    tenant: Tenant
    sequence: int
    digest: bytes


class ChainFault(enum.StrEnum):
    """The kind of a fault in a chain."""

    CHANGED = "changed"
    """Its digest is not that of its content and of what precedes it."""
    MISSING = "missing"
    """The record is not there."""
    KEY = "key"
    """It was written without the key that was in use."""
    EXPORTED = "exported"
    """A head that was exported is not in the chain."""
    LISTED = "listed"
    """What it is found by in lists is not what it states.

    It was hidden from somebody who searches.
    """


class ChainVerdict(Value, frozen=True, kw_only=True):
    """The verdict on a chain.

    `broken_at` is the first sequence that does not fit, `fault` states how.
    """

    records: int
    broken_at: int | None = None
    fault: ChainFault | None = None


GENESIS: Final = bytes(32)
"""What the first record of a chain is linked to."""
UNKEYED: Final = 0
"""The number of the key of records that were written before chains had keys: plain SHA-256."""
KEYED: Final = "audit.keyed"
"""Type of the record with which a chain changes to a newer key. No other record may do so."""
KEY_BYTES: Final = 32

_encode = msgspec.msgpack.Encoder().encode
_event = msgspec.msgpack.Decoder(AuditEvent)


def event_bytes(event: AuditEvent) -> bytes:
    """Return the bytes of an event that are kept and authenticated."""
    return _encode(event)


class AuditKeys:
    """The keys of the chains by number, counted from 1.

    The newest authenticates what is appended, the others verify.
    """

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        if not keys or min(keys) <= UNKEYED or any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError(f"audit keys have {KEY_BYTES} bytes each and are numbered from 1")
        self._keys = dict(keys)
        self.current = max(keys)

    def __contains__(self, number: int) -> bool:
        """Return whether records of this key can be verified."""
        return number == UNKEYED or number in self._keys

    def digest(
        self, key: int, previous: bytes, place: tuple[Tenant, int, float], event: bytes
    ) -> bytes:
        """Return the digest of a record under the key of this number.

        `place` is its tenant, sequence and time.
        """
        if key == UNKEYED:
            return hashlib.sha256(previous + _encode(place) + event).digest()
        return hmac.digest(self._keys[key], previous + _encode((*place, key)) + event, "sha256")

    def authenticate(self, key: int, purpose: str, content: bytes) -> bytes:
        """Return the HMAC of what is kept outside the chain, under the key of this number.

        `purpose` is no record's.
        """
        return hmac.digest(self._keys[key], purpose.encode() + b"\0" + content, "sha256")


class ChainWalk:
    """A check of the records of one chain, against each other and against exported heads."""

    def __init__(self, keys: AuditKeys, tenant: Tenant, exported: Iterable[ChainHead]) -> None:
        self._keys, self._tenant = keys, tenant
        self._exported: dict[int, set[bytes]] = {}
        for head in exported:
            self._exported.setdefault(head.sequence, set()).add(head.digest)
        self._key: int | None = None
        self.sequence, self.digest = 0, GENESIS
        self.objects: frozenset[str] = frozenset()
        """What the record that was checked last is found by."""

    def fault_of(self, row: Any) -> ChainFault | None:
        """Check the next record, which has the fields of the table `audit`; None: it fits."""
        if row.sequence != self.sequence + 1:
            return ChainFault.MISSING
        if not self._may_have(row.key, row.event):
            return ChainFault.KEY
        self.digest = self._keys.digest(
            row.key, self.digest, (self._tenant, row.sequence, row.at), row.event
        )
        event = _decoded(row.event) if row.digest == self.digest else None
        if event is None:
            return ChainFault.CHANGED
        if self._exported.get(row.sequence, {row.digest}) != {row.digest}:
            return ChainFault.EXPORTED
        if (row.type, row.actor, row.outcome) != (event.type, event.actor, event.outcome):
            return ChainFault.LISTED
        self.objects = event.object_ids
        self.sequence, self._key = row.sequence, row.key
        return None

    def missing(self, head: ChainHead) -> ChainVerdict:
        """Return the verdict on a chain that ends before its head."""
        return ChainVerdict(
            records=head.sequence, broken_at=self.sequence + 1, fault=ChainFault.MISSING
        )

    def verdict(self, head: ChainHead) -> ChainVerdict:
        """Evaluate the end of a chain in which every record fits."""
        if self.digest != head.digest:
            return ChainVerdict(
                records=head.sequence, broken_at=head.sequence, fault=ChainFault.CHANGED
            )
        if self.sequence and self._key != self._keys.current:
            return ChainVerdict(
                records=head.sequence, broken_at=head.sequence, fault=ChainFault.KEY
            )
        if any(sequence > head.sequence for sequence in self._exported):
            return ChainVerdict(
                records=head.sequence, broken_at=head.sequence + 1, fault=ChainFault.EXPORTED
            )
        return ChainVerdict(records=head.sequence)

    def _may_have(self, key: int, event: bytes) -> bool:
        """Check that a newer key begins with the record that reports it, which needs that key.

        Nothing forged can come before it.
        """
        if key not in self._keys:
            return False
        if key == self._key or self._key is None:
            return True
        begins = _decoded(event)
        return key > self._key and begins is not None and begins.type == KEYED


def _decoded(event: bytes) -> AuditEvent | None:
    try:
        return _event.decode(event)
    except msgspec.MsgspecError:
        return None
