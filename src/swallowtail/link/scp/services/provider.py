"""The interface of a DIMSE service on Link's listeners.

A provider is a class derived from ServiceProvider, listed in `table`, with its declaration in
`calls.dimse_services`. The acceptor creates one instance for an association when its first request
arrives, and awaits `serve` or `refuse` for one request at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.responses import Situation
from swallowtail.dicom.commands import Command
from swallowtail.link.scp.operation import Operation
from swallowtail.link.state import LinkState


@dataclass(frozen=True, slots=True)
class AssociationRequestor:
    """The peer of an association, as it identified itself and as Link has it."""

    address: str
    calling_ae: str
    called_ae: str
    device: str
    """The name of the configured device, empty when none matches."""
    association: bytes
    """16 bytes, the same for all operations of one association."""


@dataclass(slots=True)
class AssociationTally:
    """The counts of an association, for its report."""

    stored: int = 0
    failed: int = 0
    bytes: int = 0


class ServiceProvider(ABC):
    """The SCP of one service on one association (PS3.4)."""

    declaration: ClassVar[DimseService]

    def __init__(
        self,
        state: LinkState,
        listener: Callable[[], DicomListener],
        requestor: AssociationRequestor,
        tally: AssociationTally,
    ) -> None:
        self.state = state
        self.requestor = requestor
        self.tally = tally
        self._listener = listener

    @property
    def listener(self) -> DicomListener:
        """Return the listener's settings, which may change between requests."""
        return self._listener()

    @classmethod
    def available_offline(cls, listener: DicomListener) -> bool:
        """Return whether the service is provided without a session with the Cloud."""
        del listener
        return False

    def validate(self, command: Command) -> Situation | None:
        """Return what is wrong with a request's command set, None when nothing is."""
        del command
        return None

    @abstractmethod
    async def serve(self, operation: Operation) -> None:
        """Handle a request that the listener allows, up to its final response.

        A provider with many responses sends them inside `operation.until_cancelled()`. One that
        changes something in the Cloud goes on when the peer has left, within its own deadline.
        """

    async def refuse(self, operation: Operation, situation: Situation) -> None:
        """Handle a request that is invalid or not allowed."""
        await operation.answer(situation)
