"""The DIMSE services that Link's listeners provide.

The configuration's schema, the presentation contexts, and the response table are built from
`SERVICES`.
"""

from collections.abc import Mapping
from typing import Final

from swallowtail.calls.answers import ASSOCIATION_ANSWERS, Answer, Situation
from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.dimse_services.storage import STORAGE
from swallowtail.calls.dimse_services.verification import VERIFICATION

SERVICES: Final[tuple[DimseService, ...]] = (VERIFICATION, STORAGE)

RESPONSE_TABLE: Final[Mapping[str, Mapping[Situation, Answer]]] = {
    "association": ASSOCIATION_ANSWERS,
    **{service.title: service.responses for service in SERVICES},
}
"""What a DICOM sender receives in each situation, by column (`docs/conformance/answers.md`)."""

SERVICE_NAME: Final = "^(" + "|".join(service.name for service in SERVICES) + ")"
"""Pattern of a name in a listener's `services`."""
