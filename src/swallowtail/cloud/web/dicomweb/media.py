"""The media type of stored pixel data by its transfer syntax (PS3.18 Tables 8.7.3-2 to -5)."""

from typing import Final, NamedTuple

from swallowtail.cloud.data_set.elements import BIG_ENDIAN, DEFLATED
from swallowtail.cloud.model.transcoding import (
    EXPLICIT,
    IMPLICIT,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
)
from swallowtail.cloud.web.dicomweb.accept import OCTETS

_JPEG: Final = "1.2.840.10008.1.2.4."
_IMAGES: Final = {
    **dict.fromkeys((f"{_JPEG}{number}" for number in (50, 51, 57, 70)), "image/jpeg"),
    **dict.fromkeys((f"{_JPEG}{number}" for number in (80, 81)), "image/jls"),
    **dict.fromkeys((f"{_JPEG}{number}" for number in (90, 91)), "image/jp2"),
    **dict.fromkeys((f"{_JPEG}{number}" for number in (92, 93)), "image/jpx"),
    **dict.fromkeys((f"{_JPEG}{number}" for number in (201, 202, 203)), "image/jphc"),
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
_VIDEOS: Final = {
    **dict.fromkeys(
        (f"{_JPEG}{number}" for number in ("100", "100.1", "101", "101.1")), "video/mpeg"
    ),
    **dict.fromkeys(
        (f"{_JPEG}{number}{part}" for number in range(102, 107) for part in ("", ".1")), "video/mp4"
    ),
    **dict.fromkeys((f"{_JPEG}{number}" for number in (107, 108)), "video/mp4"),
}
PIXEL_MEDIA: Final = (OCTETS, *sorted({*_IMAGES.values(), *_VIDEOS.values()}))
"""What stored pixel data may come as."""
_NATIVE: Final = frozenset({IMPLICIT, EXPLICIT, *DEFLATED})


class Offer(NamedTuple):
    """An available representation: a media type in a transfer syntax."""

    media: str
    syntax: str


def transcoded_offers(stored: str) -> list[Offer]:
    """Return what frames can be transcoded to.

    The first of a media type is its default (PS3.18 Table 8.7.3-2).
    """
    targets = (JPEG_LOSSLESS, JPEG_BASELINE, JPEG_LS, JPEG_2000, RLE)
    offers = [Offer(OCTETS, EXPLICIT), *(Offer(_IMAGES[syntax], syntax) for syntax in targets)]
    return [one for one in offers if one not in frame_offers(stored)]


def value_offers(stored: str) -> list[Offer]:
    """Return the offers of a value that is not encapsulated.

    Those of its data set's byte order (PS3.5 A.4).
    """
    return [Offer(OCTETS, BIG_ENDIAN if stored == BIG_ENDIAN else EXPLICIT)]


def frame_offers(stored: str) -> list[Offer]:
    """Return the offers of a frame as it is stored.

    Native ones are the same in both little-endian syntaxes.
    """
    if stored in _NATIVE:
        return [Offer(OCTETS, EXPLICIT)]
    return [Offer(_IMAGES.get(stored) or _VIDEOS.get(stored) or OCTETS, stored)]


def video_type(stored: str) -> str | None:
    """Return the media type of a video; None: the transfer syntax is not one of a video."""
    return _VIDEOS.get(stored)
