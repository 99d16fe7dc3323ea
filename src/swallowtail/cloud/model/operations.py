"""The values of operations: configuration versions, reports of Links, unknown devices, alarms."""

import enum
from typing import Final

from swallowtail.cloud.model.tenancy import Value


class ConfigurationVersion(Value, frozen=True, kw_only=True):
    """One version of a Link's document; versions count from 1 and are never changed.

    `document` is opaque here.
    """

    link: str
    version: int
    document: bytes
    author: str
    created: float
    comment: str = ""
    restored_from: int | None = None
    """The version that a rollback repeated."""


class Running(Value, frozen=True, kw_only=True):
    """The last report of a Link.

    What it runs, on which release, and whether a session is running.
    """

    link: str
    connected: bool
    since: float
    """Of the present `connected`."""
    seen: float
    epoch: int = 0
    version: int = 0
    """Of the configuration that runs; 0: none."""
    release: str = ""
    address: str = ""
    report: bytes = b""
    """MessagePack of the endpoints and policy, opaque here."""
    problems: tuple[tuple[str, str], ...] = ()
    """(field, message) of why the desired version was refused; empty: it was not."""


class UnknownDevice(Value, frozen=True, kw_only=True):
    """A system that connected and matches no configured device.

    Counted per all but count and times.
    """

    link: str
    listener: str
    address: str
    calling_ae: str
    called_ae: str
    reason: str
    count: int
    first: float
    last: float


class Severity(enum.StrEnum):
    """The urgency of an alarm."""

    WARNING = "warning"
    MAJOR = "major"
    CRITICAL = "critical"


class Condition(enum.StrEnum):
    """The condition of an alarm; every one is documented and tested."""

    INSTANCE_CONFLICT = "instance-conflict"
    """A SOP Instance UID came again with other bytes.

    The first stays visible until a person chooses.
    """
    INSTANCE_QUARANTINED = "instance-quarantined"
    """A stored data set is malformed or unlike its command set."""
    LINK_KEY = "link-key"
    """A Link's code was presented with another device key.

    A stolen code, or a machine that was replaced without rebind.
    """
    LINK_OFFLINE = "link-away"
    """A Link has no live session."""
    CONFIGURATION_REFUSED = "configuration-refused"
    """A Link refused the desired configuration and runs the old one."""
    STORAGE = "storage"
    """Disk or database refuse writes."""
    DESTINATION_FAILING = "destination-failing"
    """A destination cannot be reached, or has no resources.

    Its deliveries wait and are tried again.
    """
    DEAD_LETTER = "dead-letter"
    """A delivery of a destination is a dead letter.

    Nobody sends it any more before a person acts.
    """
    LANE_STOPPED = "lane-stopped"
    """A lane of a destination has stopped at an instance (`at_cap = stop`), and waits for a person.
    """
    QUEUE_OLD = "queue-old"
    """A delivery waits for more than an hour, for whatever reason."""
    DISK_LOW = "disk-low"
    """The disk of the Cloud's data folder is nearly full."""
    UNKNOWN_DEVICE = "unknown-device"
    """A system that no device of the configuration matches connects at a Link."""
    CERTIFICATE_EXPIRING = "certificate-expiring"
    """The certificate that the Cloud serves, or its authority, ends soon."""
    AUDIT_BROKEN = "audit-broken"
    """Records that an exported head of an audit chain covers were removed or replaced."""
    AUDIT_EXPORT = "audit-export"
    """The receiver of the audit takes nothing."""
    OPERATOR_TOKEN = "operator-token"  # noqa: S105 - the name of a condition
    """An operator, who may see no patient data, has made a token of this organisation, which does.
    """


class Alarm(Value, frozen=True, kw_only=True):
    """One condition of one subject, raised once until it is cleared (edge-triggered).

    `count` reports how often it was seen.
    """

    id: int
    condition: Condition
    subject: str
    """What it is about: a Link's id, a SOP Instance UID."""
    severity: Severity
    detail: str = ""
    """For a person; no patient data."""
    since: float
    last: float
    count: int = 1
    acknowledged: float | None = None
    acknowledged_by: str = ""
    cleared: float | None = None


class NewAlarm(Value, frozen=True, kw_only=True):
    """A condition that was seen."""

    condition: Condition
    subject: str
    severity: Severity
    detail: str = ""


class AlarmSearch(Value, frozen=True, kw_only=True):
    """The keys of a search for alarms; every given key must match, of several values one."""

    conditions: tuple[Condition, ...] = ()
    severities: tuple[Severity, ...] = ()
    subject: str = ""
    cleared: bool | None = False
    """Those that are cleared, or those that are not; None: both."""
    acknowledged: bool | None = None
    since: float | None = None
    """Raised at or after this time."""
    before: float | None = None
    """Raised before this time."""


RAISED: Final = AlarmSearch()
