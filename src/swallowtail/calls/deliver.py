"""Store out: one instance from the Cloud, through Link, into a system of the hospital.

The channel: OPEN(DeliverRequest), then a transfer (`calls.transfer`); then Link's one response,
MESSAGE+FIN. Link takes the next request of a destination while the last awaits its response, holds
at most one window of it, and sends it when the connection is free. What failed states which of
three things it was about, since the Cloud's queue treats them differently: the destination, the
instance, or Link itself.
"""

import enum
from typing import Annotated, Final

from msgspec import Meta

from swallowtail.calls.codec import Call, Reader
from swallowtail.calls.transfer import Confirmation

DELIVER: Final = "deliver"


class Expected(Call, frozen=True, kw_only=True):
    """A presentation context that the queue will need soon.

    One association then serves many instances.
    """

    sop_class: str
    transfer_syntaxes: Annotated[tuple[str, ...], Meta(max_length=16)]


class DeliverRequest(Call, frozen=True, kw_only=True):
    """Store this instance at a destination of the running configuration.

    The data set follows as DATA, without group 0002.
    """

    destination: str
    """Its name in the configuration."""
    configuration: int
    """The version whose destination is meant; Link answers LINK when it runs an older one."""
    connection: int = 0
    """Which of the destination's connections, from 0.

    Deliveries of one connection keep their order.
    """
    delivery: int
    attempt: int
    """Its attempts so far; a refused context is negotiated again from the second on."""
    behind: int = 0
    """The delivery ahead of this one on its connection that had no answer yet when this was asked
    for, 0: none. Unless that one has arrived (or awaits its response, within the asynchronous
    operations window), this one is not begun and the answer is LINK at phase QUEUE: nothing
    overtakes a retry.
    """
    sop_class: str
    sop_instance: str
    transfer_syntax: str
    length: int
    """Bytes of the data set that follow."""
    expected: Annotated[tuple[Expected, ...], Meta(max_length=64)] = ()
    originator_ae: str = ""
    """Move Originator (0000,1030), where a C-MOVE asked for this."""
    originator_id: int = 0


class DeliveryPhase(enum.StrEnum):
    """The phase in which a delivery failed."""

    QUEUE = "queue"
    """Not begun.

    Link stops, runs another configuration, or the one before it on its connection did not arrive.
    """
    POLICY = "policy"
    LIMIT = "limit"
    """Not begun: the hospital's policy allows no more new destinations within this minute."""
    RESOLVE = "resolve"
    CONNECT = "connect"
    ASSOCIATE = "associate"
    CONTEXT = "context"
    SEND = "send"
    RESPONSE = "response"
    TRANSFER = "transfer"
    """Between Cloud and Link."""


class About(enum.StrEnum):
    """The subject of a failure."""

    DESTINATION = "destination"
    """It cannot be reached or is out of resources: retried for ever, opens the breaker."""
    INSTANCE = "instance"
    """It answered about this instance (A9xx, Cxxx, 01xx), or refused its presentation context.

    Counts towards the cap.
    """
    LINK = "link"
    """Link cannot now: it stops, runs another configuration, or the transfer was cut.

    Retried without counting.
    """


class Delivered(Confirmation, tag="delivered", frozen=True, kw_only=True):
    """The destination answered with success or a warning (B000, B006, B007).

    With this request's own numbers (wire §8).
    """

    status: int
    """PS3.4 B.2.3: 0000 or Bxxx."""
    comment: str = ""
    """Error Comment (0000,0902), cut to 64 characters."""
    seconds: float


class NotDelivered(Call, tag="not-delivered", frozen=True, kw_only=True):
    """The destination does not have it, according to Link."""

    about: About
    phase: DeliveryPhase
    detail: str
    """For a person: what failed, where, what to do next; no patient data."""
    status: int | None = None
    """The DIMSE status, if there was a response."""
    accepted: tuple[str, ...] = ()
    """At phase CONTEXT: transfer syntaxes that the destination did accept for this SOP class."""
    permanent: bool = False
    """At phase CONTEXT: it cannot succeed before somebody changes the destination or its settings.

    The destination named what it does not support: results 3 and 4 (PS3.8 9.3.3.2). Results 1 and 2
    name no cause, which may pass.
    """
    comment: str = ""
    """Error Comment (0000,0902), cut to 64 characters.

    The destination's own words, which may hold anything.
    """
    after: float = 0.0
    """At phase LIMIT: seconds after which Link would begin it."""


DeliverAnswer = Delivered | NotDelivered

read_deliver_request: Reader[DeliverRequest] = Reader(DeliverRequest)
read_deliver_answer: Reader[DeliverAnswer] = Reader(DeliverAnswer)
