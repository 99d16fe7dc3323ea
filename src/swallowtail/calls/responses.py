"""The situations in which a sender gets a response, and the table of responses of a protocol.

Every protocol that Link listens on has one `ResponseTable`. The code looks responses up in it, a
test provokes every row, and `docs/conformance/responses.md` is generated from it.

The rule behind every table: a permanent response is sent for permanent causes only, since many
modalities never retry after one. An acknowledgement is sent for durable data only.
Every sender gets a response or a closed connection, never silence.
"""

import enum
from collections.abc import Mapping
from typing import Protocol


class Situation(enum.StrEnum):
    """The situation of a sender that gets a response."""

    STORED = "stored durably"
    REPEATED = "repeat with the same content"
    REPEATED_DIFFERENTLY = "repeat of a UID with different content"
    CLOUD_OFFLINE = "Cloud offline"
    CLOUD_LOST = "Cloud lost; message complete"
    CLOUD_LOST_INCOMPLETE = "Cloud lost; message incomplete at the deadline"
    THIRD_FAILURE = "third failed store on one association"
    TOO_MANY_ASSOCIATIONS = "too many associations"
    STORAGE_UNAVAILABLE = "the Cloud's disk, database or blob store unavailable"
    UNKNOWN_CALLING_AE = "unknown calling AE title or address"
    UNKNOWN_CALLED_AE = "unknown called AE title"
    SERVICE_NOT_ALLOWED = "service not allowed for this AE title"
    SOP_CLASS_NOT_CONFIGURED = "SOP class not configured"
    MALFORMED = "malformed message or invalid UID"
    TOO_LARGE = "message over the size limit"
    INVALID_PDU = "invalid PDU"
    INVALID_MESSAGE = "message out of order, or invalid command set"
    PEER_TIMEOUT = "peer too slow, or idle for too long"
    LINK_ECHO = "echo on a listener whose echo means: Link is up"


class Response(Protocol):
    """A response of one protocol."""

    @property
    def text(self) -> str:
        """Return the response as a conformance statement describes it."""


ResponseTable = Mapping[str, Mapping[Situation, Response]]
"""The responses of one protocol: a column for each service, a row for each situation.

A combination that cannot occur is not in it.
"""
