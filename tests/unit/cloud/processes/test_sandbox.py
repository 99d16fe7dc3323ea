"""What a worker process can still do: tried from inside, and asked of the kernel from outside."""

import codecs
import errno
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.charset import python_encoding
from structlog.testing import capture_logs

from swallowtail.cloud.blobs.disk import OsDisk
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import ThreadWorkers
from swallowtail.cloud.index import character_sets
from swallowtail.cloud.index.parser_pool import WorkerPool
from swallowtail.cloud.model.indexing import Indexed, Quarantined
from swallowtail.cloud.model.transcoding import (
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LS,
    VIDEOS,
    NotTranscoded,
)
from swallowtail.cloud.pixels.jobs import JobRefused, Made, Render, Transcode
from swallowtail.cloud.pixels.service import Pixels
from swallowtail.cloud.pixels.working import work
from swallowtail.cloud.processes import landlock, probe, sandbox, seccomp
from swallowtail.cloud.processes.pool import WorkerProcess, WorkerProcesses
from tests.unit.cloud.index.test_parser_pool import kept as job_of
from tests.unit.cloud.index.test_parser_pool import script
from tests.unit.cloud.pixels.images import NORTH, files, kept, stored
from tests.unit.cloud.processes.forbidden import FORBIDDEN, ONLY_LANDLOCK

REFUSED = {"EPERM", "EACCES"}


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FolderBlobs]:
    workers = ThreadWorkers(1)
    blobs = FolderBlobs(OsDisk(tmp_path / "data"), workers, on_fatal=lambda _: None)
    await blobs.open()
    yield blobs
    await workers.close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that every user may read and write, so that only the sandbox protects it."""
    path = tmp_path / "master.key"
    path.write_bytes(b"k" * 32)
    path.chmod(0o666)
    return path


def untouched(secret: Path) -> bool:
    """Return whether the file is what it was, alone in its folder."""
    return secret.read_bytes() == b"k" * 32 and [*secret.parent.iterdir()] == [secret]


async def tried(layers: str, names: list[str], argument: str) -> dict[str, str]:
    """Have one worker in these layers try the things; returns the errors by name."""
    command = (sys.executable, "-m", "tests.unit.cloud.processes.forbidden", layers)
    processes, found = WorkerProcesses(command, 1), {}
    for name in names:
        answer = await processes.ask(
            f"{name}\0{argument}".encode(), bytes, wall_seconds=20, again=frozenset()
        )
        found[name] = answer.decode() if isinstance(answer, bytes) else answer.value
    await processes.close()
    return found


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_a_worker_reaches_nothing_that_it_was_not_handed(secret: Path) -> None:
    names = [name for name in FORBIDDEN if name != "connect over TCP"]
    for layers in ("all", "seccomp"):
        found = await tried(layers, names, str(secret))
        assert found.pop("clone3") == "ENOSYS", "libc then uses clone, whose flags the filter sees"
        assert {name: error for name, error in found.items() if error != "EPERM"} == {}, layers
    assert untouched(secret)


async def test_a_worker_reaches_no_port(listening: int) -> None:
    for layers in ("all", "seccomp", "landlock"):
        found = await tried(layers, ["connect over TCP"], str(listening))
        assert found["connect over TCP"] in REFUSED, layers
    assert await tried("nothing", ["connect over TCP"], str(listening)) == {
        "connect over TCP": "done"
    }


async def test_either_layer_alone_keeps_a_worker_off_the_keys(secret: Path) -> None:
    names = [name for name in ONLY_LANDLOCK if name != "connect over TCP"]
    for layers in ("seccomp", "landlock"):
        found = await tried(layers, names, str(secret))
        assert {name: error for name, error in found.items() if error not in REFUSED} == {}, layers


async def test_without_the_sandbox_the_same_things_succeed(secret: Path) -> None:
    """Else the tests above would prove nothing."""
    names = [
        "read a file",
        "write a file",
        "make a socket",
        "fork",
        "kill the parent",
        "make a pipe",
        "map code",
        "learn of a file",
    ]
    assert set((await tried("nothing", names, str(secret))).values()) == {"done"}


STATUS = {"NoNewPrivs": "1", "Seccomp": "2"}


def status_of(worker: WorkerProcess) -> dict[str, str]:
    """What the kernel says of it, and the descriptors that it has between jobs."""
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    reported = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    descriptors = ",".join(sorted(path.name for path in Path(f"/proc/{worker.pid}/fd").iterdir()))
    return {name: reported[name] for name in STATUS} | {"descriptors": descriptors}


async def test_the_workers_that_run_are_confined(blobs: FolderBlobs, tmp_path: Path) -> None:
    """The kernel says so, of the processes that have just done a job."""
    pool, pixels = WorkerPool(blobs, 1), Pixels(blobs, tmp_path, size=1)
    assert isinstance(await pool.parse(await job_of(blobs, "CT_small.dcm")), Indexed)
    image = stored("CT_small.dcm")
    instance = await kept(blobs, image)
    assert isinstance(
        await pixels.render(NORTH, instance, Render(image.syntax, instance.length, 1)), bytes
    )
    for processes in (pool._processes, pixels._processes):
        worker = processes._free.get_nowait()
        assert worker is not None
        assert status_of(worker) == STATUS | {"descriptors": "0,1,2"}
        processes._free.put_nowait(worker)
        await processes.close()


CURIOUS = """
import {module} as work
from {worker} import main
def curious(*_):
    with open({path!r}, "rb") as key:
        raise ValueError(key.read())
work.{function} = curious
main()
"""


async def test_a_parser_that_reads_the_key_gets_nothing(
    blobs: FolderBlobs, tmp_path: Path, secret: Path
) -> None:
    parts = {
        "module": "swallowtail.cloud.index.parse",
        "worker": "swallowtail.cloud.index.parser_process",
        "function": "_indexed",
    }
    text = CURIOUS.format(path=str(secret), **parts)
    pool = WorkerPool(blobs, 1, command=script(tmp_path / "worker.py", text))
    outcome = await pool.parse(await job_of(blobs, "CT_small.dcm"))
    assert isinstance(outcome, Quarantined)
    assert outcome.problem == "it cannot be read (PermissionError)"
    await pool.close()


async def test_a_decoder_that_reads_the_key_gets_nothing(
    blobs: FolderBlobs, tmp_path: Path, secret: Path
) -> None:
    parts = {
        "module": "swallowtail.cloud.pixels.working",
        "worker": "swallowtail.cloud.pixels.decoder_process",
        "function": "_made",
    }
    text = CURIOUS.format(path=str(secret), **parts)
    pixels = Pixels(blobs, tmp_path, size=1, command=script(tmp_path / "worker.py", text))
    image = stored("CT_small.dcm")
    answer = await pixels.render(
        NORTH, await kept(blobs, image), Render(image.syntax, len(image.body), 1)
    )
    assert isinstance(answer, NotTranscoded)
    assert "Operation not permitted" in answer.reason
    await pixels.close()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", [JPEG_BASELINE, JPEG_LS, JPEG_2000])
async def test_decoders_and_encoders_do_the_same_inside(
    blobs: FolderBlobs, tmp_path: Path, target: str
) -> None:
    """Each test file, in a worker and in this process, which has no sandbox.

    Nothing misses a file or a call.
    """
    pixels = Pixels(blobs, tmp_path, size=1)
    for name in files():
        image = stored(name)
        if image.syntax in VIDEOS or image.syntax == target:
            continue
        answer = await pixels.transcode(NORTH, await kept(blobs, image), target)
        out = BytesIO()
        expected = work(Transcode(image.syntax, len(image.body), target), BytesIO(image.body), out)
        if isinstance(answer, NotTranscoded):
            assert isinstance(expected, JobRefused), (name, answer)
            assert answer.reason == expected.reason
            continue
        assert isinstance(expected, Made), name
        async with answer:
            body = b"".join([piece async for piece in answer.pieces()])
        assert body == out.getvalue()[: expected.length], name
    await pixels.close()


@pytest.mark.parametrize("name", sorted(python_encoding))
async def test_every_character_set_is_loaded_before(name: str) -> None:
    """A codec that is looked up later finds no file; these are there when the worker begins."""
    character_sets.load()
    found = codecs.lookup(python_encoding[name]).name
    module = f"encodings.{found.replace('-', '_')}"
    assert module in sys.modules or found in {"ascii", "utf-8", "iso8859-1"}


# What the kernel does not permit


def refuses(code: int) -> Callable[..., int]:
    def call(*_: object) -> int:
        raise OSError(code, "refused")

    return call


@pytest.mark.parametrize(
    ("version", "absent"),
    [
        (1, {"landlock-network": "version 1", "landlock-scopes": "version 1"}),
        (4, {"landlock-scopes": "version 4"}),
        (6, {}),
        (99, {}),
    ],
)
def test_an_older_landlock_is_told(
    monkeypatch: pytest.MonkeyPatch, version: int, absent: dict[str, str]
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: version)
    assert landlock.missing() == absent


def test_what_is_missing_is_logged_once_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", refuses(errno.ENOSYS))
    monkeypatch.setattr(seccomp, "architecture", lambda: None)
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    missing = sandbox.missing()
    assert missing == {"seccomp": "no filter for riscv64", "landlock": "ENOSYS"}
    with capture_logs() as logs:
        probe.report(missing)
    reported = [(line["event"], line["kind"], line["reason"]) for line in logs]
    event = "worker protection missing"
    parts = ("landlock", "landlock-network", "landlock-scopes")
    assert reported == [
        (event, "seccomp", "no filter for riscv64"),
        *((event, part, "ENOSYS") for part in parts),
    ]
    assert {layer: probe.PROTECTION.labels(layer)._value.get() for layer in sandbox.LAYERS} == {
        "no-new-privileges": 1,
        "seccomp": 0,
        "landlock": 0,
        "landlock-network": 0,
        "landlock-scopes": 0,
    }


def test_this_kernel_confines_workers_and_says_so() -> None:
    found = probe.probe()
    assert found == sandbox.missing()
    assert not {"no-new-privileges", "seccomp"} & set(found), "the tests need a kernel with seccomp"


def test_a_layer_that_is_there_and_refuses_is_no_way_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers would end at once, and what they were to read be blamed for it."""
    with pytest.raises(sandbox.SandboxError, match="ended with 1"):
        probe.probe("swallowtail.cloud.processes.nonexistent")
    monkeypatch.setattr(landlock, "enter", refuses(errno.E2BIG))
    monkeypatch.setattr(sandbox, "_set_no_new_privileges", lambda: None)
    monkeypatch.setattr("os.listdir", lambda _: ["1"])
    with pytest.raises(sandbox.SandboxError, match="offers a layer and refuses it"):
        sandbox.enter()


def test_threads_that_landlock_would_miss_are_no_way_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.listdir", lambda _: ["1", "2"])
    with pytest.raises(sandbox.SandboxError, match="threads"):
        sandbox.enter()
