"""The DIMSE services that Link's listeners provide.

The configuration's schema, the presentation contexts, and the response table are built from
`SERVICES`.
"""

from collections.abc import Mapping
from typing import Final

from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.dimse_services.responses import ASSOCIATION_RESPONSES, DicomResponse
from swallowtail.calls.dimse_services.storage import STORAGE
from swallowtail.calls.dimse_services.verification import VERIFICATION
from swallowtail.calls.responses import Situation

SERVICES: Final[tuple[DimseService, ...]] = (VERIFICATION, STORAGE)

RESPONSE_TABLE: Final[Mapping[str, Mapping[Situation, DicomResponse]]] = {
    "association": ASSOCIATION_RESPONSES,
    **{service.title: service.responses for service in SERVICES},
}
"""What a DICOM sender receives in each situation, by column (`docs/conformance/responses.md`)."""

SERVICE_NAME: Final = "^(" + "|".join(service.name for service in SERVICES) + ")"
"""Pattern of a name in a listener's `services`."""
