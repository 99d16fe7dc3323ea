"""Deliveries, destinations and rules.

A delivery is one payload on its way to one destination. A *payload* is of a kind (an instance,
later a message or an event) and refers to a row of that kind. A *destination* is named by the
configuration of the Link that sends to it. A *lane* is an ordered queue of one destination: the
whole destination (''), or one patient where it has more than one connection.
"""

import enum
from typing import Final

import msgspec

from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.tenancy import Tenant, Value


class DeliveryState(enum.StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    """It waits for its turn, or until `next_at`."""
    SENDING = "sending"
    """A node holds its lease until `until`."""
    STOPPED = "stopped"
    """It was refused at the cap (`at_cap = stop`). Its lane waits until a person acts."""
    PARKED = "parked"
    """A person parked it. Its lane continues."""
    DEAD_LETTER = "dead-letter"
    """It was refused at the cap, or its destination is no longer configured.

    Its lane continues.
    """
    SKIPPED = "skipped"
    """A person skipped it, with a reason."""
    DELIVERED = "delivered"
    WARNED = "warned"
    """Delivered with a warning."""


INSTANCE: Final = "instance"
"""The payload kind of DICOM instances."""
OPEN_STATES = frozenset({DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.STOPPED})
"""States in which a delivery keeps its place in the lane."""
MAX_ATTEMPTS: Final = 20
"""Attempts that are kept of a delivery, so that a long outage does not fill the disk."""
DONE_STATES = frozenset({DeliveryState.DELIVERED, DeliveryState.WARNED, DeliveryState.SKIPPED})


class FailureSubject(enum.StrEnum):
    """The subject of a failed attempt."""

    DESTINATION = "destination"
    """It cannot be reached or is out of resources: retried without limit, opens the breaker."""
    PAYLOAD = "payload"
    """The destination refused this payload: counts towards the cap."""
    ROUTE = "route"
    """The Link, or the Cloud itself, could not make the attempt: retried without counting."""


class Target(Value, frozen=True, kw_only=True):
    """The key of a destination: the Link that sends to it and its name there.

    `link` is empty where the Cloud itself sends.
    """

    link: str
    destination: str

    @property
    def subject(self) -> str:
        """Return the subject of an alarm about this destination."""
        return f"{self.link}/{self.destination}"


class Payload(Value, frozen=True, kw_only=True):
    """The payload of a delivery.

    The texts are those of its kind; they stay with the delivery when the row is deleted.
    """

    kind: str
    reference: int
    """Id of the row, among those of its kind."""
    facility: str
    """The facility that it came from."""
    parent: str = ""
    """What it is part of: the Study Instance UID of an instance."""
    identifier: str = ""
    """Its own identifier: the SOP Instance UID of an instance."""
    type: str = ""
    """The SOP Class UID of an instance."""
    format: str = ""
    """How it is encoded: the transfer syntax of an instance."""


class NewDelivery(Value, frozen=True, kw_only=True):
    """A delivery that a rule or a person requests.

    The same (destination, kind, reference, cause) again adds no second row.
    """

    target: Target
    kind: str
    reference: int
    lane: str = ""
    priority: int = 0
    """Higher goes first within its lane; equal ones in order."""
    cause: str
    """`rule:<id>/<episode>` or `person:<token id>/<request>`."""


class Delivery(Value, frozen=True, kw_only=True):
    """One payload on its way to one destination."""

    id: int
    target: Target
    payload: Payload
    lane: str
    priority: int
    cause: str
    state: DeliveryState
    place: int
    """The order within a lane and priority.

    A resend takes the last place, unless the delivery had stopped its lane.
    """
    created: float
    changed: float
    next_at: float = 0.0
    until: float = 0.0
    """End of the lease."""
    tries: int = 0
    """Number of leases."""
    refusals: int = 0
    """Attempts that failed about the payload: the cap counts them."""
    cuts: int = 0
    """Attempts in a row whose connection ended during the transfer."""
    status: int | None = None
    about: FailureSubject | None = None
    phase: str | None = None
    """How far the last attempt came, in the terms of its route."""
    detail: str = ""
    """Cause of the last failure or warning, or the reason of the skip."""
    sent_format: str = ""
    """The format it was delivered in; not its own where it was transcoded."""


class Lease(Value, frozen=True, kw_only=True):
    """The right of a node to attempt a delivery until `until`.

    Settling requires `token`, so that an expired lease settles nothing.
    """

    tenant: Tenant
    delivery: Delivery
    token: int
    until: float


class BreakerState(enum.StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    """Deliveries flow."""
    OPEN = "open"
    """No attempt before `retry_at`."""
    HALF_OPEN = "half-open"
    """One attempt decides."""


class DestinationState(Value, frozen=True, kw_only=True):
    """The state of a destination beside its configuration."""

    target: Target
    paused: bool = False
    paused_by: str = ""
    breaker: BreakerState = BreakerState.CLOSED
    failures: int = 0
    """In a row."""
    retry_at: float = 0.0
    detail: str = ""
    """Of the last failure."""
    failing_since: float | None = None
    delivered_at: float | None = None
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    """Deliveries by state; those done are counted over the last 24 h."""
    oldest: float | None = None
    """When the oldest open delivery was created."""


class Claim(Value, frozen=True, kw_only=True):
    """The result of a claim: leases and the state of the destination, without counts."""

    leases: tuple[Lease, ...] = ()
    state: DestinationState
    expected: tuple[tuple[str, str, str], ...] = ()
    """(kind, type, format) of the oldest open deliveries, each once."""


class Due(Value, frozen=True, kw_only=True):
    """A destination with open deliveries, and the time from which one can be claimed."""

    target: Target
    at: float


class AttemptFacts(Value, frozen=True, kw_only=True):
    """Times, session and settings of an attempt that had begun."""

    began: float
    ended: float
    epoch: int
    """Number of the Link's session (`tenancy.Link.epoch`)."""
    configuration: int
    """Version of the configuration that named the destination."""
    connection: int
    """Number of the destination's connection, from 0."""
    sent_format: str
    """The format that was sent, or would have been."""
    seconds: float | None = None
    """Duration of the transfer to the destination, where it succeeded and the route measures it."""
    comment: str = ""
    """The destination's own text (Error Comment, 0000,0902), which may hold anything."""


class DeliveryAttempt(AttemptFacts, frozen=True, kw_only=True):
    """One attempt at a delivery and its outcome.

    Actions of people are in the audit log.
    """

    number: int
    """`tries` of the delivery at that time; a resend does not reset it.

    A missing number is a lease under which nothing began, or whose node crashed before it settled.
    """
    state: DeliveryState
    """State of the delivery after it."""
    status: int | None = None
    about: FailureSubject | None = None
    phase: str | None = None
    detail: str = ""


class Settlement(Value, frozen=True, kw_only=True):
    """The outcome of a lease, as `dispatch.planner` decided it."""

    tenant: Tenant
    delivery: int
    token: int
    state: DeliveryState
    next_at: float = 0.0
    refused: bool = False
    """Whether it counts towards the cap."""
    cuts: int = 0
    """New value of the delivery's `cuts`."""
    status: int | None = None
    about: FailureSubject | None = None
    phase: str | None = None
    detail: str = ""
    sent_format: str = ""
    attempt: AttemptFacts | None = None
    """None: the attempt did not begin, and the history omits it."""


class DeliverySearch(Value, frozen=True, kw_only=True):
    """Conditions on deliveries; an empty one matches all."""

    link: str = ""
    destination: str = ""
    states: frozenset[DeliveryState] = frozenset()
    kind: str = ""
    parent: str = ""
    identifier: str = ""
    facilities: frozenset[str] | None = None
    """Only payloads of these facilities to destinations of Links in these facilities."""


class RuleCondition(Value, frozen=True, kw_only=True):
    """The condition of a rule on an instance; every given key must match.

    Text takes `*` and `?` (PS3.4 C.2.2.2.4).
    """

    calling_ae: str = ""
    called_ae: str = ""
    device: str = ""
    link: str = ""
    address: str = ""
    """A network in CIDR notation."""
    sop_classes: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    """(keyword or gggg,eeee; pattern) of top-level elements of the indexed DICOM JSON."""
    archives: tuple[str, ...] = ()
    """Ids of archives, of which its study is in one."""


class RuleAction(Value, frozen=True, kw_only=True):
    """Deliver to these destinations; put the study into an archive."""

    targets: tuple[Target, ...] = ()
    priority: int = 0
    archive: str = ""
    """Id of the archive into which a study is put that is in none; empty: it stays where it is."""


class Rule(Value, frozen=True, kw_only=True):
    """One line of the routing.

    Evaluated in `position` order, every match acts unless `final` ends it.
    """

    id: str
    name: str
    position: int
    enabled: bool = True
    condition: RuleCondition = RuleCondition()
    action: RuleAction
    when_complete: bool = False
    """Wait until the study is complete.

    Its association has ended and nothing came for `quiet` seconds.
    """
    quiet: float = 30.0
    acquisitions_only: bool = True
    """Only what a device sent; not what was uploaded or retrieved."""
    final: bool = False
    created: float
    changed: float


class Routing(Value, frozen=True, kw_only=True):
    """An indexed instance that the rules have to evaluate.

    `quiet_since` is when its study last got something or an association with it ended.
    """

    tenant: Tenant
    instance: Instance
    document: bytes
    """Its DICOM JSON, compressed as stored."""
    fired: tuple[str, ...] = ()
    """Rules that have applied to it already."""
    patient: str
    """Key of the patient lane: issuer and patient id, empty when unknown."""
    association_open: bool
    quiet_since: float
    archive: str = ""
    """Id of the archive that its study is in."""


class Routed(Value, frozen=True, kw_only=True):
    """The rules' word on one instance.

    Evaluated permanently, or to be looked at again at `again_at` (completeness).
    """

    instance: int
    again_at: float | None = None
    fired: tuple[str, ...] = ()
    """Ids of rules that have acted already, so that they do not twice."""
    archive: str = ""
    """Id of the archive into which its study is put if it is in none."""
