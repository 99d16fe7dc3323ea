"""A service of the tests: C-FIND on the Modality Worklist's SOP class (PS3.4 K).

With `query_provider` it is what docs/howto/add-a-dimse-service.md tells to write.
"""

from typing import Final

from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.dimse_services.responses import AssociationAbort, StatusResponse
from swallowtail.calls.responses import Situation
from swallowtail.dicom.commands import CommandField
from swallowtail.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

QUERY: Final = DimseService(
    name="query",
    title="C-FIND",
    operations=frozenset({CommandField.C_FIND_RQ}),
    sop_classes=frozenset({"1.2.840.10008.5.1.4.31"}),
    transfer_syntaxes=frozenset({EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN}),
    responses={
        Situation.STORED: StatusResponse(0x0000),
        Situation.CLOUD_LOST: StatusResponse(0xA700),
        Situation.TOO_LARGE: StatusResponse(0xA700, then_abort=True),
        Situation.SERVICE_NOT_ALLOWED: StatusResponse(0x0124),
        Situation.SOP_CLASS_NOT_CONFIGURED: StatusResponse(0x0122),
        Situation.MALFORMED: StatusResponse(0xC001),
        Situation.INVALID_PDU: AssociationAbort(source=2),
    },
)
