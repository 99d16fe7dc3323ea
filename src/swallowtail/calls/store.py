"""Store in: one instance from a modality, through Link, into the Cloud.

The channel: OPEN(StoreRequest), then a transfer (`calls.transfer`); then the Cloud's one response,
MESSAGE+FIN.
"""

import enum
from typing import Final

from swallowtail.calls.codec import Call, Reader
from swallowtail.calls.transfer import Confirmation

STORE: Final = "store"


class StoreRequest(Call, frozen=True, kw_only=True):
    """The command set, presentation context and association of an instance, before its bytes.

    The data set follows as DATA exactly as the modality sent it: without preamble or group 0002,
    never decoded on Link.
    """

    listener: str
    """The name of the listener in the configuration."""
    peer: str
    """The modality's address, without port."""
    calling_ae: str
    called_ae: str
    device: str = ""
    """The name of the configured device that the address and AE title matched."""
    association: bytes
    """16 bytes, the same for all instances of one association."""
    sop_class: str
    sop_instance: str
    transfer_syntax: str


class Stored(enum.StrEnum):
    """The result of a commit."""

    NEW = "new"
    SAME = "same"
    """The same instance was stored already."""
    OTHER_SYNTAX = "other-syntax"
    """The SOP Instance UID was stored in another transfer syntax.

    Kept and noted; the older one stays visible.
    """
    CONFLICT = "conflict"
    """The SOP Instance UID was stored with other bytes; kept, alarm, the older stays visible."""


class Committed(Confirmation, tag="committed", frozen=True, kw_only=True):
    """The blob is fsynced and its row is committed. Status 0000 requires this response."""

    stored: Stored


class NotStoredReason(enum.StrEnum):
    """Why an instance was not stored; `responses.NOT_STORED` maps each to its situation."""

    STORAGE_UNAVAILABLE = "storage-unavailable"
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    """The command set is not usable, for example for an illegal UID."""
    FENCED = "fenced"
    """A newer session of this Link has taken over."""
    TRANSFER_DAMAGED = "transfer-damaged"
    """Length or checksum did not agree."""


class NotStored(Call, tag="not-stored", frozen=True, kw_only=True):
    """The instance was not stored, and nothing of it is kept."""

    reason: NotStoredReason
    detail: str = ""
    """For a person; no patient data."""


StoreAnswer = Committed | NotStored

read_store_request: Reader[StoreRequest] = Reader(StoreRequest)
read_store_answer: Reader[StoreAnswer] = Reader(StoreAnswer)
