"""The use case of a store, over the twins.

What is answered, and in which order things became durable before it.
"""

import hashlib
import zlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from swallowtail.calls.store import (
    Committed,
    NotStored,
    NotStoredReason,
    Stored,
    StoreRequest,
)
from swallowtail.calls.transfer import TransferEnd
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import InlineWorkers
from swallowtail.cloud.ingest.alarm import StorageAlarm
from swallowtail.cloud.ingest.store_instance import Ingest, InstanceKey, Upload
from swallowtail.cloud.model.imaging import Arrival, InstanceSearch, Receipt
from swallowtail.cloud.model.port_errors import DeletionRunningError
from swallowtail.cloud.records.records import Records
from tests.conformance.invented import NORTH, NOW, US, admitted_link, digest, tenants
from tests.doubles.memory_database import CommittedRows, MemoryDatabase
from tests.doubles.simulated_disk import SimulatedDisk
from tests.store_tally import StoreTally

DATA_SET = b"the bytes of a data set" * 1000
REQUEST = StoreRequest(
    listener="us",
    peer="192.0.2.20",
    calling_ae="SONO1",
    called_ae="SWALLOW",
    device="sono-1",
    association=b"a" * 16,
    sop_class=US,
    sop_instance="1.2.3",
    transfer_syntax="1.2.840.10008.1.2.1",
)


async def body(
    content: bytes = DATA_SET,
    *,
    length: int | None = None,
    crc32: int | None = None,
    end: bool = True,
) -> AsyncIterator[memoryview | TransferEnd]:
    """The pieces of a data set and, if it has one, its end."""
    for start in range(0, len(content), 5000):
        yield memoryview(content)[start : start + 5000]
    if end:
        yield TransferEnd(
            length=len(content) if length is None else length,
            crc32=zlib.crc32(content) if crc32 is None else crc32,
        )


class Cloud:
    """Records and blobs on twins, and the use case on them."""

    def __init__(self) -> None:
        self.rows, self.platter = CommittedRows(), SimulatedDisk()
        self.records = Records(MemoryDatabase(self.rows))
        self.blobs = FolderBlobs(
            self.platter.mount(), InlineWorkers(), on_fatal=lambda _: None, max_object=1_000_000
        )
        self.tally = StoreTally()
        self.woken: list[str] = []
        self.ingest = Ingest(
            self.records.instances,
            self.blobs,
            clock=lambda: NOW,
            meter=self.tally,
            alarm=StorageAlarm(self.records.alarms, clock=lambda: NOW),
            on_stored=lambda: self.woken.append("index"),
        )

    async def store(
        self,
        pieces: AsyncIterator[memoryview | TransferEnd],
        request: StoreRequest = REQUEST,
        epoch: int = 1,
    ) -> Committed | NotStored:
        return await self.ingest.store(NORTH, "ward", epoch, request, pieces)

    async def instances(self) -> int:
        return len(
            (await self.records.instances.instances(NORTH, InstanceSearch(hidden=True))).items
        )


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    cloud = Cloud()
    await cloud.blobs.open()
    await tenants(cloud.records)
    await admitted_link(cloud.records)
    yield cloud
    cloud.rows.close()


async def test_an_answer_carries_the_senders_numbers_and_everything_stands(cloud: Cloud) -> None:
    answer = await cloud.store(body())
    assert answer == Committed(length=len(DATA_SET), crc32=zlib.crc32(DATA_SET), stored=Stored.NEW)
    (instance,) = (await cloud.records.instances.instances(NORTH, InstanceSearch())).items
    assert instance.identity.sha256 == hashlib.sha256(DATA_SET).digest()
    assert (instance.origin.device, instance.origin.listener, instance.origin.peer) == (
        "sono-1",
        "us",
        "192.0.2.20",
    )
    assert await cloud.blobs.verify(NORTH, instance.identity.sha256)
    assert (cloud.woken, cloud.tally.outcomes, cloud.tally.bytes) == (
        ["index"],
        {"new": 1},
        len(DATA_SET),
    )


async def test_the_blob_is_durable_before_the_row_is_committed(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = cloud.records.instances.commit

    async def crash_first(tenant: str, arrival: Arrival, *, now: float) -> Receipt:
        cloud.platter.crash()
        return await commit(tenant, arrival, now=now)

    monkeypatch.setattr(cloud.records.instances, "commit", crash_first)
    assert isinstance(await cloud.store(body()), Committed)
    assert list(cloud.platter.files().values()) == [DATA_SET]


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        (body(length=3), NotStoredReason.TRANSFER_DAMAGED),
        (body(crc32=3), NotStoredReason.TRANSFER_DAMAGED),
        (body(end=False), NotStoredReason.TRANSFER_DAMAGED),
        (body(bytes(1_000_001)), NotStoredReason.TOO_LARGE),
    ],
)
async def test_a_body_that_cannot_be_kept_leaves_nothing(
    cloud: Cloud, pieces: AsyncIterator[memoryview | TransferEnd], reason: NotStoredReason
) -> None:
    answer = await cloud.store(pieces)
    assert isinstance(answer, NotStored)
    assert answer.reason is reason
    assert (await cloud.instances(), cloud.platter.files(), cloud.woken) == (0, {}, [])
    assert cloud.tally.outcomes == {reason: 1}


@pytest.mark.parametrize("uid", ["", "../../etc/passwd", "1.2.a", "1" * 65, "1.2\0", "C:\\x"])
@pytest.mark.parametrize("field", ["sop_class", "sop_instance", "transfer_syntax"])
async def test_an_illegal_uid_is_refused_before_a_byte_is_read(
    cloud: Cloud, field: str, uid: str
) -> None:
    pieces = body()
    answer = await cloud.store(pieces, msgspec.structs.replace(REQUEST, **{field: uid}))
    assert isinstance(answer, NotStored)
    assert (answer.reason, uid == "" or uid not in answer.detail) == (
        NotStoredReason.MALFORMED,
        True,
    )
    assert isinstance(await anext(pieces), memoryview)


async def test_an_old_epoch_is_fenced(cloud: Cloud) -> None:
    await cloud.records.links.admit(digest("north/ward"), b"k" * 32, address="", now=NOW)
    answer = await cloud.store(body(), epoch=1)
    assert isinstance(answer, NotStored)
    assert (answer.reason, await cloud.instances()) == (NotStoredReason.FENCED, 0)
    assert isinstance(await cloud.store(body(), epoch=2), Committed)


async def test_an_instance_that_is_being_deleted_is_to_be_sent_again_and_raises_no_alarm(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(tenant: str, arrival: Arrival, *, now: float) -> Receipt:
        raise DeletionRunningError

    monkeypatch.setattr(cloud.records.instances, "commit", refuse)
    answer = await cloud.store(body())
    assert isinstance(answer, NotStored)
    assert answer.reason is NotStoredReason.STORAGE_UNAVAILABLE
    assert (await cloud.records.alarms.alarms(NORTH)).items == ()


async def test_storage_that_is_down_is_said_and_recovers(cloud: Cloud) -> None:
    for broken, whole in ((cloud.platter, "full"), (cloud.rows, "unavailable")):
        setattr(broken, whole, True)
        answer = await cloud.store(body())
        assert isinstance(answer, NotStored)
        assert (answer.reason, await cloud.instances()) == (NotStoredReason.STORAGE_UNAVAILABLE, 0)
        setattr(broken, whole, False)
    assert isinstance(await cloud.store(body()), Committed)


async def test_a_session_that_ends_in_the_middle_leaves_nothing(cloud: Cloud) -> None:
    async def cut() -> AsyncIterator[memoryview | TransferEnd]:
        yield memoryview(DATA_SET)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await cloud.store(cut())
    assert (await cloud.instances(), cloud.platter.files()) == (0, {})


async def test_a_repeat_is_the_same_success(cloud: Cloud) -> None:
    first, again = await cloud.store(body()), await cloud.store(body())
    assert isinstance(first, Committed)
    assert again == msgspec.structs.replace(first, stored=Stored.SAME)
    assert (await cloud.instances(), len(cloud.platter.files())) == (1, 1)


async def test_an_upload_is_stored_for_its_facility(cloud: Cloud) -> None:
    key = InstanceKey(US, "1.2.9", "1.2.840.10008.1.2.1")
    answer = await cloud.ingest.upload(
        NORTH, Upload(actor="token-1", address="192.0.2.30", facility="clinic"), key, body()
    )
    assert isinstance(answer, Committed)
    (instance,) = (
        await cloud.records.instances.instances(
            NORTH, InstanceSearch(facilities=frozenset({"clinic"}))
        )
    ).items
    assert (instance.origin.actor, instance.origin.link) == ("token-1", None)
