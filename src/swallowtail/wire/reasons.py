"""The reasons for the end of a session and of a channel (wire §7, §9)."""

import enum

from swallowtail.sansio.errors import RemoteProtocolError


class CloseCode(enum.IntEnum):
    """WebSocket close codes (wire §9)."""

    DONE = 1000
    VIOLATION = 1002
    TOO_LONG = 1009
    INTERNAL = 1011
    REFUSED = 4401
    DEADLINE = 4408
    REPLACED = 4409
    LIMIT = 4429


class ResetReason(enum.IntEnum):
    """Why a channel was reset (wire §7)."""

    CANCELLED = 1
    REFUSED = 2
    UNKNOWN_CALL = 3
    MALFORMED = 4
    DEADLINE = 5
    LIMIT = 6
    UNAVAILABLE = 7
    FENCED = 8
    INTERNAL = 9
    SESSION_LOST = 0
    """Never sent: reported locally by a channel whose session has ended."""

    @classmethod
    def read(cls, code: int) -> "ResetReason":
        """Return the reason that `code` names; an unknown one is INTERNAL (wire §7)."""
        return cls(code) if 1 <= code <= 9 else cls.INTERNAL


class WireError(RemoteProtocolError):
    """A violation or an exceeded deadline of the peer; `code` is the WebSocket close code."""

    def __init__(self, text: str, code: CloseCode = CloseCode.VIOLATION) -> None:
        super().__init__(text)
        self.code = code
