"""Deliveries: which instance goes to which destination, in which lane, and how far it has come.

Destinations, rules.

A *destination* is named by a Link's configuration (`calls.config.Destination`); what the Cloud
knows of it beside is here. A *lane* is an ordered queue of one destination: the whole destination
(''), or one patient where it has more than one connection.
"""

import enum
from typing import Final

import msgspec

from swallowtail.calls.deliver import About, DeliveryPhase
from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.tenancy import Tenant, Value


class DeliveryState(enum.StrEnum):
    """Where a delivery is."""

    WAITING = "waiting"
    """For its turn, or for `next_at`."""
    LEASED = "leased"
    """A node works on it until `until`."""
    STOPPED = "stopped"
    """At the head of its lane, which waits for a person (`at_cap = stop`)."""
    PARKED = "parked"
    """Set aside by a person; its lane goes on."""
    DEAD = "dead"
    """A dead letter: parked by the cap, or its destination is configured no more.

    Its lane goes on.
    """
    SKIPPED = "skipped"
    """Given up by a person, with a reason."""
    DELIVERED = "delivered"
    WARNED = "warned"
    """Delivered with a warning (B000, B006, B007)."""


OPEN_STATES = frozenset({DeliveryState.WAITING, DeliveryState.LEASED, DeliveryState.STOPPED})
"""Those that keep their place in the lane."""
MAX_ATTEMPTS: Final = 20
"""Attempts of a delivery that are kept.

A destination that is down for days must not fill the disk.
"""
DONE_STATES = frozenset({DeliveryState.DELIVERED, DeliveryState.WARNED, DeliveryState.SKIPPED})


class Target(Value, frozen=True, kw_only=True):
    """A destination's place: the Link that reaches it and its name there."""

    link: str
    destination: str

    @property
    def subject(self) -> str:
        """What an alarm about this destination names."""
        return f"{self.link}/{self.destination}"


class NewDelivery(Value, frozen=True, kw_only=True):
    """What a rule or a person wants sent.

    The same (target, instance, cause) again makes no second row.
    """

    target: Target
    instance: int
    lane: str = ""
    priority: int = 0
    """Higher goes first within its lane; equal ones in order."""
    cause: str
    """`rule:<id>/<episode>` or `person:<token id>/<request>`."""


class Delivery(Value, frozen=True, kw_only=True):
    """One instance on its way to one destination."""

    id: int
    target: Target
    instance: int
    facility: str
    """Where the instance came from."""
    study: str
    sop_instance: str
    sop_class: str
    transfer_syntax: str
    """The instance's own."""
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
    """Every lease."""
    refusals: int = 0
    """Attempts that the destination answered about the instance: what the cap counts."""
    cuts: int = 0
    """Attempts in a row in which the association ended while the instance was under way."""
    status: int | None = None
    about: About | None = None
    phase: DeliveryPhase | None = None
    detail: str = ""
    """Of the last failure or warning, or why a person skipped it."""
    sent_syntax: str = ""
    """The transfer syntax it was delivered in; another than its own where it was transcoded."""


class Lease(Value, frozen=True, kw_only=True):
    """A delivery that a node may work on until `until`.

    It shows `token` to settle it, so that a lapsed lease settles nothing.
    """

    tenant: Tenant
    delivery: Delivery
    token: int
    until: float


class BreakerState(enum.StrEnum):
    """Whether a destination is tried."""

    CLOSED = "closed"
    """Deliveries flow."""
    OPEN = "open"
    """Not tried before `retry_at`."""
    HALF_OPEN = "half-open"
    """One delivery tries it."""


class DestinationState(Value, frozen=True, kw_only=True):
    """What the Cloud knows of a destination beside its configuration."""

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
    """What a claim gave.

    The leases, the destination as it is now (without counts), and what its queue will need soon.
    """

    leases: tuple[Lease, ...] = ()
    state: DestinationState
    expected: tuple[tuple[str, str], ...] = ()
    """(SOP class, transfer syntax) of the oldest open deliveries, each pair once."""


class Due(Value, frozen=True, kw_only=True):
    """A destination with open deliveries, and from when on one can be claimed."""

    target: Target
    at: float


class Tried(Value, frozen=True, kw_only=True):
    """How an attempt was made that had begun: times, and by which session and settings."""

    began: float
    ended: float
    epoch: int
    """The Link's session (`tenancy.Link.epoch`)."""
    configuration: int
    """The version of the Link's configuration whose destination was meant."""
    connection: int
    """Which of the destination's connections, from 0."""
    sent_syntax: str
    """The transfer syntax that was sent, or would have been."""


class DeliveryAttempt(Tried, frozen=True, kw_only=True):
    """One attempt at a delivery, as it ended.

    What people do with a delivery is in the audit log instead.
    """

    number: int
    """The delivery's `tries` then, which go on over a resend.

    A missing number was a lease under which nothing began, or whose node died before it could tell.
    """
    state: DeliveryState
    """Where it left the delivery."""
    status: int | None = None
    about: About | None = None
    phase: DeliveryPhase | None = None
    detail: str = ""


class Settlement(Value, frozen=True, kw_only=True):
    """What became of a lease; the planner (`dispatch`) has decided it."""

    tenant: Tenant
    delivery: int
    token: int
    state: DeliveryState
    next_at: float = 0.0
    refused: bool = False
    """Counts towards the cap."""
    cuts: int = 0
    """As the delivery's from now on."""
    status: int | None = None
    about: About | None = None
    phase: DeliveryPhase | None = None
    detail: str = ""
    sent_syntax: str = ""
    tried: Tried | None = None
    """None: the attempt never began, so the delivery's history leaves it out."""


class DeliverySearch(Value, frozen=True, kw_only=True):
    """Which deliveries."""

    link: str = ""
    destination: str = ""
    states: frozenset[DeliveryState] = frozenset()
    study: str = ""
    sop_instance: str = ""
    facilities: frozenset[str] | None = None
    """Those whose instance came from one of these, and whose destination's Link is in one of these.
    """


class RuleCondition(Value, frozen=True, kw_only=True):
    """What must hold of an instance; every given one must.

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
    """An indexed instance that the rules have to judge.

    `quiet_since` is when its study last got something or an association with it ended.
    """

    tenant: Tenant
    instance: Instance
    document: bytes
    """Its DICOM JSON, compressed as stored."""
    fired: tuple[str, ...] = ()
    """Rules that have acted on it already."""
    patient: str
    """Key of the patient lane: issuer and patient id, empty when unknown."""
    association_open: bool
    quiet_since: float
    archive: str = ""
    """Id of the archive that its study is in."""


class Routed(Value, frozen=True, kw_only=True):
    """The rules' word on one instance.

    Judged for good, or to be looked at again at `again_at` (completeness).
    """

    instance: int
    again_at: float | None = None
    fired: tuple[str, ...] = ()
    """Ids of rules that have acted already, so that they do not twice."""
    archive: str = ""
    """Id of the archive into which its study is put if it is in none."""
