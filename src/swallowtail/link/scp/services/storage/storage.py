"""Storage (PS3.4 Annex B): each C-STORE is passed on to the Cloud while it arrives.

The status states what the Cloud committed. A store goes on when the modality has left after the
last byte: the Cloud may be about to commit.
"""

import asyncio
from typing import ClassVar

from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.dimse_services.responses import StatusResponse
from swallowtail.calls.dimse_services.storage import FAILED_STORES_UNTIL_ABORT, STORAGE, STORED
from swallowtail.calls.responses import Situation
from swallowtail.calls.store import StoreRequest
from swallowtail.dicom import uids
from swallowtail.dicom.commands import Command
from swallowtail.dicom.status import Status as Code
from swallowtail.link.scp.operation import Operation
from swallowtail.link.scp.services.provider import ServiceProvider
from swallowtail.link.scp.services.storage.relay import discard, relay
from swallowtail.link.scp.services.storage.store_machine import StoreRelay


class StorageProvider(ServiceProvider):
    """The SCP of Storage."""

    declaration: ClassVar[DimseService] = STORAGE
    _out_of_resources = 0  # responses with A700 on this association

    def validate(self, command: Command) -> Situation | None:
        legal = uids.is_valid(command.sop_class) and uids.is_valid(command.sop_instance)
        return None if legal and command.has_data_set else Situation.MALFORMED

    async def serve(self, operation: Operation) -> None:
        store = StoreRelay(self.listener.max_object)
        session = self.state.session()
        if session is None:
            store.lost(asyncio.get_running_loop().time())
        else:
            await relay(operation, session, store, self._request(operation))
        if store.verdict is None:
            await discard(operation, store)
        situation = store.verdict or Situation.INVALID_PDU
        self._count(situation, store.length)
        await operation.answer(situation)
        if self.declaration.responses[situation] == StatusResponse(Code.OUT_OF_RESOURCES):
            self._out_of_resources += 1
        if self._out_of_resources >= FAILED_STORES_UNTIL_ABORT:
            await operation.answer(Situation.THIRD_FAILURE)

    async def refuse(self, operation: Operation, situation: Situation) -> None:
        self._count(situation, 0)
        await operation.answer(situation)

    def _count(self, situation: Situation, length: int) -> None:
        self.tally.bytes += length
        if situation in STORED.values():
            self.tally.stored += 1
        else:
            self.tally.failed += 1

    def _request(self, operation: Operation) -> StoreRequest:
        requestor = self.requestor
        return StoreRequest(
            listener=self.listener.name,
            peer=requestor.address,
            calling_ae=requestor.calling_ae,
            called_ae=requestor.called_ae,
            device=requestor.device,
            association=requestor.association,
            sop_class=operation.command.sop_class,
            sop_instance=operation.command.sop_instance,
            transfer_syntax=operation.context.transfer_syntax,
        )
