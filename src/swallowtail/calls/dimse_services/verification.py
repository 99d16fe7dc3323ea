"""The Verification service class (PS3.4 Annex A): C-ECHO."""

from typing import Final

from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.dimse_services.responses import AssociationAbort, StatusResponse
from swallowtail.calls.responses import Situation
from swallowtail.dicom.commands import CommandField
from swallowtail.dicom.uids import VERIFICATION as VERIFICATION_SOP_CLASS

VERIFICATION: Final = DimseService(
    name="verification",
    title="C-ECHO",
    operations=frozenset({CommandField.C_ECHO_RQ}),
    sop_classes=frozenset({VERIFICATION_SOP_CLASS}),
    responses={
        Situation.STORED: StatusResponse(0x0000),
        Situation.LINK_ECHO: StatusResponse(0x0000),
        Situation.CLOUD_LOST: AssociationAbort(),
        Situation.SERVICE_NOT_ALLOWED: StatusResponse(0x0124),
        Situation.SOP_CLASS_NOT_CONFIGURED: StatusResponse(0x0122),
    },
)
