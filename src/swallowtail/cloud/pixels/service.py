"""Transcoded data sets and rendered frames, made by worker processes.

For clients that cannot read the stored encoding.

A result is a file without a name in the Cloud's own folder, so that no patient data is left when a
process crashes. The worker gets it, and the blob, as descriptors. Both the waiting jobs and the
results that are kept are bounded.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.port_errors import NotFoundError, StorageUnavailableError
from swallowtail.cloud.model.ports.blobs import Blobs
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.cloud.model.transcoding import TARGETS, VIDEOS, Cause, NotTranscoded, Transcoded
from swallowtail.cloud.pixels.jobs import Answer, Job, Made, Render, Transcode, TranscodeFrames
from swallowtail.cloud.processes.pool import WorkerEnd, WorkerProcesses, command_of

COMMAND: Final = command_of("swallowtail.cloud.pixels.decoder_process")
RENDER_WALL: Final = 30.0
TRANSCODE_WALL: Final = 900.0
"""Seconds; a worker's CPU seconds end before them, unless the machine is busy."""
MAX_WAITING: Final = 64
"""Jobs that wait or are worked on."""
MAX_KEPT: Final = 32
"""Results on the disk, which are being made or sent."""
RESERVE: Final = 2 * 1024**3
"""Free bytes that stay for what hospitals send."""
PIECE: Final = 1024 * 1024


class Pixels:
    """The transcoder and renderer (`model.transcoding.Transcoder`); `close` ends the workers.

    The caller has checked that the principal may read the instances.
    """

    def __init__(
        self,
        blobs: Blobs,
        folder: Path,
        *,
        size: int | None = None,
        command: tuple[str, ...] = COMMAND,
        render_wall: float = RENDER_WALL,
        transcode_wall: float = TRANSCODE_WALL,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._blobs, self._folder = blobs, folder
        self._render_wall, self._transcode_wall, self._max_waiting = (
            render_wall,
            transcode_wall,
            max_waiting,
        )
        size = size or max(2, (os.cpu_count() or 1) // 2)
        self._processes = WorkerProcesses(command, size)
        self._long = asyncio.Semaphore(max(1, size - 1))  # a picture does not wait for a cine
        self._waiting = 0
        self._kept = 0
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder[Answer](Answer).decode

    async def transcode(
        self, tenant: Tenant, instance: Instance, to_syntax: str
    ) -> Transcoded | NotTranscoded:
        """Return the data set in another transfer syntax (`Transcoder`)."""
        syntax = instance.identity.transfer_syntax
        if syntax == to_syntax:
            return _AsStored(self._blobs, tenant, instance)
        if to_syntax not in TARGETS:
            return NotTranscoded(reason="nobody here writes that transfer syntax")
        if syntax in VIDEOS:
            return NotTranscoded(reason="it is a video, whose frames are nowhere decoded")
        job = Transcode(syntax, instance.length, to_syntax)
        return await self._make(tenant, instance, job, self._transcode_wall, self._long)

    async def frames(
        self, tenant: Tenant, instance: Instance, to_syntax: str, numbers: Sequence[int]
    ) -> "TranscodedFrames | NotTranscoded":
        """Return frames, from 1, in another transfer syntax; no others are decoded."""
        syntax = instance.identity.transfer_syntax
        if to_syntax not in TARGETS:
            return NotTranscoded(reason="nobody here writes that transfer syntax")
        if syntax in VIDEOS:
            return NotTranscoded(reason="it is a video, whose frames are nowhere decoded")
        job = TranscodeFrames(syntax, instance.length, to_syntax, tuple(numbers))
        wall, turn = (self._transcode_wall, self._long) if job.long else (self._render_wall, None)
        return await self._make(tenant, instance, job, wall, turn)

    async def render(
        self, tenant: Tenant, instance: Instance, job: Render
    ) -> bytes | NotTranscoded:
        """Return a frame as JPEG or PNG."""
        if job.syntax in VIDEOS:
            return NotTranscoded(
                reason="it is a video, whose frames are nowhere decoded; ask for video/mp4"
            )
        made = await self._make(tenant, instance, job, self._render_wall, None)
        if isinstance(made, NotTranscoded):
            return made
        async with made:
            return b"".join([piece async for piece in made.pieces()])

    async def close(self) -> None:
        """End the workers; call it when no job is running."""
        await self._processes.close()

    async def _make(
        self,
        tenant: Tenant,
        instance: Instance,
        job: Job,
        wall: float,
        turn: asyncio.Semaphore | None,
    ) -> "TranscodedFrames | NotTranscoded":
        if self._waiting >= self._max_waiting or self._kept >= MAX_KEPT:
            return NotTranscoded(reason="too many others wait for pixels", cause=Cause.TRANSIENT)
        self._waiting += 1
        try:
            with ExitStack() as files:
                blob = await self._opened(tenant, instance)
                files.callback(os.close, blob)
                result = TranscodedFrames(self, self._unnamed(), getattr(job, "target", ""))
                files.callback(result.drop)
                async with turn or _Nobody():
                    answer = await self._asked(job, (blob, result.descriptor), wall)
                if isinstance(answer, NotTranscoded):
                    return answer
                result.length, result.frames = answer.length, answer.frames
                files.pop_all()
                os.close(blob)
                return result
        except NotFoundError:
            return NotTranscoded(
                reason="its blob is missing; restore it from a backup", cause=Cause.TRANSIENT
            )
        except (StorageUnavailableError, OSError) as error:
            return NotTranscoded(
                reason=f"the Cloud's disk has no space for it ({type(error).__name__})",
                cause=Cause.TRANSIENT,
            )
        finally:
            self._waiting -= 1

    async def _asked(
        self, job: Job, descriptors: tuple[int, int], wall: float
    ) -> Made | NotTranscoded:
        packed = self._encode(job)
        crashed = frozenset({WorkerEnd.CRASHED})
        answer = await self._processes.ask(
            packed, self._decode, wall_seconds=wall, descriptors=descriptors, again=crashed
        )
        match answer:
            case Made():
                return answer
            case WorkerEnd.CRASHED:
                reason = "two decoder workers crashed on this instance"
                return NotTranscoded(reason=reason, cause=Cause.MALFORMED)
            case WorkerEnd.CPU:
                return NotTranscoded(
                    reason="decoding it takes longer than the CPU time of a worker",
                    cause=Cause.MALFORMED,
                )
            case WorkerEnd.WALL:
                return NotTranscoded(
                    reason=f"it was not ready after {wall:.0f} s", cause=Cause.TRANSIENT
                )
            case _:
                return NotTranscoded(reason=answer.reason, cause=answer.cause)

    async def _opened(self, tenant: Tenant, instance: Instance) -> int:
        """Return a descriptor of the blob, or of a copy of it where the store has no files."""
        sha256 = instance.identity.sha256
        path = self._blobs.path(tenant, sha256)
        if path is not None:
            try:
                return os.open(
                    path, os.O_RDONLY | os.O_CLOEXEC
                )  # not in a thread: who is cancelled meanwhile would leave it open
            except FileNotFoundError as error:
                raise NotFoundError from error
        copy = self._unnamed()
        with copy:
            async for piece in self._blobs.read(tenant, sha256):
                await asyncio.to_thread(copy.write, piece)
            return os.dup(copy.fileno())

    def _unnamed(self) -> IO[bytes]:
        found = os.statvfs(self._folder)
        if found.f_frsize * found.f_bavail < RESERVE:
            raise OSError("the disk is nearly full")
        return tempfile.TemporaryFile(dir=self._folder, buffering=0)

    def keep(self, change: int) -> None:
        """Count a result that was written to the disk or removed from it."""
        self._kept += change


class _Nobody:
    """A context manager for a job that waits for no other."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


class TranscodedFrames:
    """A result on the disk (`Transcoded`); `frames` holds the lengths of requested frames."""

    def __init__(self, owner: Pixels, file: IO[bytes], syntax: str) -> None:
        self._owner, self._file = owner, file
        self.transfer_syntax, self.length = syntax, 0
        self.frames: tuple[int, ...] = ()
        owner.keep(1)

    @property
    def descriptor(self) -> int:
        """Return the descriptor that the worker writes to."""
        return self._file.fileno()

    def drop(self) -> None:
        """Free the disk space."""
        if not self._file.closed:
            self._file.close()
            self._owner.keep(-1)

    def __del__(self) -> None:
        """Free the disk space of an answer that ended before its body began."""
        self.drop()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Stream the result (`Transcoded`)."""
        async for piece in self.read([(0, self.length)]):
            yield piece

    async def read(self, spans: Sequence[tuple[int, int]]) -> AsyncIterator[bytes]:
        """Stream ranges of the result, given by start and length, one after the other."""
        for begin, length in spans:
            for start in range(begin, begin + length, PIECE):
                size = min(PIECE, begin + length - start)
                piece = await asyncio.to_thread(os.pread, self.descriptor, size, start)
                if len(piece) < size:
                    raise StorageUnavailableError("what was transcoded ends early")
                yield piece

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.drop()


class _AsStored:
    """A result that needs no transcoding (`Transcoded`)."""

    def __init__(self, blobs: Blobs, tenant: Tenant, instance: Instance) -> None:
        self._blobs, self._tenant, self._instance = blobs, tenant, instance
        self.transfer_syntax, self.length = instance.identity.transfer_syntax, instance.length

    async def pieces(self) -> AsyncIterator[bytes]:
        """Stream the stored bytes (`Transcoded`)."""
        async for piece in self._blobs.read(self._tenant, self._instance.identity.sha256):
            yield piece

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None
