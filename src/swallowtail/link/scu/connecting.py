"""The connection from Link to a destination.

The name is resolved once, the hospital's policy is applied to the addresses, and the connection is
opened to an allowed one, then the association.

Each step raises NotDeliveredError with a message that has cause and remedy.
"""

import asyncio
import errno
import ipaddress
import ssl
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from swallowtail.calls.config import Destination
from swallowtail.calls.deliver import About, DeliveryPhase
from swallowtail.dicom.buffers import BufferPool
from swallowtail.dicom.negotiation import propose
from swallowtail.dicom.net import Connection, associate
from swallowtail.dicom.pace import Limits
from swallowtail.dicom.pdu import AssociateRQ, AsyncOperationsWindow
from swallowtail.dicom.violations import ViolationError
from swallowtail.link.policy import Policy, Target, judge_target, limited, numeric
from swallowtail.link.scu.contexts import Pair
from swallowtail.link.scu.outcomes import NotDeliveredError, Peer, failure
from swallowtail.runtime.network import Listener, Network, ProtocolT, Resolve
from swallowtail.runtime.tasks import Tasks

MAX_ADDRESSES: Final = 4
"""Of one name that are tried, one after the other."""
MAX_RECENT: Final = 16_384
BUFFERS: Final = BufferPool()


def peer_of(destination: Destination) -> Peer:
    """Return what messages need of a destination."""
    place = f"{destination.host} port {destination.port}"
    return Peer(
        destination.name,
        place,
        called=destination.ae_title,
        calling=destination.calling_ae,
        connections=destination.connections,
    )


class _OwnPortError(OSError):
    """The connection has led back to Link itself."""


class _Watched:
    """The network, with a check of where a connection leads, and the time when it was open."""

    def __init__(self, network: Network, own: Callable[[], Iterable[Target]]) -> None:
        self._network = network
        self._own = own
        self.connected_at: float | None = None

    async def connect(
        self,
        factory: Callable[[], ProtocolT],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        transport, protocol = await self._network.connect(factory, host, port, tls=tls)
        if self._leads_back(transport, port):
            transport.abort()  # a listener on every address of this machine, met by one of these
            raise _OwnPortError(f"{host} port {port} is Link itself")
        self.connected_at = asyncio.get_running_loop().time()
        return transport, protocol

    def _leads_back(self, transport: asyncio.Transport, port: int) -> bool:
        here, there = (transport.get_extra_info(name) for name in ("sockname", "peername"))
        if not isinstance(here, tuple) or not isinstance(there, tuple) or here[0] != there[0]:
            return False
        return any(port == own and address.is_unspecified for address, own in self._own())

    async def listen(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> Listener:
        return await self._network.listen(factory, host, port)


class Reach:
    """The associations with destinations, within the hospital's policy."""

    def __init__(
        self,
        network: Network,
        resolve: Resolve,
        policy: Policy,
        own: Callable[[], Iterable[Target]],
        tasks: Tasks,
    ) -> None:
        self._network = network
        self._tasks = tasks
        self._resolve = resolve
        self._policy = policy
        self._own = own
        self._recent: dict[Target, float] = {}
        self._lookups: dict[str, asyncio.Task[tuple[str, ...] | OSError]] = {}

    async def resolve(self, destination: Destination) -> tuple[str, ...]:
        """Return the addresses of its host."""
        try:
            async with asyncio.timeout(destination.timeouts.connect):
                found = await self._lookup(destination.host)
        except OSError as error:
            raise failure(
                About.DESTINATION, DeliveryPhase.RESOLVE, peer_of(destination).unresolved(error)
            ) from error
        return found[:MAX_ADDRESSES]

    async def _lookup(self, host: str) -> tuple[str, ...]:
        """Ask once for all who wait for the same name.

        A resolver that hangs holds one thread, not one for each attempt.
        """
        if (running := self._lookups.get(host)) is None:
            running = self._lookups[host] = self._tasks.spawn(self._ask(host), name="lookup")
        await asyncio.wait([running])
        found = running.result()
        if isinstance(found, OSError):
            raise found
        return found

    async def _ask(self, host: str) -> tuple[str, ...] | OSError:
        try:
            return await self._resolve(host)
        except OSError as error:
            return error
        except UnicodeError:  # a label that IDNA cannot encode
            return OSError(errno.EINVAL, "no legal host name")
        finally:
            del self._lookups[host]

    def judge(self, destination: Destination, addresses: Iterable[str]) -> tuple[str, ...]:
        """Return those of the addresses that the policy allows; there is one at least."""
        reasons: list[str] = []
        allowed: list[str] = []
        for address in addresses:
            reason = judge_target(self._policy, address, destination.port, own=self._own())
            if reason is None:
                allowed.append(str(numeric(address)))
            else:
                reasons.append(reason)
        if not allowed:
            detail = f"{destination.name}: {'; '.join(reasons) or 'its name has no address'}"
            raise failure(About.DESTINATION, DeliveryPhase.POLICY, detail)
        self._limit(destination, allowed[0])
        return tuple(allowed)

    def _limit(self, destination: Destination, address: str) -> None:
        """Check the limit on new addresses; a wait is no failure of the destination."""
        now = asyncio.get_running_loop().time()
        if (
            found := limited(self._policy, address, destination.port, now=now, recent=self._recent)
        ) is not None:
            reason, after = found
            refused = failure(
                About.LINK,
                DeliveryPhase.LIMIT,
                f"{destination.name}: {reason}; it is tried again in {after:.0f} s",
            )
            raise NotDeliveredError(msgspec.structs.replace(refused.answer, after=after))

    async def associate(
        self,
        destination: Destination,
        address: str,
        contexts: Iterable[Pair],
        *,
        on_connected: Callable[[float], None] | None = None,
    ) -> Connection:
        """Connect to one allowed address and open an association.

        `on_connected` is called with the time when the connection was open.
        """
        peer = peer_of(destination)
        self._limit(destination, address)  # it may have been reached since, and each address counts
        self._enter(address, destination.port)
        network = _Watched(self._network, self._own)
        try:
            outcome = await associate(
                network,
                address,
                destination.port,
                _request(destination, contexts),
                limits=_limits(destination),
                buffers=BUFFERS,
            )
        except _OwnPortError as error:
            raise failure(
                About.DESTINATION, DeliveryPhase.POLICY, f"{destination.name}: {error}"
            ) from error
        except OSError as error:
            raise failure(
                About.DESTINATION, DeliveryPhase.CONNECT, peer.unreachable(error)
            ) from error
        except ViolationError as error:
            raise failure(
                About.DESTINATION, DeliveryPhase.ASSOCIATE, peer.violated(str(error))
            ) from error
        finally:
            if on_connected is not None and network.connected_at is not None:
                on_connected(network.connected_at)
        if not isinstance(outcome, Connection):
            raise failure(About.DESTINATION, DeliveryPhase.ASSOCIATE, peer.not_associated(outcome))
        return outcome

    async def open(self, destination: Destination, contexts: Iterable[Pair]) -> Connection:
        """Resolve, apply the policy, connect, associate.

        Of several addresses the first that accepts the connection.
        """
        contexts = tuple(contexts)
        addresses = self.judge(destination, await self.resolve(destination))
        for address in addresses[:-1]:
            try:
                return await self.associate(destination, address, contexts)
            except NotDeliveredError as error:
                if error.answer.phase is not DeliveryPhase.CONNECT:
                    raise
        return await self.associate(destination, addresses[-1], contexts)

    def _enter(self, address: str, port: int) -> None:
        if (
            len(self._recent) >= MAX_RECENT
        ):  # a removed entry counts as new again, which is the safe side
            del self._recent[next(iter(self._recent))]
        self._recent.setdefault(
            (ipaddress.ip_address(address), port), asyncio.get_running_loop().time()
        )


def _request(destination: Destination, contexts: Iterable[Pair]) -> AssociateRQ:
    window = (
        AsyncOperationsWindow(destination.outstanding, 1) if destination.outstanding > 1 else None
    )
    wanted = ((sop_class, (syntax,)) for sop_class, syntax in contexts)
    return propose(
        destination.ae_title,
        destination.calling_ae,
        wanted,
        max_pdu=destination.max_pdu,
        window=window,
    )


def _limits(destination: Destination) -> Limits:
    timeouts = destination.timeouts
    silence = timeouts.response + timeouts.idle + 120.0  # the line's own deadlines come first
    return Limits(
        max_pdu=destination.max_pdu,
        connect=timeouts.connect,
        answer=timeouts.associate,
        idle=silence,
        stall=timeouts.response,
    )
