"""The values of operations: configuration versions, reports of Links, unknown devices, alarms."""

from typing import Final

from swallowtail.cloud.model.conditions import CONDITIONS, Condition, Severity
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
    """One of those that CONDITIONS allows."""
    detail: str = ""

    def __post_init__(self) -> None:
        if self.severity not in CONDITIONS[self.condition].severities:
            raise ValueError(f"{self.condition} has no severity {self.severity}")


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
