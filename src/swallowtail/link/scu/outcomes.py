"""The outcomes of a delivery, as data.

The destination's statuses, rejections and aborts, with the remedy for each.

Three kinds are kept apart, since the Cloud's queue treats them differently (`calls.deliver.About`):
the destination, this instance, Link itself. Statuses are PS3.4 B.2.3 and PS3.7 Annex C; what no row
lists is an answer about the instance, so that a strange destination cannot hold its lane for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from swallowtail.calls.deliver import About, DeliveryPhase, NotDelivered
from swallowtail.dicom.indications import Aborted, AssociateRejected, ConnectionLost, DeadlinePassed
from swallowtail.dicom.net import NotAssociated
from swallowtail.dicom.pdu import AssociateRJ, RejectResult

MAX_DETAIL: Final = 400


class NotDeliveredError(Exception):
    """A failed delivery; `answer` is the response to the Cloud."""

    def __init__(self, answer: NotDelivered) -> None:
        super().__init__(answer.detail)
        self.answer = answer


def failure(about: About, phase: DeliveryPhase, detail: str) -> NotDeliveredError:
    """Return the failure of a delivery that got no response."""
    return NotDeliveredError(NotDelivered(about=about, phase=phase, detail=detail[:MAX_DETAIL]))


@dataclass(frozen=True, slots=True)
class Row:
    """Statuses from `first` to `last`; `about` None: the destination has the instance."""

    first: int
    last: int
    about: About | None
    means: str
    remedy: str = ""


_RETRIED: Final = "it is tried again"
_LOG: Final = "see its log"

STATUSES: Final = (
    Row(0x0000, 0x0000, None, "success"),
    Row(0x0001, 0x0001, None, "warning"),
    Row(0x0107, 0x0107, None, "warning: attribute list error"),
    Row(0x0116, 0x0116, None, "warning: attribute value out of range"),
    Row(0xB000, 0xB000, None, "warning: data elements were coerced"),
    Row(0xB006, 0xB006, None, "warning: data elements were discarded"),
    Row(0xB007, 0xB007, None, "warning: the data set does not match its SOP class"),
    Row(0xB000, 0xBFFF, None, "warning"),
    Row(
        0xA700,
        0xA7FF,
        About.DESTINATION,
        "it is out of resources",
        f"check its storage; {_RETRIED}",
    ),
    Row(
        0xA900,
        0xA9FF,
        About.INSTANCE,
        "the data set does not match its SOP class",
        f"{_LOG}; correct the instance or skip it",
    ),
    Row(
        0xC000,
        0xCFFF,
        About.INSTANCE,
        "it cannot understand the data set",
        f"{_LOG}; correct the instance or skip it",
    ),
    Row(
        0x0111,
        0x0111,
        About.INSTANCE,
        "it has an instance with this UID already",
        "compare the two there, then skip this one",
    ),
    Row(
        0x0122,
        0x0122,
        About.INSTANCE,
        "it does not support the SOP class",
        "enable the SOP class there, or send it elsewhere",
    ),
    Row(
        0x0124,
        0x0124,
        About.INSTANCE,
        "it does not permit this",
        "grant our AE title the right to store there",
    ),
    Row(
        0x0100,
        0x01FF,
        About.INSTANCE,
        "it refuses the instance",
        f"{_LOG}; correct the instance or skip it",
    ),
    Row(0x0212, 0x0212, About.INSTANCE, "it finds an argument mistyped", _LOG),
    Row(0x0200, 0x02FF, About.DESTINATION, "it cannot process requests", f"{_LOG}; {_RETRIED}"),
    Row(0xFE00, 0xFE00, About.DESTINATION, "it cancelled the request", f"{_LOG}; {_RETRIED}"),
    Row(0x0000, 0xFFFF, About.INSTANCE, "a status that no standard lists", _LOG),
)
"""The first row that covers a status counts."""


def row_of(status: int) -> Row:
    """Return the row of `status` in a C-STORE-RSP."""
    return next(row for row in STATUSES if row.first <= status <= row.last)


def answered(name: str, status: int, row: Row, comment: str) -> NotDelivered:
    """Return the response to the Cloud for a status that is a failure."""
    detail = f"{name} answered {status:04X}: {row.means}; {row.remedy}"
    assert row.about is not None
    return NotDelivered(
        about=row.about,
        phase=DeliveryPhase.RESPONSE,
        detail=detail[:MAX_DETAIL],
        status=status,
        comment=comment[:64],
    )


_REJECTIONS: Final[Mapping[tuple[int, int], tuple[str, str]]] = {
    (1, 1): (
        "it states no reason",
        "see its log; often our AE title {calling} or our address is not entered there",
    ),
    (1, 2): (
        "it does not support DICOM's application context",
        "check that host and port are those of a DICOM system",
    ),
    (1, 3): (
        "calling AE title not recognised",
        "enter {calling} there with Link's address, or correct the calling AE title",
    ),
    (1, 7): (
        "called AE title not recognised",
        "check the AE title configured for it, now {called}",
    ),
    (2, 1): ("it states no reason", "see its log"),
    (2, 2): (
        "it does not support this protocol version",
        "check that host and port are those of a DICOM system",
    ),
    (3, 1): ("temporary congestion", "it is tried again"),
    (3, 2): ("local limit exceeded", "allow more associations there{fewer}; it is tried again"),
}


@dataclass(frozen=True, slots=True)
class Peer:
    """A destination, for messages."""

    name: str
    place: str
    """Host and port."""
    called: str
    calling: str
    connections: int
    """How many Link may open to it at once."""

    def rejected(self, answer: AssociateRJ) -> str:
        """Return the message that it rejected the association."""
        unknown = (f"reason {answer.source}/{answer.reason}", "see its log")
        reason, remedy = _REJECTIONS.get((answer.source, answer.reason), unknown)
        lasting = "" if answer.result == RejectResult.PERMANENT else " for now"
        fewer = ", or configure fewer connections here" if self.connections > 1 else ""
        remedy = remedy.format(calling=self.calling, called=self.called, fewer=fewer)
        return f"{self.name} rejected the association{lasting}: {reason}; {remedy}"

    def not_associated(self, why: NotAssociated) -> str:
        """Return the message why there is no association."""
        match why:
            case AssociateRejected(answer):
                return self.rejected(answer)
            case Aborted():
                return (
                    f"{self.name} aborted instead of responding to the association request; see its"
                    " log"
                )
            case DeadlinePassed():
                return (
                    f"{self.name} took the connection but did not answer the association request in"
                    " time; is it overloaded?"
                )
            case ConnectionLost():
                return (
                    f"{self.name} closed the connection instead of answering; check that"
                    f" {self.place} is its DICOM port"
                )

    def aborted(self) -> str:
        """Return the message that it aborted an association."""
        return f"{self.name} aborted the association; see its log"

    def lost(self) -> str:
        """Return the message that the connection ended below an association."""
        return (
            f"the connection to {self.name} was lost; check the network between Link and"
            f" {self.place}, and whether it runs"
        )

    def released(self) -> str:
        """Return the message that it ended the association itself."""
        return f"{self.name} released the association before it answered; see its log"

    def violated(self, what: str) -> str:
        """Return the message that it broke the protocol and was sent an A-ABORT."""
        return (
            f"{self.name} broke the DICOM protocol and was aborted: {what}; report it to its vendor"
        )

    def unreachable(self, error: OSError) -> str:
        """Return the message that no connection opened."""
        if isinstance(error, TimeoutError):
            return (
                f"{self.name} did not take the connection to {self.place} in time; check host, port"
                " and firewalls"
            )
        what = (
            "refused the connection"
            if isinstance(error, ConnectionRefusedError)
            else "could not be connected to"
        )
        reason = error.strerror or type(error).__name__
        return (
            f"{self.name} {what} at {self.place} ({reason}); check host and port, and whether it"
            " runs"
        )

    def unresolved(self, error: OSError) -> str:
        """Return the message that the host's name has no address."""
        reason = (
            "no answer in time"
            if isinstance(error, TimeoutError)
            else error.strerror or "unknown name"
        )
        return (
            f"the host of {self.name}, {self.place}, has no address ({reason}); check its spelling"
            " and the hospital's DNS"
        )

    def stalled(self, seconds: float) -> str:
        """Return the message that it stopped reading."""
        return (
            f"{self.name} took no byte of an instance for {seconds:g} s; check whether it hangs; it"
            " is tried again"
        )

    def silent(self, seconds: float) -> str:
        """Return the message that no response came."""
        return (
            f"{self.name} took an instance and did not answer within {seconds:g} s; check whether"
            " it hangs; it is tried again"
        )
