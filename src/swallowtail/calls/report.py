"""What Link tells the Cloud unasked, in batches.

Losing one is allowed, so nothing here carries the truth about an instance.
"""

from typing import Annotated, Final

from msgspec import Meta

from swallowtail.calls.codec import Call, Reader
from swallowtail.calls.config import EndpointState

REPORT: Final = "report"


class UnknownDevice(Call, tag="unknown-device", frozen=True, kw_only=True):
    """A system that no device of the configuration matches asked for an association.

    Repeats are counted, not repeated.
    """

    listener: str
    address: str
    calling_ae: str
    called_ae: str
    reason: str
    """What did not match: `calling-ae`, `address` or `called-ae`; `calling-ae-invalid`.

    The calling AE title is none (PS3.5 6.2).
    """
    count: int
    first: float
    last: float


class Endpoints(Call, tag="endpoints", frozen=True, kw_only=True):
    """Every endpoint as it runs now, with the version that it runs."""

    version: int
    endpoints: tuple[EndpointState, ...]


class AssociationEnded(Call, tag="association-ended", frozen=True, kw_only=True):
    """An association is over; `outcome` is `released`, `aborted`, `rejected` or `lost`.

    Rejected ones that differ in their id alone are counted, not repeated.
    """

    association: bytes
    listener: str
    address: str
    calling_ae: str
    called_ae: str
    outcome: str
    reason: str = ""
    instances: int = 0
    failed: int = 0
    count: int = 1


Observation = UnknownDevice | Endpoints | AssociationEnded


class Report(Call, frozen=True, kw_only=True):
    """A batch of observations.

    `dropped` counts those that found no place while the Cloud was away.
    """

    observations: Annotated[tuple[Observation, ...], Meta(max_length=256)]
    dropped: int = 0


class Noted(Call, frozen=True, kw_only=True):
    """The Cloud has the report."""


read_report: Reader[Report] = Reader(Report)
read_noted: Reader[Noted] = Reader(Noted)
