"""The responses that a DICOM sender can get, and those to its association (`calls.responses`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from swallowtail.calls.responses import Situation

_STATUSES: Final = {
    0x0000: "success",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0xA700: "out of resources",
    0xC000: "cannot understand",
}
_RESULTS: Final = {1: "permanent", 2: "transient"}
_SOURCES: Final = {
    1: "service user",
    2: "service provider, ACSE",
    3: "service provider, presentation",
}


@dataclass(frozen=True, slots=True)
class StatusResponse:
    """A DIMSE response with this status (PS3.7 Annex C, PS3.4 B.2.3)."""

    code: int
    then_abort: bool = False

    @property
    def text(self) -> str:
        """Return the status with its meaning."""
        abort = ", then A-ABORT" if self.then_abort else ""
        return f"status {self.code:04X} ({_STATUSES[self.code]}){abort}"


@dataclass(frozen=True, slots=True)
class AssociationRejection:
    """An A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    result: int
    source: int
    reason: int

    @property
    def text(self) -> str:
        """Return the three fields with their meanings."""
        return (
            f"A-ASSOCIATE-RJ ({self.result},{self.source},{self.reason}): {_RESULTS[self.result]},"
            f" {_SOURCES[self.source]}, reason {self.reason}"
        )


@dataclass(frozen=True, slots=True)
class ContextRejection:
    """A presentation context rejected with this result (PS3.8 9.3.3.2)."""

    result: int

    @property
    def text(self) -> str:
        """Return the result."""
        return f"presentation context rejected with result {self.result}"


@dataclass(frozen=True, slots=True)
class AssociationAbort:
    """An A-ABORT (PS3.8 9.3.8)."""

    source: int = 0
    reason: int = 0

    @property
    def text(self) -> str:
        """Return source and reason."""
        return f"A-ABORT (source {self.source}, reason {self.reason})"


DicomResponse = StatusResponse | AssociationRejection | ContextRejection | AssociationAbort

ASSOCIATION_RESPONSES: Final[Mapping[Situation, DicomResponse]] = {
    Situation.CLOUD_OFFLINE: AssociationRejection(2, 3, 1),
    Situation.TOO_MANY_ASSOCIATIONS: AssociationRejection(2, 3, 2),
    Situation.UNKNOWN_CALLING_AE: AssociationRejection(1, 1, 3),
    Situation.UNKNOWN_CALLED_AE: AssociationRejection(1, 1, 7),
    Situation.SERVICE_NOT_ALLOWED: ContextRejection(1),
    Situation.SOP_CLASS_NOT_CONFIGURED: ContextRejection(3),
    # PS3.8 9.3.8: source 2 means that a PDU broke the protocol of the upper layer. Messages and
    # deadlines are above it: source 0.
    Situation.INVALID_PDU: AssociationAbort(source=2),
    Situation.INVALID_MESSAGE: AssociationAbort(),
    Situation.PEER_TIMEOUT: AssociationAbort(),
}
"""The column of the association; each DIMSE service declares its own."""
