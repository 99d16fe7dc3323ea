"""The use case of every store: bytes to a durable blob, then one commit, then the answer.

There is no step between these, and none after.

    command set usable?
      → every byte, then the end
      → length and CRC-32 agree, blob fsynced
      → epoch, row, job and audit in one commit
      → Committed

Expected failures are values (style habit 14). Any exception out of `store`, such as the session's
end, leaves no row, and no file but one that the next start removes. A blob whose commit failed is
an orphan: it is never acknowledged and never shown.
"""

from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple, Protocol

from swallowtail.calls.store import (
    Committed,
    NotStored,
    NotStoredReason,
    StoreAnswer,
    Stored,
    StoreRequest,
)
from swallowtail.calls.transfer import TransferEnd
from swallowtail.cloud.ingest.alarm import StorageAlarm
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.imaging import Arrival, InstanceIdentity, Origin, Receipt
from swallowtail.cloud.model.port_errors import (
    CloudError,
    DamagedError,
    DeletionRunningError,
    FencedError,
    StorageUnavailableError,
    TooLargeError,
)
from swallowtail.cloud.model.ports.blobs import BlobDigest, Blobs, Incoming
from swallowtail.cloud.model.ports.instances import Instances
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.dicom import uids

Body = AsyncIterator[memoryview | TransferEnd]
"""The bytes of a data set in order, then its end.

The memory under a view must stay unchanged until the store has ended.
"""

REASONS: Final[dict[type[CloudError], NotStoredReason]] = {
    FencedError: NotStoredReason.FENCED,
    DamagedError: NotStoredReason.TRANSFER_DAMAGED,
    TooLargeError: NotStoredReason.TOO_LARGE,
    StorageUnavailableError: NotStoredReason.STORAGE_UNAVAILABLE,
    DeletionRunningError: NotStoredReason.STORAGE_UNAVAILABLE,
}


class InstanceKey(NamedTuple):
    """The identification of a data set by its sender."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str


class Upload(NamedTuple):
    """The principal, address and facility of an instance that is stored through the API."""

    actor: str
    address: str
    facility: str


class Meter(Protocol):
    """An observer of finished stores, for metrics."""

    def stored(self, stored: Stored, length: int, seconds: float) -> None:
        """Count a committed instance; `seconds` from its request to its commit."""

    def refused(self, reason: NotStoredReason) -> None:
        """Count a store that failed or was refused."""


class Ingest:
    """The store use cases; one instance for the whole Cloud."""

    def __init__(
        self,
        instances: Instances,
        blobs: Blobs,
        *,
        clock: Clock,
        meter: Meter,
        alarm: StorageAlarm | None = None,
        on_stored: Callable[[], None] = lambda: None,
    ) -> None:
        self._instances = instances
        self._blobs = blobs
        self._clock = clock
        self._meter = meter
        self._alarm = alarm
        self._on_stored = on_stored

    async def store(
        self, tenant: Tenant, link: str, epoch: int, request: StoreRequest, body: Body
    ) -> StoreAnswer:
        """Store a data set from a Link's session; `epoch` is that of its admission.

        The caller sends the answer to Link, whatever it is.
        """
        origin = Origin(
            link=link,
            epoch=epoch,
            listener=request.listener,
            device=request.device,
            peer=request.peer,
            calling_ae=request.calling_ae,
            called_ae=request.called_ae,
            association=request.association,
        )
        key = InstanceKey(request.sop_class, request.sop_instance, request.transfer_syntax)
        return await self._answer(tenant, origin, key, body)

    async def upload(
        self, tenant: Tenant, upload: Upload, key: InstanceKey, body: Body
    ) -> StoreAnswer:
        """Store a data set from the API.

        `key` comes from the file meta information of the uploaded file.
        """
        origin = Origin(
            link=None, facility=upload.facility, actor=upload.actor, peer=upload.address
        )
        return await self._answer(tenant, origin, key, body)

    async def _answer(
        self, tenant: Tenant, origin: Origin, key: InstanceKey, body: Body
    ) -> StoreAnswer:
        begun = self._clock()
        if problem := _problem(key, origin):
            return self._refuse(NotStoredReason.MALFORMED, problem)
        try:
            async with self._blobs.incoming(
                tenant
            ) as incoming:  # which keeps the blob from the sweep until the row is there
                digest, end = await _receive(incoming, body)
                receipt = await self._commit(tenant, origin, key, digest)
        except tuple(REASONS) as error:
            reason = next(reason for kind, reason in REASONS.items() if isinstance(error, kind))
            if self._alarm is not None and isinstance(error, StorageUnavailableError):
                await self._alarm.failed(tenant, str(error))
            return self._refuse(reason, str(error))
        if self._alarm is not None:
            await self._alarm.succeeded(tenant)
        self._meter.stored(receipt.stored, digest.length, self._clock() - begun)
        self._on_stored()
        return Committed(length=end.length, crc32=end.crc32, stored=receipt.stored)

    async def _commit(
        self, tenant: Tenant, origin: Origin, key: InstanceKey, digest: BlobDigest
    ) -> Receipt:
        identity = InstanceIdentity(
            sop_instance=key.sop_instance, transfer_syntax=key.transfer_syntax, sha256=digest.sha256
        )
        arrival = Arrival(
            identity=identity, sop_class=key.sop_class, length=digest.length, origin=origin
        )
        return await self._instances.commit(tenant, arrival, now=self._clock())

    def _refuse(self, reason: NotStoredReason, detail: str) -> NotStored:
        self._meter.refused(reason)
        return NotStored(reason=reason, detail=detail)


async def _receive(incoming: Incoming, body: Body) -> tuple[BlobDigest, TransferEnd]:
    async for piece in body:
        if isinstance(piece, TransferEnd):
            return await incoming.finish(length=piece.length, crc32=piece.crc32), piece
        await incoming.write(piece)
    raise DamagedError("the transfer has no end")


def _problem(key: InstanceKey, origin: Origin) -> str:
    """Return what in the command set is not usable.

    The text repeats none of its values, since a UID may be any text (PS3.5 9.1).
    """
    names = (
        "Affected SOP Class UID",
        "Affected SOP Instance UID",
        "transfer syntax of the presentation context",
    )
    for name, uid in zip(names, key, strict=True):
        if not uids.is_valid(uid):
            return f"the {name} is not a UID (PS3.5 9.1)"
    if origin.link is not None and len(origin.association) != 16:  # calls.store
        return "the association's id does not have 16 bytes"
    return ""
