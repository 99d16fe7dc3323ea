"""The protocol data units and items of PS3.8 9.3 and PS3.7 Annex D.3.3 as values.

`pdu_codec` turns them into bytes and back.
"""

import enum
from dataclasses import dataclass, field
from typing import Final

from swallowtail.dicom import uids
from swallowtail.dicom.violations import AbortReason, AbortSource

MAX_ASSOCIATE_LENGTH: Final = (
    65_536  # of an A-ASSOCIATE-RQ or -AC: 128 contexts with 8 syntaxes each take about 40 KB
)
MAX_CONTEXTS: Final = 128  # PS3.8 9.3.2.2: odd numbers between 1 and 255
DEFAULT_MAX_PDU: Final = 262_144


class PduType(enum.IntEnum):
    """First byte of a PDU (PS3.8 9.3.1)."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class ContextResult(enum.IntEnum):
    """The acceptor's result for one presentation context (PS3.8 9.3.3.2)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


class RejectResult(enum.IntEnum):
    """PS3.8 9.3.4."""

    PERMANENT = 1
    TRANSIENT = 2


class RejectSource(enum.IntEnum):
    """PS3.8 9.3.4."""

    SERVICE_USER = 1
    PROVIDER_ACSE = 2
    PROVIDER_PRESENTATION = 3


# (source, reason) in words (PS3.8 9.3.4).
REJECT_REASONS: Final[dict[tuple[int, int], str]] = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """One abstract syntax with the transfer syntaxes that the requestor can use (PS3.8 9.3.2.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnsweredContext:
    """The acceptor's answer to one proposed context (PS3.8 9.3.3.2).

    The syntax counts only with ACCEPTANCE.
    """

    id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """The roles of the requestor for one SOP class, proposed or accepted (PS3.7 D.3.3.4)."""

    sop_class: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class AsyncOperationsWindow:
    """The number of operations that may be outstanding (PS3.7 D.3.3.3); 0 is unlimited."""

    invoked: int
    performed: int


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """Service-class application information of one SOP class (PS3.7 D.3.3.5), not interpreted."""

    sop_class: str
    information: bytes


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """The service class and the related general SOP classes of one SOP class (PS3.7 D.3.3.6)."""

    sop_class: str
    service_class: str
    related: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """The identity of the requestor (PS3.7 D.3.3.7).

    1 name, 2 name and passcode, 3 Kerberos, 4 SAML, 5 JWT. Never logged.
    """

    kind: int
    response_requested: bool
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class UserInformation:
    """The user information item (PS3.8 D.1, PS3.7 D.3.3).

    `max_pdu` 0 means no limit; the identity response is the acceptor's.
    """

    max_pdu: int = DEFAULT_MAX_PDU
    implementation_class: str = uids.IMPLEMENTATION_CLASS_UID
    implementation_version: str = uids.IMPLEMENTATION_VERSION_NAME
    window: AsyncOperationsWindow | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    identity: UserIdentity | None = None
    identity_response: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AssociateRQ:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2). AE titles carry no padding."""

    called: str
    calling: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation = UserInformation()
    application_context: str = uids.APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateAC:
    """A-ASSOCIATE-AC (PS3.8 9.3.3). The AE titles echo the request and "shall not be tested"."""

    called: str
    calling: str
    contexts: tuple[AnsweredContext, ...]
    user: UserInformation = UserInformation()
    application_context: str = uids.APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateRJ:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    result: int
    source: int
    reason: int

    def __str__(self) -> str:
        lasting = "permanently" if self.result == RejectResult.PERMANENT else "for now"
        return (
            f"rejected {lasting}:"
            f" {REJECT_REASONS.get((self.source, self.reason), f'reason {self.reason}')}"
        )


@dataclass(frozen=True, slots=True)
class ReleaseRQ:
    """A-RELEASE-RQ (PS3.8 9.3.6)."""


@dataclass(frozen=True, slots=True)
class ReleaseRP:
    """A-RELEASE-RP (PS3.8 9.3.7)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 9.3.8)."""

    source: int = AbortSource.SERVICE_USER
    reason: int = AbortReason.NOT_SPECIFIED


Pdu = AssociateRQ | AssociateAC | AssociateRJ | ReleaseRQ | ReleaseRP | Abort
