"""Instances in another transfer syntax than the one they came in: what is asked, and what comes of it.

What is stored never changes; a transcoded data set is made for one client or one destination and dropped afterwards. `TARGETS` is
all that can be asked for; whether a source can be read is known when a worker has tried, and a failure is a value.
"""

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

LOSSLESS_TARGETS: Final = frozenset({IMPLICIT, EXPLICIT, RLE, JPEG_LOSSLESS, JPEG_LS, JPEG_2000})
"""The pixels stay what they are, so the instance stays the same one."""
TARGETS: Final = LOSSLESS_TARGETS | {JPEG_BASELINE}
"""JPEG baseline loses: the data set says so (PS3.3 C.7.6.1.1.5), under the same SOP Instance UID; ask for it only for viewing."""


class NotTranscoded(Value, frozen=True, kw_only=True):
    """It cannot be had in that transfer syntax; `reason` is for a person and holds no patient data."""

    reason: str
    transient: bool = False
    """The storage or a worker failed, not the instance: another try may succeed."""


class Transcoded(Protocol):
    """A transcoded data set, without preamble and group 0002. Use it as `async with`: its end frees the disk."""

    @property
    def transfer_syntax(self) -> str:
        """Give the one that was asked for."""

    @property
    def length(self) -> int:
        """Give the bytes of the whole data set."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Stream it from its first byte, in pieces of at most 1 MiB; may be called again."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Transcoder(Protocol):
    """Makes instances readable for those who do not take the stored transfer syntax."""

    async def transcode(self, tenant: Tenant, instance: Instance, to_syntax: str) -> Transcoded | NotTranscoded:
        """Give the instance's data set in `to_syntax`; the same syntax as stored is a copy. Takes seconds for a long cine.

        The caller has checked that it may be read; nothing is audited here.
        """
