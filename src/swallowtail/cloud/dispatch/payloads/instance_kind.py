"""DICOM instances as payloads, in the terms of PS3.3 and PS3.7."""

from typing import Any, Final

from swallowtail.cloud.dispatch.payloads.kind import PayloadField, PayloadKind
from swallowtail.cloud.model.delivery import INSTANCE
from swallowtail.dicom import uids

_UID: Final[dict[str, Any]] = {"type": "string", "maxLength": uids.MAX_LENGTH}
_PATTERN: Final = f"^{uids.PATTERN}$"
INSTANCE_KIND: Final = PayloadKind(
    name=INSTANCE,
    fields=(
        PayloadField("instance", "reference", {"type": "integer"}),
        PayloadField("study", "parent", _UID, _PATTERN),
        PayloadField("sop_instance", "identifier", _UID, _PATTERN),
        PayloadField("sop_class", "type", _UID),
        PayloadField("transfer_syntax", "format", _UID),
    ),
    write_status=lambda status: f"{status:04X}",  # PS3.7 annex C writes it so
)
