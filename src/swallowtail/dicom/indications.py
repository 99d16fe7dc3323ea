"""The indications and confirmations of PS3.8 7, and the ends of associations.

The indications and confirmations of PS3.8 7, and why an association ended.
"""

from dataclasses import dataclass

from swallowtail.dicom.pace import Deadline
from swallowtail.dicom.pdu import AssociateAC, AssociateRJ, AssociateRQ
from swallowtail.dicom.pdu_reader import Fragment


@dataclass(frozen=True, slots=True)
class AssociateRequested:
    """A-ASSOCIATE indication: answer with `accept`, `reject` or `abort`."""

    request: AssociateRQ


@dataclass(frozen=True, slots=True)
class AssociateAccepted:
    """A-ASSOCIATE confirmation: data may flow on the contexts that `answer` accepts."""

    answer: AssociateAC


@dataclass(frozen=True, slots=True)
class AssociateRejected:
    """A-ASSOCIATE confirmation, negative. CLOSED follows."""

    answer: AssociateRJ


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """A-RELEASE indication: send what is still owed, then call `release`."""


@dataclass(frozen=True, slots=True)
class Released:
    """A-RELEASE confirmation: the peer agreed to our `release`. CLOSED follows."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """A-ABORT or A-P-ABORT indication: the peer ended the association. CLOSED follows."""

    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """A-P-ABORT indication: the transport ended below an association. CLOSED follows."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The end of the association by us, because the peer was too slow; CLOSED follows."""

    deadline: Deadline


AssociationEvent = (
    AssociateRequested
    | AssociateAccepted
    | AssociateRejected
    | Fragment
    | ReleaseRequested
    | Released
    | Aborted
    | ConnectionLost
    | DeadlinePassed
)
