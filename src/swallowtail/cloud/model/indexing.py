"""The jobs of the index workers, and their results.

Transaction 2, which can be repeated at any time (design, "Cloud").
"""

import msgspec

from swallowtail.cloud.model.imaging import InstanceIdentity, Series, Study
from swallowtail.cloud.model.tenancy import Tenant, Value


class IndexJob(Value, frozen=True, kw_only=True):
    """An instance to be read; claimed until `until`, after which another may claim it."""

    tenant: Tenant
    instance: int
    identity: InstanceIdentity
    sop_class: str
    length: int
    until: float


class BulkValue(Value, frozen=True, kw_only=True):
    """The place of a value: offset and length of it, or of its fragments one pair after the other.

    In a deflated data set the offsets are those of the inflated one.
    """

    spans: tuple[int, ...]
    encapsulated: bool = False


class FrameIndex(Value, frozen=True, kw_only=True):
    """The places of the frames in the blob.

    Per frame, offset and length of its fragments, one pair after the other.

    Empty where frames cannot be distinguished without decoding, or are in a deflated data set. A
    video has one entry: all of it.
    """

    spans: tuple[tuple[int, ...], ...] = ()
    encapsulated: bool = False
    values: dict[str, BulkValue] = msgspec.field(default_factory=dict)
    """What the document names as bulk data, by the end of its BulkDataURI.

    Encapsulated pixel data only where `spans` are empty.
    """


class Indexed(Value, frozen=True, kw_only=True, tag="indexed"):
    """The indexed content of a data set.

    Counts and times in `study` and `series` are ignored: they are the store's.
    """

    tenant: Tenant
    instance: int
    study: Study
    series: Series
    number: int | None = None
    rows: int | None = None
    columns: int | None = None
    frame_count: int | None = None
    """Number of Frames (0028,0008), 1 where an image has none; None: no image."""
    frames: FrameIndex = FrameIndex()
    document: bytes = b""
    """The DICOM JSON of the data set without bulk data (PS3.18 Annex F), zlib-compressed."""


class Quarantined(Value, frozen=True, kw_only=True, tag="quarantined"):
    """The data set cannot be trusted; it is kept, an alarm is raised.

    `problem` is for a person and holds no patient data.
    """

    tenant: Tenant
    instance: int
    problem: str


IndexOutcome = Indexed | Quarantined


class IndexedDocument(Value, frozen=True, kw_only=True):
    """The stored result of indexing one instance; `document` as in Indexed."""

    instance: int
    document: bytes
    frames: FrameIndex
