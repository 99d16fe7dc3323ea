"""The observations that Link reports to the Cloud, in batches.

A batch may be lost, so no instance depends on one.
"""

from typing import Annotated, Final

from msgspec import Meta

from swallowtail.calls.codec import Call, Reader
from swallowtail.calls.config import EndpointState

REPORT: Final = "report"


class UnmatchedDevice(Call, tag="unknown-device", frozen=True, kw_only=True):
    """A request for an association that matched no device of the configuration.

    Repeats are counted.
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


class EndpointStates(Call, tag="endpoints", frozen=True, kw_only=True):
    """The state of every endpoint, with the version of the configuration that runs."""

    version: int
    endpoints: tuple[EndpointState, ...]


class AssociationEnded(Call, tag="association-ended", frozen=True, kw_only=True):
    """The end of an association; `outcome` is `released`, `aborted`, `rejected` or `lost`.

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


Observation = UnmatchedDevice | EndpointStates | AssociationEnded


class ObservationReport(Call, frozen=True, kw_only=True):
    """A batch of observations.

    `dropped` counts those that did not fit into the buffer while Link was offline.
    """

    observations: Annotated[tuple[Observation, ...], Meta(max_length=256)]
    dropped: int = 0


class Noted(Call, frozen=True, kw_only=True):
    """The acknowledgement of a report."""


read_report: Reader[ObservationReport] = Reader(ObservationReport)
read_noted: Reader[Noted] = Reader(Noted)
