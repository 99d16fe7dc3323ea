"""What each sender is told, as data (`docs/conformance/answers.md` is generated from it.

Tests walk every row).

The rule behind the table: an answer that looks permanent is given for permanent causes alone, since
many modalities park a job for good on one; an acknowledgement is given for what is durable alone;
silence and half answers are never given.
"""

import enum
from dataclasses import dataclass
from typing import Final

from swallowtail.calls.store import NotStoredReason


class Situation(enum.StrEnum):
    """What has happened, from the sender's point of view."""

    STORED = "stored durably"
    CLOUD_AWAY = "the Cloud is away before the association"
    CLOUD_LOST = "the Cloud was lost during the operation"
    CLOUD_LOST_NOT_WHOLE = "the same, and the message was not whole in time"
    FAILED_TOO_OFTEN = "the third store on one association failed"
    TOO_MANY_ASSOCIATIONS = "too many associations"
    STORAGE_UNAVAILABLE = "the Cloud's disk, database or blob store is down"
    UNKNOWN_CALLING_AE = "unknown calling AE title, or its address does not fit"
    UNKNOWN_CALLED_AE = "unknown called AE title"
    SERVICE_NOT_ALLOWED = "service not allowed for this AE"
    SOP_CLASS_NOT_CONFIGURED = "SOP class not configured"
    MALFORMED = "malformed message or illegal UID"
    SAME_AGAIN = "repeat, same content"
    CONFLICT = "repeat of a UID with other content"
    TOO_LARGE = "object over the size cap"
    BAD_PEER = "bad PDU"
    BAD_MESSAGE = "message out of order, or a command set that is none"
    SLOW_PEER = "slow peer, timer"
    LINK_ONLY_ECHO = "C-ECHO on a listener that means: Link is up"


class Service(enum.StrEnum):
    """Which service the sender uses."""

    ASSOCIATE = "association"
    ECHO = "C-ECHO"
    STORE = "C-STORE"


@dataclass(frozen=True, slots=True)
class Status:
    """A DIMSE response with this status (PS3.7 Annex C, PS3.4 B.2.3)."""

    code: int
    then_abort: bool = False


@dataclass(frozen=True, slots=True)
class Reject:
    """An A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    result: int
    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class RefuseContext:
    """The presentation context is refused with this result (PS3.8 9.3.3.2)."""

    result: int


@dataclass(frozen=True, slots=True)
class Abort:
    """An A-ABORT (PS3.8 9.3.8)."""

    source: int = 0
    reason: int = 0


Answer = Status | Reject | RefuseContext | Abort

TRANSIENT_CONGESTION: Final = Reject(2, 3, 1)
LOCAL_LIMIT: Final = Reject(2, 3, 2)

ANSWERS: Final[dict[tuple[Situation, Service], Answer]] = {
    # before there is an association
    (Situation.CLOUD_AWAY, Service.ASSOCIATE): TRANSIENT_CONGESTION,
    (Situation.TOO_MANY_ASSOCIATIONS, Service.ASSOCIATE): LOCAL_LIMIT,
    (Situation.UNKNOWN_CALLING_AE, Service.ASSOCIATE): Reject(1, 1, 3),
    (Situation.UNKNOWN_CALLED_AE, Service.ASSOCIATE): Reject(1, 1, 7),
    (Situation.SERVICE_NOT_ALLOWED, Service.ASSOCIATE): RefuseContext(1),
    (Situation.SOP_CLASS_NOT_CONFIGURED, Service.ASSOCIATE): RefuseContext(3),
    # PS3.8 9.3.8: source 2 says that a PDU broke the upper layer's protocol. Messages and deadlines
    # are above it: source 0.
    (Situation.BAD_PEER, Service.ASSOCIATE): Abort(source=2),
    (Situation.BAD_MESSAGE, Service.ASSOCIATE): Abort(),
    (Situation.SLOW_PEER, Service.ASSOCIATE): Abort(),
    # C-ECHO says that the whole way is alive, or (a setting) that Link is up
    (Situation.STORED, Service.ECHO): Status(0x0000),
    (Situation.LINK_ONLY_ECHO, Service.ECHO): Status(0x0000),
    (Situation.CLOUD_LOST, Service.ECHO): Abort(),
    (Situation.SERVICE_NOT_ALLOWED, Service.ECHO): Status(0x0124),
    # C-STORE
    (Situation.STORED, Service.STORE): Status(0x0000),
    (Situation.SAME_AGAIN, Service.STORE): Status(0x0000),
    (Situation.CONFLICT, Service.STORE): Status(0x0000),
    (Situation.CLOUD_LOST, Service.STORE): Status(0xA700),
    (Situation.CLOUD_LOST_NOT_WHOLE, Service.STORE): Abort(),
    (Situation.FAILED_TOO_OFTEN, Service.STORE): Abort(),
    (Situation.STORAGE_UNAVAILABLE, Service.STORE): Status(0xA700),
    (Situation.TOO_LARGE, Service.STORE): Status(0xA700, then_abort=True),
    (Situation.MALFORMED, Service.STORE): Status(0xC000),
    (Situation.SERVICE_NOT_ALLOWED, Service.STORE): Status(0x0124),
    (Situation.SOP_CLASS_NOT_CONFIGURED, Service.STORE): Status(0x0122),
    (Situation.BAD_PEER, Service.STORE): Abort(source=2),
    (Situation.BAD_MESSAGE, Service.STORE): Abort(),
    (Situation.SLOW_PEER, Service.STORE): Abort(),
}

FAILED_STORES_UNTIL_ABORT: Final = 3
"""After this many A700 on one association Link aborts it.

A modality that ignores statuses must not believe that all went well.
"""

NOT_STORED: Final[dict[NotStoredReason, Situation]] = {
    NotStoredReason.STORAGE_UNAVAILABLE: Situation.STORAGE_UNAVAILABLE,
    NotStoredReason.TOO_LARGE: Situation.TOO_LARGE,
    NotStoredReason.MALFORMED: Situation.MALFORMED,
    NotStoredReason.SOP_CLASS: Situation.SOP_CLASS_NOT_CONFIGURED,
    NotStoredReason.FENCED: Situation.CLOUD_LOST,
    NotStoredReason.TRANSFER_DAMAGED: Situation.CLOUD_LOST,
    NotStoredReason.BUSY: Situation.STORAGE_UNAVAILABLE,
}


def answer(situation: Situation, service: Service) -> Answer:
    """Give what the sender is told; KeyError means that the combination cannot occur."""
    return ANSWERS[situation, service]
