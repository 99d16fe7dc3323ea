"""What each sender is told, as data (`docs/conformance/answers.md` is generated from it.

Tests walk every row).

The rule behind the table: an answer that looks permanent is given for permanent causes alone, since
many modalities park a job for good on one; an acknowledgement is given for what is durable alone;
silence and half answers are never given.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


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

ASSOCIATION_ANSWERS: Final[Mapping[Situation, Answer]] = {
    Situation.CLOUD_AWAY: TRANSIENT_CONGESTION,
    Situation.TOO_MANY_ASSOCIATIONS: LOCAL_LIMIT,
    Situation.UNKNOWN_CALLING_AE: Reject(1, 1, 3),
    Situation.UNKNOWN_CALLED_AE: Reject(1, 1, 7),
    Situation.SERVICE_NOT_ALLOWED: RefuseContext(1),
    Situation.SOP_CLASS_NOT_CONFIGURED: RefuseContext(3),
    # PS3.8 9.3.8: source 2 says that a PDU broke the upper layer's protocol. Messages and deadlines
    # are above it: source 0.
    Situation.BAD_PEER: Abort(source=2),
    Situation.BAD_MESSAGE: Abort(),
    Situation.SLOW_PEER: Abort(),
}
"""The column of the association; each DIMSE service declares its own (`dimse_services`)."""
