"""Instances in another transfer syntax than the one they came in.

Requests and results.

What is stored never changes; a transcoded data set is made for one client or one destination and
dropped afterwards. `TARGETS` is all that can be asked for; whether a source can be read is known
when a worker has tried, and a failure is a value.
"""

import enum
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Protocol, Self

from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.tenancy import Tenant, Value

IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
RLE: Final = "1.2.840.10008.1.2.5"
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.70"
JPEG_LS: Final = "1.2.840.10008.1.2.4.80"
JPEG_2000: Final = "1.2.840.10008.1.2.4.90"

VIDEOS: Final = frozenset(
    f"1.2.840.10008.1.2.4.{number}"
    for number in (*range(100, 109), *(f"{n}.1" for n in range(100, 107)))
)
"""MPEG-2, MPEG-4 and HEVC, also fragmentable (PS3.5 8.2.5 to 8.2.8)."""

LOSSLESS_TARGETS: Final = frozenset({IMPLICIT, EXPLICIT, RLE, JPEG_LOSSLESS, JPEG_LS, JPEG_2000})
"""The pixels stay what they are, so the instance stays the same one."""
TARGETS: Final = LOSSLESS_TARGETS | {JPEG_BASELINE}
"""JPEG baseline is lossy, which the data set states (PS3.3 C.7.6.1.1.5) under the same UID.

Ask for it only for viewing.
"""


class Cause(enum.StrEnum):
    """Why the pixels of an instance cannot be given as they were asked for."""

    UNSUPPORTED = "unsupported"
    """Sound, but not of a kind that can be made into what was asked."""
    MALFORMED = "malformed"
    """Broken, or made to break who reads it."""
    TOO_LARGE = "too-large"
    MISSING = "missing"
    """It has no such frame, or no pixels."""
    TRANSIENT = "transient"
    """The storage or a worker failed, or too much waits.

    Not the instance's fault, so another attempt may succeed.
    """


class NotTranscoded(Value, frozen=True, kw_only=True):
    """A refused transcoding; `reason` is for a person and holds no patient data."""

    reason: str
    cause: Cause = Cause.UNSUPPORTED

    @property
    def transient(self) -> bool:
        """Another attempt may succeed."""
        return self.cause is Cause.TRANSIENT


class Transcoded(Protocol):
    """A transcoded data set, without preamble and group 0002.

    Use it as `async with`: its end frees the disk.
    """

    @property
    def transfer_syntax(self) -> str:
        """The requested transfer syntax."""

    @property
    def length(self) -> int:
        """The bytes of the whole data set."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Stream it from its first byte, in pieces of at most 1 MiB; may be called again."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Transcoder(Protocol):
    """The transcoding of instances to transfer syntaxes in which they are not stored."""

    async def transcode(
        self, tenant: Tenant, instance: Instance, to_syntax: str
    ) -> Transcoded | NotTranscoded:
        """Return the instance's data set in `to_syntax`; the same syntax as stored is a copy.

        Takes seconds for a long cine.

        The caller has checked that it may be read; nothing is audited here.
        """
