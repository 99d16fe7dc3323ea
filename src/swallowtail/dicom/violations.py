"""The violations of PS3.7 and PS3.8, with their A-ABORT.

RemoteProtocolError
└── ViolationError    carries `source` and `reason` of the A-ABORT that went out (PS3.8 9.3.8)
"""

import enum

from swallowtail.sansio.errors import RemoteProtocolError


class AbortSource(enum.IntEnum):
    """The side that ends the association (PS3.8 9.3.8)."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class AbortReason(enum.IntEnum):
    """Why the provider ends it (PS3.8 9.3.8); not significant when the source is the user."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class ViolationError(RemoteProtocolError):
    """The peer broke PS3.8 or PS3.7 and was sent an A-ABORT."""

    def __init__(
        self,
        message: str = "",
        reason: AbortReason = AbortReason.NOT_SPECIFIED,
        source: AbortSource = AbortSource.SERVICE_PROVIDER,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.source = source
