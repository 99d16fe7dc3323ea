import asyncio
import hashlib
import zlib

import pytest

from swallowtail.cloud.model.port_errors import DamagedError, NotFoundError, TooLargeError
from swallowtail.cloud.model.ports.blobs import BlobDigest
from tests.conformance.conftest import Store
from tests.conformance.invented import NORTH, SOUTH

SMALL = b"a small data set"
LARGE = bytes(range(256)) * 16_384  # 4 MiB: several batches


async def put(store: Store, content: bytes, tenant: str = NORTH, piece: int = 65_528) -> BlobDigest:
    async with store.blobs.incoming(tenant) as incoming:
        for start in range(0, len(content), piece):
            await incoming.write(memoryview(content)[start : start + piece])
        return await incoming.finish(length=len(content), crc32=zlib.crc32(content))


async def get(store: Store, sha256: bytes, *part: int, tenant: str = NORTH) -> bytes:
    return b"".join([piece async for piece in store.blobs.read(tenant, sha256, *part)])


def files(store: Store) -> list[str]:
    """Every blob and every file on its way."""
    paths = [f"incoming/{name}" for name in store.disk.list("incoming")]
    levels = ["blobs"]
    for _ in range(3):
        levels = [f"{level}/{name}" for level in levels for name in store.disk.list(level)]
    return paths + levels


@pytest.mark.parametrize(
    "content", [b"", SMALL, LARGE, LARGE[:1_048_576], LARGE[:1_048_577]], ids=len
)
async def test_what_was_written_is_read_under_its_digest(store: Store, content: bytes) -> None:
    digest = await put(store, content)
    assert digest == BlobDigest(sha256=hashlib.sha256(content).digest(), length=len(content))
    assert await get(store, digest.sha256) == content
    assert await store.blobs.length(NORTH, digest.sha256) == len(content)
    assert await store.blobs.verify(NORTH, digest.sha256)
    assert files(store) == [f"blobs/north/{digest.sha256.hex()[:2]}/{digest.sha256.hex()}"]


@pytest.mark.parametrize(
    ("start", "length"), [(0, 1), (1_048_570, 20), (4_194_300, 100), (5_000_000, 1), (7, None)]
)
async def test_a_range_is_read(store: Store, start: int, length: int | None) -> None:
    digest = await put(store, LARGE)
    stop = None if length is None else start + length
    assert await get(store, digest.sha256, start, length) == LARGE[start:stop]


async def test_single_bytes_are_gathered_too(store: Store) -> None:
    digest = await put(store, LARGE[:5000], piece=1)
    assert await get(store, digest.sha256) == LARGE[:5000]


async def test_a_blob_that_is_there_is_kept_as_it_is(store: Store) -> None:
    first = await put(store, LARGE)
    before = store.disk.facts(files(store)[0])
    assert await put(store, LARGE, piece=777) == first
    assert (store.disk.facts(files(store)[0]), len(files(store))) == (before, 1)


async def test_two_that_bring_the_same_at_once_both_succeed(store: Store) -> None:
    first, second = await asyncio.gather(put(store, LARGE), put(store, LARGE))
    assert first == second
    assert len(files(store)) == 1


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
@pytest.mark.parametrize("wrong", [{"length": 3}, {"crc32": 3}])
async def test_damaged_bytes_leave_nothing(
    store: Store, content: bytes, wrong: dict[str, int]
) -> None:
    async with store.blobs.incoming(NORTH) as incoming:
        await incoming.write(memoryview(content))
        with pytest.raises(DamagedError):
            await incoming.finish(**wrong)
    assert files(store) == []


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
async def test_leaving_without_finish_leaves_nothing(store: Store, content: bytes) -> None:
    async with store.blobs.incoming(NORTH) as incoming:
        await incoming.write(memoryview(content))
        await incoming.write(memoryview(content)[:1])
    assert files(store) == []


async def test_more_than_the_cap_is_refused_and_leaves_nothing(store: Store) -> None:
    async with store.blobs.incoming(NORTH) as incoming:
        await incoming.write(memoryview(LARGE))
        with pytest.raises(TooLargeError):
            await incoming.write(memoryview(LARGE))
    async with store.blobs.incoming(NORTH, max_length=len(SMALL) - 1) as incoming:
        with pytest.raises(TooLargeError):
            await incoming.write(memoryview(SMALL))
    assert files(store) == []
    async with store.blobs.incoming(NORTH, max_length=len(SMALL)) as incoming:
        await incoming.write(memoryview(SMALL))
        assert (await incoming.finish()).length == len(SMALL)


async def test_tenants_do_not_see_each_others_blobs(store: Store) -> None:
    digest = await put(store, SMALL)
    assert await store.blobs.length(SOUTH, digest.sha256) is None
    assert not await store.blobs.verify(SOUTH, digest.sha256)
    with pytest.raises(NotFoundError):
        await get(store, digest.sha256, tenant=SOUTH)
    await put(store, SMALL, SOUTH)
    assert len(files(store)) == 2


async def test_the_sweep_meets_every_finished_blob_and_nothing_else(store: Store) -> None:
    digests = [await put(store, content) for content in (SMALL, LARGE, b"x")]
    async with store.blobs.incoming(NORTH) as incoming:
        await incoming.write(memoryview(LARGE))
        await incoming.write(memoryview(LARGE)[:500_000])
        found = [blob async for blob in store.blobs.found(NORTH)]
    assert {(blob.sha256, blob.length) for blob in found} == {
        (digest.sha256, digest.length) for digest in digests
    }
    assert [blob async for blob in store.blobs.found(SOUTH)] == []


async def test_a_local_path_is_the_blobs_or_there_is_none(store: Store) -> None:
    digest = await put(store, SMALL)
    path = store.blobs.path(NORTH, digest.sha256)
    assert path is None or path.read_bytes() == SMALL


async def all_of(condemned: frozenset[bytes]) -> frozenset[bytes]:
    return condemned


async def test_what_is_confirmed_is_removed_and_can_be_stored_again(store: Store) -> None:
    digests = [(await put(store, content)).sha256 for content in (SMALL, LARGE)]
    asked: list[frozenset[bytes]] = []

    async def one_of(condemned: frozenset[bytes]) -> frozenset[bytes]:
        asked.append(condemned)
        return condemned - {digests[1]}

    assert await store.blobs.remove(SOUTH, digests, all_of) == set(digests), (
        "another tenant's are not there"
    )
    assert len(files(store)) == 2
    assert await store.blobs.remove(NORTH, digests, one_of) == {digests[0]}
    assert asked == [frozenset(digests)]
    assert await store.blobs.length(NORTH, digests[0]) is None
    assert await get(store, digests[1]) == LARGE
    assert (await put(store, SMALL)).sha256 == digests[0]
    assert await get(store, digests[0]) == SMALL


async def test_what_somebody_stores_is_not_removed_before_the_end_of_it(store: Store) -> None:
    known = await put(store, SMALL)
    async with store.blobs.incoming(NORTH) as incoming:
        await incoming.write(memoryview(SMALL))
        assert await incoming.finish() == known
        assert await store.blobs.remove(NORTH, [known.sha256], all_of) == frozenset()
        assert await get(store, known.sha256) == SMALL
    assert await store.blobs.remove(NORTH, [known.sha256], all_of) == {known.sha256}


async def test_what_is_stored_while_the_sweep_asks_is_not_removed(store: Store) -> None:
    known = await put(store, SMALL)

    async def stored_meanwhile(condemned: frozenset[bytes]) -> frozenset[bytes]:
        assert await put(store, SMALL) == known
        return condemned

    assert await store.blobs.remove(NORTH, [known.sha256], stored_meanwhile) == frozenset()
    assert await get(store, known.sha256) == SMALL
    assert await store.blobs.remove(NORTH, [known.sha256], all_of) == {known.sha256}


async def test_a_removal_that_fails_to_ask_removes_nothing(store: Store) -> None:
    known = await put(store, SMALL)

    async def fails(_: frozenset[bytes]) -> frozenset[bytes]:
        raise NotFoundError

    with pytest.raises(NotFoundError):
        await store.blobs.remove(NORTH, [known.sha256], fails)
    assert await get(store, known.sha256) == SMALL
