"""A small acceptor on loopback that counts what it is sent and answers 0000."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.commands import response_to
from swallowtail.dicom.dimse import CommandReceived, DataSetFragment
from swallowtail.dicom.indications import AssociateRequested, ReleaseRequested
from swallowtail.dicom.negotiation import AcceptorPolicy, answer
from swallowtail.dicom.net import AssociationListener, Connection, serve
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.violations import ViolationError
from swallowtail.runtime.network import AsyncioNetwork
from swallowtail.sansio.machine import CLOSED


class Receiver:
    """Accepts what the policy takes; keeps data sets whole only because they are small here."""

    def __init__(self, policy: AcceptorPolicy) -> None:
        self.policy = policy
        self.stored: dict[str, bytes] = {}
        self.events: list[Any] = []
        self.violations: list[str] = []
        self.ended = 0
        self.buffers = BufferPool()
        self.listener: AssociationListener

    async def __call__(self, connection: Connection) -> None:
        """Serve one connection."""
        try:
            await self._serve(connection)
        except ViolationError as error:
            self.violations.append(str(error))
            raise
        finally:
            self.ended += 1

    async def _serve(self, connection: Connection) -> None:
        request: CommandReceived | None = None
        data = bytearray()
        while (event := await connection.next_event()) is not CLOSED:
            match event:
                case AssociateRequested(asked):
                    connection.accept(answer(asked, self.policy))
                case CommandReceived(context, command):
                    request = event
                    if not command.has_data_set:
                        connection.send(context.id, response_to(command, 0))
                case DataSetFragment(view, last) if request is not None:
                    data += view
                    if last:
                        self.stored[request.command.sop_instance] = bytes(data)
                        data.clear()
                        connection.send(request.context.id, response_to(request.command, 0))
                case ReleaseRequested():
                    connection.release()
                case _:
                    self.events.append(event)


@asynccontextmanager
async def receiver(
    limits: Limits | None = None, policy: AcceptorPolicy | None = None
) -> AsyncIterator[Receiver]:
    """Run a Receiver on a free port of loopback."""
    limits = limits or Limits(linger=0.2)
    counting = Receiver(policy or AcceptorPolicy(any_storage=True))
    counting.listener = await serve(
        AsyncioNetwork(), "127.0.0.1", 0, counting, limits=limits, buffers=counting.buffers
    )
    try:
        yield counting
    finally:
        await counting.listener.shutdown()
        assert counting.buffers.lent == 0, "every buffer came back"
