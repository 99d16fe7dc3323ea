"""The protocols that Link listens on.

Their settings are in `calls.config.LISTENERS`, which the Cloud reads too. Link announces each row
as a capability; the Cloud sends no configuration that needs another one.
"""

from typing import Final

from swallowtail.calls.dimse_services.table import RESPONSE_TABLE
from swallowtail.link.endpoints import ListenerProtocol
from swallowtail.link.scp.listener import ApplicationEntity

PROTOCOLS: Final[dict[str, ListenerProtocol]] = {
    "dicom": ListenerProtocol(ApplicationEntity, RESPONSE_TABLE),
}
