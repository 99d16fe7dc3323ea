"""Schemas of the REST API (pydantic), made from the values of the model.

Times are UTC seconds as float.
"""

import zoneinfo
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from swallowtail.calls.config import EndpointKind, configuration_type
from swallowtail.cloud.model.audit import ChainFault
from swallowtail.cloud.model.conditions import Condition, Severity
from swallowtail.cloud.model.paging import Page
from swallowtail.cloud.model.tenancy import MAX_RETENTION_DAYS, CodeState, OrganisationState, Role
from swallowtail.cloud.web.problems import ProblemError
from swallowtail.cloud.web.struct_schemas import inline_schema
from swallowtail.dicom import uids

T = TypeVar("T")

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")
]
"""The same rule as for names in a Link's configuration (calls.config.Name)."""
MAX_NUMBER: Final = 2**63 - 1
"""What a row can hold."""
RowId = Annotated[int, Path(ge=1, le=MAX_NUMBER)]
Timestamp = Annotated[float, Field(description="UTC seconds.")]
Moment = Annotated[float, Field(allow_inf_nan=False)]
Since = Annotated[
    Moment | None, Query(description="Raised or recorded at this time or later, UTC seconds.")
]
Before = Annotated[
    Moment | None, Query(description="Raised or recorded before this time, UTC seconds.")
]
Title = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)]
Comment = Annotated[str, StringConstraints(max_length=500)]


def _time_zone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone; one is 'Europe/Berlin'")
    return name


def _uid(text: str) -> str:
    if not uids.is_valid(text):
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            "uid",
            "the path names something that is not a UID",
            remedy=(
                "Correct the path: a UID has up to 64 characters, components of digits separated by"
                " dots."
            ),
        )
    return text


_UID_SCHEMA: Final = {
    "type": "string",
    "pattern": f"^{uids.PATTERN}$",
    "maxLength": uids.MAX_LENGTH,
}
UidPath = Annotated[str, AfterValidator(_uid), WithJsonSchema(_UID_SCHEMA)]
"""A UID in a path; anything else is a 400 (PS3.18 8.5)."""
UidText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=uids.MAX_LENGTH, pattern=f"^{uids.PATTERN}$"),
]
"""A UID in a query string or a body."""

TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_time_zone)]


class Body(BaseModel):
    """A request body; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Out(BaseModel):
    """A response body; clients ignore unknown keys."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


class PageOut(BaseModel, Generic[T]):
    """A page of a list: `next` is the cursor for the following one, null at the end."""

    items: list[T]
    next: str | None = None


def page_out(page: Page[Any], make: Callable[[Any], T]) -> PageOut[T]:
    """Return a page with each item as the API shows it."""
    return PageOut[T].model_construct(items=[make(item) for item in page.items], next=page.next)


class OrganisationOut(Out):
    """A tenant. What is deleted can be restored for `retention_days`, then it is purged."""

    id: str
    name: str
    title: str
    state: OrganisationState
    created: Timestamp
    retention_days: int


class RetentionChange(Body):
    """The number of days for which deleted instances can be restored."""

    days: Annotated[int, Field(strict=True, ge=1, le=MAX_RETENTION_DAYS)]


class OrganisationNew(Body):
    """An organisation to create."""

    name: Name
    title: Title = ""


class OrganisationChange(Body):
    """A change of an organisation."""

    title: Title | None = None
    state: OrganisationState | None = None


class FacilityOut(Out):
    """A place of the organisation."""

    id: str
    name: str
    title: str
    time_zone: str


class FacilityNew(Body):
    """A facility to create; `time_zone` is an IANA name."""

    name: Name
    title: Title = ""
    time_zone: TimeZone


class FacilityChange(Body):
    """A change of a facility."""

    title: Title | None = None
    time_zone: TimeZone | None = None


class EndpointOut(Out):
    """State of a listener or destination of a Link.

    Of a destination by its last answer, `unused` without one lately.
    """

    name: str
    kind: EndpointKind
    state: str
    detail: str
    since: Timestamp
    connections: int


class FaultOut(Out):
    """One thing that is wrong in a document."""

    field: str
    message: str


class SessionOut(Out):
    """The present or last session of a Link."""

    online: bool
    since: float | None = Field(
        None, description="When it came online or went offline, UTC seconds."
    )
    last_seen: float | None = Field(None, description="When its last frame came, UTC seconds.")
    address: str = Field("", description="The address that it connects from.")
    release: str = Field("", description="The release that it runs.")
    round_trip: float | None = Field(None, description="Seconds, of the last echo.")


class LinkOut(Out):
    """A Link; its security code is returned only when it is created, rotated or rebound."""

    id: str
    name: str
    facility: str
    code_state: CodeState
    code_until: float | None = Field(
        description="Until when a fresh code can be bound, UTC seconds."
    )
    key: str = Field(description="The bound device key in hex; empty before the first connection.")
    epoch: int = Field(description="Raised by every session, rotation, rebind and revocation.")
    created: Timestamp
    session: SessionOut


class LinkNew(Body):
    """A Link to create in a facility, by the facility's id."""

    name: Name
    facility: str


class LinkChange(Body):
    """A change of a Link."""

    name: Name | None = None
    facility: str | None = None


class LinkWithCodeOut(LinkOut):
    """A Link with its new security code, which is not shown again."""

    code: str


class PingOut(BaseModel):
    """A round trip through the Link."""

    seconds: float
    bytes: int


class PolicyOut(Out):
    """The hospital's policy as the Link read it."""

    source: str
    summary: list[str]


class LinkStatusOut(Out):
    """The status of a Link, as it reports it."""

    release: str
    platform: str
    host: str
    uptime: float
    configuration: int
    endpoints: list[EndpointOut]
    policy: PolicyOut
    clock_offset: float = Field(
        description=(
            "Seconds by which the Link's clock was ahead of the Cloud's when its session began."
        )
    )
    memory: int
    connections: int


class ConfigurationOut(BaseModel):
    """One version of a Link's configuration; lists leave `document` out."""

    link: str
    version: int
    document: dict[str, Any] | None = None
    author: str
    created: Timestamp
    comment: str
    restored_from: int | None = None


class ConfigurationNew(Body):
    """A new document.

    `expected` is the version that it was made from: another one in between is a conflict; null does
    not ask.
    """

    document: Annotated[dict[str, Any], WithJsonSchema(inline_schema(configuration_type()))]
    expected: Annotated[int, Field(strict=True, ge=0, le=MAX_NUMBER)] | None = None
    comment: Comment = ""


class Rollback(Body):
    """A rollback to an older version."""

    version: Annotated[int, Field(strict=True, ge=1, le=MAX_NUMBER)]
    comment: Comment = ""


class EndpointComparisonOut(Out):
    """A listener or destination: whether it is desired, and its state as the Link reported it."""

    name: str
    kind: EndpointKind
    desired: bool
    reported: EndpointOut | None = Field(
        None, description="null: not reported, as a destination that was not used lately."
    )


class ComparisonOut(Out):
    """Desired configuration against reported configuration."""

    desired: int = Field(description="The newest version; 0: none.")
    reported: int = Field(description="The version that the Link runs; 0: none.")
    in_sync: bool = Field(
        description=(
            "The Link is online, runs the newest version, and every desired listener listens. A"
            " failing destination does not affect it."
        )
    )
    online: bool
    problems: list[FaultOut] = Field(description="Why the Link refused the newest version.")
    endpoints: list[EndpointComparisonOut]


class UnknownDeviceOut(Out):
    """A system that connected and is not configured.

    `hint` is the device entry that would admit it.
    """

    link: str
    listener: str
    address: str
    calling_ae: str
    called_ae: str
    reason: str
    count: int
    first: Timestamp
    last: Timestamp
    hint: dict[str, Any]


class UnknownDeviceKey(Body):
    """The key of an unknown device."""

    link: str
    address: str
    calling_ae: str


class WhoAmI(BaseModel):
    """The authenticated principal."""

    id: str
    name: str
    role: Role
    organisation: OrganisationOut | None
    facilities: list[str] | None
    archives: list[str] | None


class AlarmOut(Out):
    """A condition that a person should see."""

    id: int
    condition: Condition
    subject: str
    severity: Severity
    detail: str
    since: Timestamp
    last: Timestamp
    count: int
    acknowledged: Timestamp | None
    acknowledged_by: str
    cleared: Timestamp | None


class AuditOut(BaseModel):
    """A record of the audit chain, in the terms of PS3.15 A.5."""

    sequence: int
    at: Timestamp
    event: str
    action: str
    outcome: int
    type: str
    actor: str
    role: str
    address: str
    objects: list[tuple[str, str]]
    detail: str
    digest: str


class HeadOut(Out):
    """The place and digest of a chain's last record; sequence 0: the chain has none."""

    sequence: int
    digest: str


class ExportedHeadOut(HeadOut):
    """A head that the Cloud has exported, and when."""

    at: Timestamp


class ChainOut(Out):
    """The verification of an audit chain.

    `exported` is the head that the Cloud exported last, with which it was compared.

    `broken_at` is the first record that does not match, `fault` is the cause: `changed`,
    `missing`, `key` (written without the Cloud's key), `exported` (another record than the one
    whose head was exported, or was given with the request) or `listed` (hidden from whoever
    filters the list).
    """

    records: int
    broken_at: int | None
    fault: ChainFault | None
    exported: ExportedHeadOut | None


def sorted_or_none(values: Iterable[str] | None) -> list[str] | None:
    """Return the sorted values; None stays None."""
    return None if values is None else sorted(values)
