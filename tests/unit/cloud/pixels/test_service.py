"""The pixel workers as they run.

Real processes with their limits, and commands that hang, die or want too much.
"""

import asyncio
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from swallowtail.cloud.blobs.disk import OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import ThreadWorkers
from swallowtail.cloud.model.transcoding import EXPLICIT, JPEG_2000, RLE, Cause, NotTranscoded
from swallowtail.cloud.pixels.decoder_process import FILE_SIZE, MEMORY
from swallowtail.cloud.pixels.jobs import Render
from swallowtail.cloud.pixels.service import Pixels
from tests.unit.cloud.pixels.images import NORTH, Image, encapsulated, kept, made, stored

JPEG = "1.2.840.10008.1.2.4.50"


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FolderBlobs]:
    workers = ThreadWorkers(1)
    blobs = FolderBlobs(OsDisk(tmp_path / "data"), workers, on_fatal=lambda _: None)
    await blobs.open()
    yield blobs
    await workers.close()


@pytest.fixture
async def pixels(blobs: FolderBlobs, tmp_path: Path) -> AsyncIterator[Pixels]:
    pixels = Pixels(blobs, tmp_path, size=1)
    yield pixels
    await pixels.close()


def scripted(blobs: FolderBlobs, folder: Path, text: str, **more: float) -> Pixels:
    path = folder / "worker.py"
    path.write_text(text)
    return Pixels(blobs, folder, size=1, command=(sys.executable, str(path)), **more)  # type: ignore[arg-type]


async def rendered(
    pixels: Pixels, blobs: FolderBlobs, image: Image, frame: int | None = 1
) -> bytes | NotTranscoded:
    instance = await kept(blobs, image)
    return await pixels.render(NORTH, instance, Render(image.syntax, instance.length, frame))


async def content(
    pixels: Pixels, blobs: FolderBlobs, image: Image, target: str
) -> bytes | NotTranscoded:
    result = await pixels.transcode(NORTH, await kept(blobs, image), target)
    if isinstance(result, NotTranscoded):
        return result
    async with result:
        body = b"".join([piece async for piece in result.pieces()])
        assert result.length == len(body)
        assert result.transfer_syntax == target
    return body


async def test_a_result_has_no_name_and_the_worker_is_confined(
    pixels: Pixels, blobs: FolderBlobs, tmp_path: Path
) -> None:
    before = set(tmp_path.iterdir())  # noqa: ASYNC240 - of no disk
    result = await pixels.transcode(
        NORTH, await kept(blobs, stored("examples_ybr_color.dcm")), EXPLICIT
    )
    assert not isinstance(result, NotTranscoded)
    async with result:
        assert set(tmp_path.iterdir()) == before  # noqa: ASYNC240 - of no disk
        assert result.length > 30 * 320 * 240 * 3
    worker = pixels._processes._free.get_nowait()
    assert worker is not None
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_CORE, 0),
    ):
        assert resource.prlimit(worker.pid, limit) == (value, value)
    pixels._processes._free.put_nowait(worker)
    assert pixels._kept == pixels._waiting == 0


async def test_the_same_syntax_is_a_copy_without_a_worker(
    pixels: Pixels, blobs: FolderBlobs
) -> None:
    image = stored("CT_small.dcm")
    assert await content(pixels, blobs, image, image.syntax) == image.body
    assert pixels._processes._free.get_nowait() is None


async def test_a_long_cine_takes_the_memory_of_a_frame(pixels: Pixels, blobs: FolderBlobs) -> None:
    frames = 400
    one = np.zeros((512, 512, 3), np.uint8)  # 300 MiB in all
    image = made(one, NumberOfFrames=frames, PixelData=one.tobytes() * frames)
    result = await pixels.transcode(NORTH, await kept(blobs, image), RLE)
    assert not isinstance(result, NotTranscoded)
    async with result:
        assert result.length > 1000 * frames
    worker = pixels._processes._free.get_nowait()
    assert worker is not None
    # of no disk
    status = Path(f"/proc/{worker.pid}/status").read_text().splitlines()  # noqa: ASYNC240
    peak = next(line for line in status if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 200 * 1024
    await worker.end()


SIDES = b"\x00\x00\xea\x60" * 2 + bytes(8)
BOMB = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + SIDES + SIDES + b"\x00\x01\x07\x01\x01"
HOSTILE = {
    "rows-by-columns": (made(Rows=65535, Columns=65535), Cause.TOO_LARGE),
    "frames": (made(NumberOfFrames=2_000_000_000), Cause.TOO_LARGE),
    "short": (made(Rows=8192, Columns=8192), Cause.MALFORMED),
    "no-rows": (made(Rows=0), Cause.MALFORMED),
    "no-bits": (made(BitsStored=0), Cause.MALFORMED),
    "truncated": (
        encapsulated(b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00", JPEG),
        Cause.MALFORMED,
    ),
    "no-jpeg": (encapsulated(b"nothing of the kind", JPEG), Cause.MALFORMED),
    "j2k-bomb": (encapsulated(BOMB, JPEG_2000), Cause.MALFORMED),
    "j2k-bomb-that-agrees": (
        encapsulated(BOMB, JPEG_2000, Rows=60000, Columns=60000),
        Cause.TOO_LARGE,
    ),
    "rle-of-nothing": (encapsulated(b"\x01\0\0\0" + b"\xff" * 60, RLE), Cause.MALFORMED),
    "no-palette": (
        made(np.zeros((8, 8), np.uint8), PhotometricInterpretation="PALETTE COLOR"),
        Cause.MALFORMED,
    ),
    "no-data-set": (Image("made", EXPLICIT, b"\x08\x00\x05\x00XX"), Cause.MALFORMED),
    "a-report": (stored("reportsi.dcm"), Cause.MISSING),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_made_to_break_us_is_refused_and_the_next_is_rendered(
    pixels: Pixels, blobs: FolderBlobs, name: str
) -> None:
    image, cause = HOSTILE[name]
    refused = await rendered(pixels, blobs, image)
    assert isinstance(refused, NotTranscoded)
    assert refused.cause is cause
    assert "Heron" not in refused.reason
    worker = pixels._processes._free.get_nowait()
    assert worker is not None
    assert psutil.Process(worker.pid).memory_info().rss < 200 * 2**20
    pixels._processes._free.put_nowait(worker)
    assert isinstance(await rendered(pixels, blobs, made()), bytes)


async def test_a_decoder_without_an_end_is_ended(blobs: FolderBlobs, tmp_path: Path) -> None:
    pixels = scripted(blobs, tmp_path, "import time; time.sleep(60)", render_wall=0.5)
    refused = await rendered(pixels, blobs, made())
    assert isinstance(refused, NotTranscoded)
    assert refused.cause is Cause.TRANSIENT
    assert pixels._kept == 0


LOOPING = """
import swallowtail.cloud.pixels.decoder_process as worker
import swallowtail.cloud.pixels.working as working
worker.RENDER_SECONDS = 0
work = working.work
def endless(job, blob, out):
    while job.frame == 1:
        pass
    return work(job, blob, out)
working.work = endless
worker.main()
"""


async def test_a_decoder_that_burns_its_cpu_is_a_verdict_on_the_bytes(
    blobs: FolderBlobs, tmp_path: Path
) -> None:
    pixels = scripted(blobs, tmp_path, LOOPING)
    refused = await rendered(pixels, blobs, made())
    assert isinstance(refused, NotTranscoded)
    assert refused.cause is Cause.MALFORMED
    assert isinstance(await rendered(pixels, blobs, made(), None), bytes)
    await pixels.close()


DYING = """
import os
import swallowtail.cloud.pixels.decoder_process as worker
import swallowtail.cloud.pixels.working as working
work = working.work
lives = os.open(LIVES, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def dies(job, blob, out):
    out.write(b"half a result"); out.flush(); blob.read(50)
    os.write(lives, b"x")
    if os.fstat(lives).st_size <= COUNT: os.abort()
    return work(job, blob, out)
working.work = dies
worker.main()
"""


@pytest.mark.parametrize(("lives", "well"), [(1, True), (2, False)])
async def test_one_death_is_forgiven_and_leaves_nothing_behind(
    blobs: FolderBlobs, tmp_path: Path, lives: int, well: bool
) -> None:
    pixels = scripted(
        blobs, tmp_path, f"LIVES = {str(tmp_path / 'lives')!r}; COUNT = {lives}\n{DYING}"
    )
    image = stored("CT_small.dcm")
    body = await content(pixels, blobs, image, RLE)
    if well:
        assert isinstance(body, bytes)
        assert np.array_equal(Image("made", RLE, body).pixels(), image.pixels())
    else:
        assert isinstance(body, NotTranscoded)
        assert body.cause is Cause.MALFORMED
    await pixels.close()


async def test_who_leaves_frees_the_worker_and_too_many_are_told_to_wait(
    blobs: FolderBlobs, tmp_path: Path
) -> None:
    pixels = scripted(blobs, tmp_path, "import time; time.sleep(60)", max_waiting=2)
    instance = await kept(blobs, made())
    jobs = [
        asyncio.ensure_future(  # noqa: TID251
            pixels.render(NORTH, instance, Render(EXPLICIT, instance.length, 1))
        )
        for _ in range(2)
    ]
    while pixels._waiting < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    refused = await pixels.render(NORTH, instance, Render(EXPLICIT, instance.length, 1))
    assert isinstance(refused, NotTranscoded)
    assert refused.cause is Cause.TRANSIENT
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    assert pixels._waiting == pixels._kept == 0
    assert pixels._processes._free.get_nowait() is None


async def test_a_blob_that_is_gone_says_so(pixels: Pixels, blobs: FolderBlobs) -> None:
    instance = await kept(blobs, made())
    path = blobs.path(NORTH, instance.identity.sha256)
    assert path is not None
    path.unlink()
    refused = await pixels.render(NORTH, instance, Render(EXPLICIT, instance.length, 1))
    assert isinstance(refused, NotTranscoded)
    assert "backup" in refused.reason
