"""How worker processes end beside their program."""

import os
import signal
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from swallowtail.cloud.blobs.disk import OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import ThreadWorkers
from swallowtail.cloud.index.parser_pool import WorkerPool
from swallowtail.cloud.model.indexing import Indexed
from swallowtail.cloud.processes.pool import WorkerEnd, WorkerProcesses
from tests.unit.cloud.index.test_parser_pool import kept


@pytest.mark.parametrize(
    ("number", "level"),
    [
        (signal.SIGTERM, "info"),
        (signal.SIGINT, "info"),
        (signal.SIGSEGV, "warning"),
        (signal.SIGKILL, "warning"),
    ],
)
async def test_a_worker_that_is_told_to_stop_is_no_warning_and_one_that_crashes_is(
    tmp_path: Path, number: signal.Signals, level: str
) -> None:
    script = tmp_path / "worker.py"
    default = f"signal.signal({number}, signal.SIG_DFL)" if level == "info" else "pass"
    script.write_text(
        f"import os, signal; os.read(0, 9); {default}; os.kill(os.getpid(), {number})"
    )
    pool = WorkerProcesses((sys.executable, str(script)), 1)
    with capture_logs() as lines:
        assert await pool.ask(b"job", bytes, wall_seconds=30) is WorkerEnd.CRASHED
    await pool.close()
    assert {line["log_level"] for line in lines} == {level}


async def test_a_signal_to_the_whole_group_leaves_the_workers_to_their_program(
    tmp_path: Path,
) -> None:
    workers = ThreadWorkers(1)
    blobs = FolderBlobs(OsDisk(tmp_path / "data"), workers, on_fatal=lambda _: None)
    await blobs.open()
    pool = WorkerPool(blobs, 1)
    job = await kept(blobs, "CT_small.dcm")
    assert isinstance(await pool.parse(job), Indexed)
    worker = pool._processes._free.get_nowait()
    assert worker is not None
    pool._processes._free.put_nowait(worker)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert isinstance(await pool.parse(job), Indexed)
    assert worker.exit_code is None
    await pool.close()
    await workers.close()
