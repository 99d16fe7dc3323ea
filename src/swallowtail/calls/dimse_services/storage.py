"""The Storage service class (PS3.4 Annex B): C-STORE from a modality."""

from typing import Final

from swallowtail.calls.answers import Abort, Situation, Status
from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.store import NotStoredReason
from swallowtail.dicom.commands import CommandField
from swallowtail.dicom.uid_table import STORAGE_CLASSES

STORAGE: Final = DimseService(
    name="storage",
    title="C-STORE",
    operations=frozenset({CommandField.C_STORE_RQ}),
    sop_classes=frozenset(STORAGE_CLASSES),
    responses={
        Situation.STORED: Status(0x0000),
        Situation.SAME_AGAIN: Status(0x0000),
        Situation.CONFLICT: Status(0x0000),
        Situation.CLOUD_LOST: Status(0xA700),
        Situation.CLOUD_LOST_NOT_WHOLE: Abort(),
        Situation.FAILED_TOO_OFTEN: Abort(),
        Situation.STORAGE_UNAVAILABLE: Status(0xA700),
        Situation.TOO_LARGE: Status(0xA700, then_abort=True),
        Situation.MALFORMED: Status(0xC000),
        Situation.SERVICE_NOT_ALLOWED: Status(0x0124),
        Situation.SOP_CLASS_NOT_CONFIGURED: Status(0x0122),
        Situation.BAD_PEER: Abort(source=2),
        Situation.BAD_MESSAGE: Abort(),
        Situation.SLOW_PEER: Abort(),
    },
    selectable=True,
)

FAILED_STORES_UNTIL_ABORT: Final = 3
"""After this many A700 on one association Link aborts it.

A modality that ignores statuses must not believe that all went well.
"""

NOT_STORED: Final[dict[NotStoredReason, Situation]] = {
    NotStoredReason.STORAGE_UNAVAILABLE: Situation.STORAGE_UNAVAILABLE,
    NotStoredReason.TOO_LARGE: Situation.TOO_LARGE,
    NotStoredReason.MALFORMED: Situation.MALFORMED,
    NotStoredReason.SOP_CLASS: Situation.SOP_CLASS_NOT_CONFIGURED,
    NotStoredReason.FENCED: Situation.CLOUD_LOST,
    NotStoredReason.TRANSFER_DAMAGED: Situation.CLOUD_LOST,
    NotStoredReason.BUSY: Situation.STORAGE_UNAVAILABLE,
}
