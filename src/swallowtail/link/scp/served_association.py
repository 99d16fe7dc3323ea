"""One association that a modality has requested, with Link as the acceptor.

This task reads the association, from the answer to its request to its end. Each operation runs in a
task of its own, one at a time: a request that arrives before the response to the last one, which
the asynchronous operations window of 1 forbids (PS3.7 D.3.3.3), waits with its data set unread.

    received while an operation runs    then
    C-CANCEL-RQ with its message id     the operation is cancelled, its provider responds
    another request                     waits for the final response; nothing is read meanwhile
    A-RELEASE-RQ                        the operation is cancelled, then released (PS3.8 7.2)
    A-ABORT, loss, a violation          the operation is cancelled; what it changes is completed
    stop of Link                        the operation ends, then A-ABORT
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import structlog

from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.calls.dimse_services.responses import (
    ASSOCIATION_RESPONSES,
    AssociationAbort,
    AssociationRejection,
)
from swallowtail.calls.report import AssociationEnded, UnmatchedDevice
from swallowtail.calls.responses import Situation
from swallowtail.dicom.dimse import CommandReceived
from swallowtail.dicom.indications import (
    Aborted,
    ConnectionLost,
    DeadlinePassed,
    ReleaseRequested,
)
from swallowtail.dicom.net import Connection
from swallowtail.dicom.pdu import AssociateRQ, RejectResult, RejectSource
from swallowtail.dicom.status import Status as Code
from swallowtail.dicom.violations import AbortSource
from swallowtail.link.scp.admission import Rejected, judge_message, negotiate
from swallowtail.link.scp.operation import Operation
from swallowtail.link.scp.services.provider import (
    AssociationRequestor,
    AssociationTally,
    ServiceProvider,
)
from swallowtail.link.scp.services.table import Providers
from swallowtail.link.state import LinkState
from swallowtail.runtime.tasks import Tasks
from swallowtail.sansio.errors import RemoteProtocolError

log = structlog.get_logger()

INTERNAL: Final = "internal error in Link"
"""Why an association was aborted when nothing else gives a reason."""
MID_MESSAGE: Final = "in the middle of a message"
BEFORE_RESPONSE: Final = "before the response"


class Port(Protocol):
    """The application entity's interface to an association that it accepted."""

    listener: DicomListener
    state: LinkState
    providers: Providers
    stopping: bool

    @property
    def why_closed(self) -> str:
        """Return why the associations of this port are aborted by Link itself."""


class ServedAssociation:
    """One association with a modality, from the answer to its request to its end."""

    def __init__(
        self, port: Port, connection: Connection, address: str, request: AssociateRQ, device: str
    ) -> None:
        self._port = port
        self._state = port.state
        self._connection = connection
        self._request = request
        self._requestor = AssociationRequestor(
            address, request.calling, request.called, device, self._state.random(16)
        )
        self._tally = AssociationTally()
        self._providers: dict[type[ServiceProvider], ServiceProvider] = {}
        self._operation: Operation | None = None
        self._tasks = Tasks("association")
        self._began = asyncio.get_running_loop().time()
        self._outcome, self._reason = "aborted", INTERNAL
        self._abort_reason = ""  # when Link itself aborted it for another reason than its closing

    @property
    def idle(self) -> bool:
        """Return whether no operation is in progress."""
        return self._operation is None

    def reject(self, rejected: Rejected) -> None:
        """Reject the association by the response table, and report it."""
        reported = ASSOCIATION_RESPONSES[rejected.situation]
        assert isinstance(reported, AssociationRejection)
        self._connection.reject(
            RejectResult(reported.result), RejectSource(reported.source), reported.reason
        )
        self._outcome, self._reason = "rejected", rejected.reason or rejected.situation
        if rejected.reason:
            self._report_unknown(rejected.reason)
        else:
            self._report_end()

    async def run(self) -> None:
        """Accept the association and serve its requests until one side ends it."""
        try:
            async with self._tasks:
                listener = self._port.listener
                self._connection.accept(negotiate(listener, self._request, self._port.providers))
                try:
                    await self._read()
                except RemoteProtocolError:
                    await self._end_operation()
                    raise
        except RemoteProtocolError as error:
            self._outcome, self._reason = "aborted", str(error)
            raise
        except asyncio.CancelledError:
            self._outcome, self._reason = "aborted", self._port.why_closed
            raise
        finally:
            self._report_end()

    # What arrives

    async def _read(self) -> None:
        while True:
            event = await self._connection.next_event()
            match event:
                case CommandReceived():
                    if not await self._take(event):
                        return
                case ReleaseRequested():
                    await self._end_operation()
                    if self._connection.closed:
                        self._note_end()
                    else:
                        self._connection.release()
                        self._outcome, self._reason = "released", ""
                    return
                case _:
                    self._note_end("" if self.idle else BEFORE_RESPONSE)
                    await self._end_operation()
                    return

    async def _take(self, received: CommandReceived) -> bool:
        """Handle a command set; return whether the association goes on."""
        command, running = received.command, self._operation
        if command.is_cancel:
            # PS3.7 9.3.2.3: one that comes after the final response has no effect
            if running is not None and running.command.message_id == command.message_id:
                running.cancel()
            return True
        if command.is_response:
            self._reason = "a response to nothing that was requested"
            return False
        if running is not None:
            await running.finished.wait()
        if self._connection.closed:
            self._note_end()
            return False
        operation = self._begin(received)
        await operation.received.wait()
        if operation.interruption is None:
            return True
        await self._interrupted(operation)
        return False

    async def _interrupted(self, operation: Operation) -> None:
        """End an association whose data set was not completed."""
        match operation.interruption:
            case RemoteProtocolError() as error:
                raise error
            case ReleaseRequested():
                violation = ASSOCIATION_RESPONSES[Situation.INVALID_PDU]
                assert isinstance(violation, AssociationAbort)
                self._reason = Situation.INVALID_PDU
                self._connection.abort(AbortSource(violation.source))
            case _:
                self._note_end(MID_MESSAGE)
        await self._end_operation()

    def _note_end(self, when: str = "") -> None:
        """Note which side ended the association, and why."""
        match self._connection.ending:
            case None:  # Link itself
                running = self._operation  # its provider may have aborted and not have returned yet
                aborted = self._abort_reason if running is None else running.abort_reason
                self._outcome, self._reason = "aborted", aborted or self._port.why_closed
                return
            case Aborted():
                self._outcome, reason = "aborted", "by the modality"
            case DeadlinePassed(deadline):
                self._outcome, reason = "aborted", deadline.value
            case ConnectionLost() if self._connection.stalled:
                self._outcome, reason = "aborted", "the modality took no byte in time"
            case ConnectionLost():
                self._outcome, reason = "lost", ""
        self._reason = ", ".join(filter(None, (reason, when)))

    # Operations

    def _begin(self, received: CommandReceived) -> Operation:
        provider = self._provider_of(received)
        service = None if provider is None else provider.declaration
        operation = self._operation = Operation(self._connection, received, service)
        self._tasks.spawn(self._run(operation, self._serve(provider, operation)), name="operation")
        return operation

    def _provider_of(self, received: CommandReceived) -> ServiceProvider | None:
        found = self._port.providers.of_operation(
            self._port.listener, received.command.field, received.context.abstract_syntax
        )
        if found is None:
            return None
        if found not in self._providers:
            self._providers[found] = found(
                self._state, lambda: self._port.listener, self._requestor, self._tally
            )
        return self._providers[found]

    async def _run(self, operation: Operation, serving: Coroutine[Any, Any, object]) -> None:
        """Await the provider, and end what it left open."""
        try:
            await serving
        finally:
            self._operation = None
            self._abort_reason = operation.abort_reason
            if not operation.responded and not operation.ended:  # a fault of the provider
                operation.abort(INTERNAL)
                self._abort_reason = INTERNAL
            elif self._port.stopping:
                self._connection.abort()
            operation.finished.set()
            operation.received.set()

    async def _serve(self, provider: ServiceProvider | None, operation: Operation) -> None:
        if provider is None:
            await operation.respond(Code.UNRECOGNIZED_OPERATION)
        elif (situation := self._judge(provider, operation)) is not None:
            await provider.refuse(operation, situation)
        else:
            await provider.serve(operation)

    def _judge(self, provider: ServiceProvider, operation: Operation) -> Situation | None:
        if (found := provider.validate(operation.command)) is not None:
            return found
        listener, requestor = self._port.listener, self._requestor
        device = self._state.directory.find(listener.name, requestor.calling_ae, requestor.address)
        if isinstance(device, str) and listener.unknown_devices == "reject":
            return Situation.SERVICE_NOT_ALLOWED  # it was removed from the configuration
        return judge_message(
            listener,
            operation.command.sop_class,
            operation.context.abstract_syntax,
            self._port.providers,
        )

    async def _end_operation(self) -> None:
        """Cancel the operation in progress and wait for its provider, which has deadlines."""
        if (running := self._operation) is not None:
            running.cancel()
            await running.finished.wait()

    # Reports

    def _report_unknown(self, reason: str) -> None:
        listener, now = self._port.listener.name, self._state.wall()
        address = self._requestor.address
        log.info("unknown device rejected", listener=listener, peer=address, reason=reason)
        self._state.reports.unknown(
            UnmatchedDevice(
                listener=listener,
                address=address,
                calling_ae=self._request.calling,
                called_ae=self._request.called,
                reason=reason,
                count=1,
                first=now,
                last=now,
            )
        )

    def _report_end(self) -> None:
        listener = self._port.listener.name
        seconds = round(asyncio.get_running_loop().time() - self._began, 3)
        log.info(
            "association ended",
            listener=listener,
            peer=self._requestor.address,
            state=self._outcome,
            reason=self._reason,
            count=self._tally.stored,
            bytes=self._tally.bytes,
            seconds=seconds,
        )
        self._state.reports.ended(
            AssociationEnded(
                association=self._requestor.association,
                listener=listener,
                address=self._requestor.address,
                calling_ae=self._request.calling,
                called_ae=self._request.called,
                outcome=self._outcome,
                reason=self._reason,
                instances=self._tally.stored,
                failed=self._tally.failed,
            )
        )
