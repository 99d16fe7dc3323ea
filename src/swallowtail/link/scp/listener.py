"""Link as the application entity that modalities store to: one per configured port.

A connection is counted from its first packet, judged when its A-ASSOCIATE-RQ is complete
(`admission`), and then served message by message. What each sender hears is looked up in
`calls.answers`, never decided here.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final

import structlog

from swallowtail.calls.answers import ASSOCIATION_ANSWERS, Abort, Reject, Situation, Status
from swallowtail.calls.config import DicomListener, EchoMeaning
from swallowtail.calls.dimse_services.declaration import DimseService
from swallowtail.calls.dimse_services.storage import FAILED_STORES_UNTIL_ABORT, STORAGE
from swallowtail.calls.dimse_services.verification import VERIFICATION
from swallowtail.calls.report import AssociationEnded, UnknownDevice
from swallowtail.calls.store import StoreRequest
from swallowtail.dicom import uids
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.commands import CommandField, response_to
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.indications import (
    Aborted,
    AssociateRequested,
    ConnectionLost,
    DeadlinePassed,
    ReleaseRequested,
)
from swallowtail.dicom.net import AssociationListener, Connection
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import AssociateRQ, RejectResult, RejectSource
from swallowtail.dicom.status import Status as Code
from swallowtail.dicom.violations import AbortReason, AbortSource
from swallowtail.link.policy import numeric
from swallowtail.link.scp.admission import (
    Load,
    Rejected,
    judge_association,
    judge_message,
    may_connect,
    negotiate,
)
from swallowtail.link.scp.relay import discard, relay
from swallowtail.link.scp.store_machine import StoreRelay
from swallowtail.link.site import Site
from swallowtail.runtime.network import Network
from swallowtail.sansio.errors import RemoteProtocolError

log = structlog.get_logger()

BUFFERS: Final = BufferPool()
INTERNAL: Final = "an error in Link"
"""Why an association was aborted when nothing else says so."""
MID_MESSAGE: Final = "in the middle of a message"


class ApplicationEntity:
    """One listening port: its settings, its connections, its associations."""

    def __init__(self, listener: DicomListener, site: Site) -> None:
        self.listener = listener
        self.site = site
        self.stopping = False
        self._port = AssociationListener(self._meet, _limits(listener), BUFFERS)
        self._closed = False
        self._connected: Counter[str] = Counter()
        self._associated: Counter[str] = Counter()
        self._running: dict[Connection, Association | None] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def associations(self) -> int:
        """How many run now."""
        return self._associated.total()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._port.address

    @property
    def why_closed(self) -> str:
        """Why the associations of this port are aborted by Link itself."""
        return "Link stops" if self.stopping else "the listener was closed or changed"

    async def open(self, network: Network, host: str, port: int) -> None:
        """Start to listen; raises OSError with the reason when that is not possible."""
        await self._port.open(network, host, port)

    async def close(self) -> None:
        """Stop to listen; associations live on."""
        self._closed = True
        await self._port.close()

    def update(self, listener: DicomListener) -> None:
        """Take these settings.

        Limits for the connections to come, rights and services for every message from now on.
        """
        self.listener = listener
        self._port.limits = _limits(listener)

    async def drain(self, limit: float, *, stopping: bool) -> None:
        """Return when all associations have ended.

        After `limit` seconds they are aborted, when `stopping` after their message.
        """
        self._closed = True
        self.stopping |= stopping
        for connection, association in list(self._running.items()):
            if association is None or (self.stopping and association.idle):
                connection.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._empty.wait()
        await self._port.shutdown()

    async def _meet(self, connection: Connection) -> None:
        if not connection.peer[0]:
            return  # it was reset before it was accepted: nobody is there
        address = str(numeric(connection.peer[0]))
        load = Load(self._connected.total(), self._connected[address])
        if self._closed or not may_connect(self.listener, self.site.directory, address, load):
            return  # the port's owner closes it
        self._connected[address] += 1
        self._running[connection] = None
        self._empty.clear()
        try:
            event = await connection.next_event()
            if isinstance(event, AssociateRequested):
                await self._associate(connection, address, event.request)
        finally:
            try:
                # a slot is free when its transport is gone, whether or not the peer reads our last
                # words
                await connection.close()
            finally:
                _less(self._connected, address)
                del self._running[connection]
                if not self._running:
                    self._empty.set()

    async def _associate(self, connection: Connection, address: str, request: AssociateRQ) -> None:
        load = Load(self._associated.total(), self._associated[address])
        alive = self.site.session() is not None and not self._closed
        admission = judge_association(
            self.listener, self.site.directory, request, address, load, cloud_alive=alive
        )
        device = "" if isinstance(admission, Rejected) else admission.device
        association = Association(self, connection, address, request, device)
        if isinstance(admission, Rejected):
            association.reject(admission)
            return
        self._associated[address] += 1
        self._running[connection] = association
        try:
            connection.accept(negotiate(self.listener, request))
            await association.run()
        finally:
            _less(self._associated, address)


def _less(counter: Counter[str], address: str) -> None:
    counter[address] -= 1
    if not counter[address]:
        del counter[address]


def _limits(listener: DicomListener) -> Limits:
    return Limits(
        max_pdu=listener.max_pdu, artim=listener.timeouts.associate, idle=listener.timeouts.idle
    )


class Association:
    """One association with a modality, from the answer to its request to its end."""

    def __init__(
        self,
        entity: ApplicationEntity,
        connection: Connection,
        address: str,
        request: AssociateRQ,
        device: str,
    ) -> None:
        self.idle = False
        self._entity = entity
        self._site = entity.site
        self._connection = connection
        self._address = address
        self._request = request
        self._device = device
        self._id = self._site.random(16)
        self._began = asyncio.get_running_loop().time()
        self._outcome, self._reason = "aborted", INTERNAL
        self._stored = self._failed = self._bytes = self._out_of_resources = 0

    def reject(self, rejected: Rejected) -> None:
        """Reject as the table says; what did not match is reported."""
        told = ASSOCIATION_ANSWERS[rejected.situation]
        assert isinstance(told, Reject)
        self._connection.reject(RejectResult(told.result), RejectSource(told.source), told.reason)
        self._outcome, self._reason = "rejected", rejected.reason or rejected.situation
        if rejected.reason:
            self._report_unknown(rejected.reason)
        else:
            self._report_end()

    async def run(self) -> None:
        """Serve messages until one side ends the association."""
        try:
            await self._converse()
        except RemoteProtocolError as error:
            self._outcome, self._reason = "aborted", str(error)
            raise
        except asyncio.CancelledError:
            self._outcome, self._reason = "aborted", self._entity.why_closed
            raise
        finally:
            self._report_end()

    async def _converse(self) -> None:
        while True:
            self.idle = True
            event = await self._connection.next_event()
            self.idle = False
            match event:
                case CommandReceived():
                    if not await self._serve(event):
                        return
                case ReleaseRequested():
                    self._connection.release()
                    self._outcome, self._reason = "released", ""
                    return
                case _:
                    self._note_end()
                    return
            if self._entity.stopping:
                self._reason = self._entity.why_closed
                return  # after its answer; the port's owner aborts

    def _note_end(self, when: str = "") -> None:
        """Note which side ended the association, and why."""
        match self._connection.ending:
            case None:  # the port's owner aborted it
                self._outcome, reason = "aborted", self._entity.why_closed
            case Aborted():
                self._outcome, reason = "aborted", "by the modality"
            case DeadlinePassed(deadline):
                self._outcome, reason = "aborted", deadline.value
            case ConnectionLost() if self._connection.stalled:
                self._outcome, reason = "aborted", "the modality took no byte in time"
            case ConnectionLost():
                self._outcome, reason = "lost", ""
        self._reason = ", ".join(filter(None, (reason, when)))

    # Messages

    async def _serve(self, received: CommandReceived) -> bool:
        """Serve one message; False when the association is over."""
        command = received.command
        if command.is_cancel:
            return True
        if command.is_response:
            self._reason = "a response to nothing that was asked"
            return False
        match command.field:
            case CommandField.C_ECHO_RQ:
                return self._tell(received, self._judge_echo(received), VERIFICATION)
            case CommandField.C_STORE_RQ:
                return self._tell(received, await self._store(received), STORAGE)
        return await self._refuse_operation(received)

    async def _refuse_operation(self, received: CommandReceived) -> bool:
        unwanted = StoreRelay(0)
        unwanted.refused(Situation.MALFORMED, self._now())
        if received.command.has_data_set:
            await discard(self._connection, unwanted)
        else:
            unwanted.whole(self._now())
        if unwanted.verdict is not Situation.MALFORMED:
            return self._tell(received, unwanted.verdict or Situation.BAD_PEER, STORAGE)
        self._connection.send(
            received.context.id, response_to(received.command, Code.UNRECOGNIZED_OPERATION)
        )
        return True

    def _judge(self, received: CommandReceived) -> Situation | None:
        listener, directory = self._entity.listener, self._site.directory
        device = directory.find(listener.name, self._request.calling, self._address)
        if isinstance(device, str) and listener.unknown_devices == "reject":
            return Situation.SERVICE_NOT_ALLOWED  # it was taken out of the configuration
        return judge_message(listener, received.command.sop_class, received.context.abstract_syntax)

    def _judge_echo(self, received: CommandReceived) -> Situation:
        if (found := self._judge(received)) is not None:
            return found
        if self._entity.listener.echo is EchoMeaning.LINK:
            return Situation.LINK_ONLY_ECHO
        return Situation.STORED if self._site.session() is not None else Situation.CLOUD_LOST

    async def _store(self, received: CommandReceived) -> Situation:
        command = received.command
        store = StoreRelay(self._entity.listener.max_object)
        session = self._site.session()
        legal = uids.is_valid(command.sop_class) and uids.is_valid(command.sop_instance)
        if not command.has_data_set:
            return Situation.MALFORMED
        if not legal:
            store.refused(Situation.MALFORMED, self._now())
        elif (found := self._judge(received)) is not None:
            store.refused(found, self._now())
        elif session is None:
            store.lost(self._now())
        else:
            await relay(
                self._connection,
                session,
                store,
                self._store_request(received),
                self._site.random(16),
            )
        if store.verdict is None:
            await discard(self._connection, store)
        situation = store.verdict or Situation.BAD_PEER
        self._count(situation, store.length)
        return situation

    def _store_request(self, received: CommandReceived) -> StoreRequest:
        return StoreRequest(
            listener=self._entity.listener.name,
            configuration=self._site.version,
            peer=self._address,
            calling_ae=self._request.calling,
            called_ae=self._request.called,
            device=self._device,
            association=self._id,
            sop_class=received.command.sop_class,
            sop_instance=received.command.sop_instance,
            transfer_syntax=received.context.transfer_syntax,
            received_at=self._site.wall(),
        )

    # Answers

    def _tell(self, received: CommandReceived, situation: Situation, service: DimseService) -> bool:
        """Answer as the table says; False when that ends the association."""
        if self._connection.closed:
            self._note_end(MID_MESSAGE)
            return False
        told = service.responses[situation]
        if isinstance(told, Abort):
            self._reason = f"{situation}"
            self._connection.abort(AbortSource(told.source), AbortReason(told.reason))
            return False
        assert isinstance(told, Status)
        comment = "" if told.code == Code.SUCCESS else situation
        self._connection.send(
            received.context.id, response_to(received.command, told.code, comment=comment)
        )
        self._out_of_resources += told.code == Code.OUT_OF_RESOURCES
        if self._out_of_resources >= FAILED_STORES_UNTIL_ABORT:
            return self._tell(received, Situation.FAILED_TOO_OFTEN, service)
        if told.then_abort:
            self._reason = situation
        return not told.then_abort

    def _count(self, situation: Situation, length: int) -> None:
        self._bytes += length
        if situation is Situation.STORED:
            self._stored += 1
        else:
            self._failed += 1

    # Reports

    def _report_unknown(self, reason: str) -> None:
        listener, now = self._entity.listener.name, self._site.wall()
        log.info("unknown device rejected", listener=listener, peer=self._address, reason=reason)
        self._site.reports.unknown(
            UnknownDevice(
                listener=listener,
                address=self._address,
                calling_ae=self._request.calling,
                called_ae=self._request.called,
                reason=reason,
                count=1,
                first=now,
                last=now,
            )
        )

    def _report_end(self) -> None:
        listener, seconds = self._entity.listener.name, round(self._now() - self._began, 3)
        log.info(
            "association ended",
            listener=listener,
            peer=self._address,
            state=self._outcome,
            reason=self._reason,
            count=self._stored,
            bytes=self._bytes,
            seconds=seconds,
        )
        self._site.reports.ended(
            AssociationEnded(
                association=self._id,
                listener=listener,
                device=self._device,
                address=self._address,
                calling_ae=self._request.calling,
                called_ae=self._request.called,
                outcome=self._outcome,
                reason=self._reason,
                instances=self._stored,
                failed=self._failed,
                bytes=self._bytes,
                seconds=seconds,
            )
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
