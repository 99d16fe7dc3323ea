"""Link as the application entity that modalities connect to: one per configured port.

A connection is counted from its first packet, evaluated when its A-ASSOCIATE-RQ is complete
(`admission`), and then served (`served_association`). What each sender receives is looked up in
`calls.dimse_services.table`, never decided here.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final

from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.indications import AssociateRequested
from swallowtail.dicom.net import AssociationListener, Connection
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import AssociateRQ
from swallowtail.link.policy import numeric
from swallowtail.link.scp.admission import Load, Rejected, judge_association, may_connect
from swallowtail.link.scp.served_association import ServedAssociation
from swallowtail.link.scp.services.table import PROVIDERS, Providers
from swallowtail.link.state import LinkState
from swallowtail.runtime.network import Network

BUFFERS: Final = BufferPool()


class ApplicationEntity:
    """One listening port: its settings, its connections, its associations."""

    def __init__(
        self, listener: DicomListener, state: LinkState, providers: Providers = PROVIDERS
    ) -> None:
        self.listener = listener
        self.state = state
        self.providers = providers
        self.stopping = False
        self._port = AssociationListener(self._serve, _limits(listener), BUFFERS)
        self._closed = False
        self._connected: Counter[str] = Counter()
        self._associated: Counter[str] = Counter()
        self._running: dict[Connection, ServedAssociation | None] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def connections(self) -> int:
        """Return how many associations are established."""
        return self._associated.total()

    @property
    def address(self) -> tuple[str, int]:
        """Return the address and port of the open listener."""
        return self._port.address

    @property
    def why_closed(self) -> str:
        """Return why the associations of this port are aborted by Link itself."""
        return "Link stops" if self.stopping else "the listener was closed or changed"

    async def open(self, network: Network, host: str, port: int) -> None:
        """Start to listen; raises OSError with the reason when that is not possible."""
        await self._port.open(network, host, port)

    async def close(self) -> None:
        """Stop listening; associations continue."""
        self._closed = True
        await self._port.close()

    def update(self, listener: DicomListener) -> None:
        """Apply new settings.

        Limits hold for the connections to come, rights and services from the next message on.
        """
        self.listener = listener
        self._port.limits = _limits(listener)

    async def drain(self, limit: float, *, stopping: bool) -> None:
        """Wait until all associations have ended.

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

    async def _serve(self, connection: Connection) -> None:
        if not connection.peer[0]:
            return  # it was reset before it was accepted
        address = str(numeric(connection.peer[0]))
        load = Load(self._connected.total(), self._connected[address])
        if self._closed or not may_connect(self.listener, self.state.directory, address, load):
            return  # the AssociationListener closes it
        self._connected[address] += 1
        self._running[connection] = None
        self._empty.clear()
        try:
            event = await connection.next_event()
            if isinstance(event, AssociateRequested):
                await self._associate(connection, address, event.request)
        finally:
            try:
                # a slot is free when its transport is closed, whether or not the peer has read
                # what was sent last
                await connection.close()
            finally:
                _decrement(self._connected, address)
                del self._running[connection]
                if not self._running:
                    self._empty.set()

    async def _associate(self, connection: Connection, address: str, request: AssociateRQ) -> None:
        load = Load(self._associated.total(), self._associated[address])
        online = self.state.session() is not None and not self._closed
        admission = judge_association(
            self.listener,
            self.state.directory,
            request,
            address,
            load,
            providers=self.providers,
            cloud_online=online,
        )
        device = "" if isinstance(admission, Rejected) else admission.device
        association = ServedAssociation(self, connection, address, request, device)
        if isinstance(admission, Rejected):
            association.reject(admission)
            return
        self._associated[address] += 1
        self._running[connection] = association
        try:
            await association.run()
        finally:
            _decrement(self._associated, address)


def _decrement(counter: Counter[str], address: str) -> None:
    counter[address] -= 1
    if not counter[address]:
        del counter[address]


def _limits(listener: DicomListener) -> Limits:
    return Limits(
        max_pdu=listener.max_pdu, artim=listener.timeouts.associate, idle=listener.timeouts.idle
    )
