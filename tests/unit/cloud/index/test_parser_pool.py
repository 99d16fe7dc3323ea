"""Worker processes: real ones that parse, and ones that hang, die or talk nonsense."""

import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from swallowtail.cloud.blobs.disk import OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import ThreadWorkers
from swallowtail.cloud.index.parser_pool import WorkerPool
from swallowtail.cloud.model.indexing import Indexed, IndexJob, Quarantined
from tests.unit.cloud.index.data_sets import stored


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FolderBlobs]:
    workers = ThreadWorkers(1)
    blobs = FolderBlobs(OsDisk(tmp_path / "data"), workers, on_fatal=lambda _: None)
    await blobs.open()
    yield blobs
    await workers.close()


async def kept(blobs: FolderBlobs, name: str) -> IndexJob:
    """A test file as a stored blob; gives its job."""
    job, content = stored(name)
    async with blobs.incoming(job.tenant) as incoming:
        await incoming.write(memoryview(content))
        digest = await incoming.finish()
    identity = type(job.identity)(
        sop_instance=job.identity.sop_instance,
        transfer_syntax=job.identity.transfer_syntax,
        sha256=digest.sha256,
    )
    return IndexJob(
        tenant=job.tenant,
        instance=7,
        identity=identity,
        sop_class=job.sop_class,
        length=job.length,
        until=0.0,
    )


def script(path: Path, text: str) -> tuple[str, ...]:
    path.write_text(text)
    return (sys.executable, str(path))


async def test_one_worker_parses_one_blob_after_the_other(blobs: FolderBlobs) -> None:
    pool = WorkerPool(blobs, 1)
    names = ("examples_ybr_color.dcm", "CT_small.dcm", "MR_truncated.dcm")
    kinds = [type(await pool.parse(await kept(blobs, name))) for name in names]
    assert kinds == [Indexed, Indexed, Quarantined]
    worker = pool._processes._free.get_nowait()
    assert worker is not None
    limits = (
        resource.prlimit(worker.pid, resource.RLIMIT_AS),
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE),
    )
    assert limits == ((2**30, 2**30), (0, 0))
    loaded = Path(f"/proc/{worker.pid}/maps").read_text()  # noqa: ASYNC240 - of no disk
    assert not any(name in loaded for name in ("numpy", "gdcm", "openjpeg", "/PIL/"))
    await worker.end()
    assert worker.exit_code == -9


async def test_a_blob_that_is_gone_is_an_outcome(blobs: FolderBlobs) -> None:
    pool = WorkerPool(blobs, 1)
    job, _ = stored("CT_small.dcm")
    outcome = await pool.parse(job)
    assert isinstance(outcome, Quarantined)
    assert "backup" in outcome.problem


@pytest.mark.parametrize(
    "behaviour",
    [
        "import time; time.sleep(60)",
        "import os; os.abort()",
        "import os; os.write(0, b'\\0\\0\\0\\3abc'); os.read(0, 9999); os.read(0, 9)",
        "import os; os.write(0, b'nonsense' * 9); os.read(0, 9999); os.read(0, 9)",
    ],
    ids=["hangs", "crashes", "invalid answer", "invalid answer of a large length"],
)
async def test_a_job_that_ends_two_workers_is_quarantined(
    blobs: FolderBlobs, tmp_path: Path, behaviour: str
) -> None:
    launches = tmp_path / "launches"
    command = script(
        tmp_path / "worker.py", f"open({str(launches)!r}, 'a').write('x')\n{behaviour}\n"
    )
    pool = WorkerPool(blobs, 1, wall_seconds=1.0, command=command)
    outcome = await pool.parse(await kept(blobs, "CT_small.dcm"))
    assert isinstance(outcome, Quarantined)
    assert "2 worker processes ended" in outcome.problem
    assert launches.read_text() == "xx"
    await pool.close()


async def test_a_worker_that_dies_once_is_replaced(blobs: FolderBlobs, tmp_path: Path) -> None:
    flag = tmp_path / "died"
    text = f"""
import os, sys
if not os.path.exists({str(flag)!r}):
    open({str(flag)!r}, "w").close()
    os.abort()
from swallowtail.cloud.index.parser_process import main
main()
"""
    pool = WorkerPool(blobs, 1, command=script(tmp_path / "worker.py", text))
    assert isinstance(await pool.parse(await kept(blobs, "CT_small.dcm")), Indexed)
    await pool.close()


async def test_an_object_that_wants_too_much_memory_is_quarantined_and_the_next_is_read(
    blobs: FolderBlobs, tmp_path: Path
) -> None:
    text = """
import swallowtail.cloud.index.parse as parse
from swallowtail.cloud.index.parser_process import main
real = parse.parse
def hungry(job, blob):
    def grow():
        return bytearray(2 ** 31)
    parse._indexed = (lambda job, blob: grow()) if job.sop_class.endswith(".1.2") else indexed
    return real(job, blob)
indexed = parse._indexed
parse.parse = hungry
main()
"""
    pool = WorkerPool(blobs, 1, command=script(tmp_path / "worker.py", text))
    outcome = await pool.parse(await kept(blobs, "CT_small.dcm"))  # CT Image Storage ends with .1.2
    assert isinstance(outcome, Quarantined)
    assert "memory" in outcome.problem
    assert isinstance(await pool.parse(await kept(blobs, "MR_small.dcm")), Indexed)
    await pool.close()


def test_the_pool_loads_no_dicom_library() -> None:
    import subprocess

    code = "import sys; import swallowtail.cloud.index.indexer; sys.exit('pydicom' in sys.modules)"
    environment = {"PYTHONPATH": str(Path(__file__).parents[4] / "src")}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
