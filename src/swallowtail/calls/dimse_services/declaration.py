"""The declaration of a DIMSE service that Link's listeners provide, for Link and Cloud.

A service is declared in a module of this package and listed in `table`. Its presentation contexts,
its name in a listener's configuration, and its column of the response table follow from that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from swallowtail.calls.dimse_services.responses import DicomResponse
from swallowtail.calls.responses import Situation
from swallowtail.dicom.commands import CommandField


@dataclass(frozen=True, slots=True)
class DimseService:
    """One service class of PS3.4, with Link as the SCP."""

    name: str
    """As a listener's `services` enables it."""
    title: str
    """The heading of its column in the response table."""
    operations: frozenset[CommandField]
    """The requests that it serves (PS3.7 9.1, 10.1)."""
    sop_classes: frozenset[str]
    responses: Mapping[Situation, DicomResponse]
    """Its column of the response table (`docs/conformance/responses.md`)."""
    selectable: bool = False
    """Whether a listener's `sop_classes` and `transfer_syntaxes` select what is accepted.

    Otherwise every SOP class of the service is accepted, in any transfer syntax below.
    """
    transfer_syntaxes: frozenset[str] | None = None
    """Of its data sets; None: every transfer syntax of the standard."""
