"""The Storage service class (PS3.4 Annex B): C-STORE from a modality."""

from typing import Final

from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.dimse_services.responses import AssociationAbort, StatusResponse
from swallowtail.calls.responses import Situation
from swallowtail.calls.store import NotStoredReason, Stored
from swallowtail.dicom.commands import CommandField
from swallowtail.dicom.uid_table import STORAGE_CLASSES

STORAGE: Final = DimseService(
    name="storage",
    title="C-STORE",
    operations=frozenset({CommandField.C_STORE_RQ}),
    sop_classes=frozenset(STORAGE_CLASSES),
    responses={
        Situation.STORED: StatusResponse(0x0000),
        Situation.REPEATED: StatusResponse(0x0000),
        Situation.REPEATED_DIFFERENTLY: StatusResponse(0x0000),
        Situation.CLOUD_LOST: StatusResponse(0xA700),
        Situation.CLOUD_LOST_INCOMPLETE: AssociationAbort(),
        Situation.THIRD_FAILURE: AssociationAbort(),
        Situation.STORAGE_UNAVAILABLE: StatusResponse(0xA700),
        Situation.TOO_LARGE: StatusResponse(0xA700, then_abort=True),
        Situation.MALFORMED: StatusResponse(0xC000),
        Situation.SERVICE_NOT_ALLOWED: StatusResponse(0x0124),
        Situation.SOP_CLASS_NOT_CONFIGURED: StatusResponse(0x0122),
        Situation.INVALID_PDU: AssociationAbort(source=2),
        Situation.INVALID_MESSAGE: AssociationAbort(),
        Situation.PEER_TIMEOUT: AssociationAbort(),
    },
    selectable=True,
)

FAILED_STORES_UNTIL_ABORT: Final = 3
"""Number of A700 on one association after which Link aborts it.

A modality that ignores statuses then reports a failure too.
"""

STORED: Final[dict[Stored, Situation]] = {
    Stored.NEW: Situation.STORED,
    Stored.OTHER_SYNTAX: Situation.STORED,
    Stored.SAME: Situation.REPEATED,
    Stored.CONFLICT: Situation.REPEATED_DIFFERENTLY,
}

NOT_STORED: Final[dict[NotStoredReason, Situation]] = {
    NotStoredReason.STORAGE_UNAVAILABLE: Situation.STORAGE_UNAVAILABLE,
    NotStoredReason.TOO_LARGE: Situation.TOO_LARGE,
    NotStoredReason.MALFORMED: Situation.MALFORMED,
    NotStoredReason.FENCED: Situation.CLOUD_LOST,
    NotStoredReason.TRANSFER_DAMAGED: Situation.CLOUD_LOST,
}
