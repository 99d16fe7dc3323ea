"""The jobs of a pixel worker and its answers.

Each job has two descriptors: the blob, and the file for the result.
"""

import enum

import msgspec

from swallowtail.cloud.model.transcoding import Cause


class Transcode(msgspec.Struct, frozen=True, tag="transcode"):
    """A job: write the complete data set in another transfer syntax."""

    syntax: str
    length: int
    target: str


class TranscodeFrames(msgspec.Struct, frozen=True, tag="frames"):
    """A job: write these frames, from 1, one after the other, in another transfer syntax."""

    syntax: str
    length: int
    target: str
    numbers: tuple[int, ...]

    @property
    def long(self) -> bool:
        """Return whether the job may take long.

        One frame, as viewers request them, does not wait for cines.
        """
        return len(self.numbers) > 1


class Shape(enum.StrEnum):
    """The function that maps values to grey by a window (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


class VoiWindow(msgspec.Struct, frozen=True):
    """A window from the request, instead of the data set's (PS3.18 8.3.5.1.4)."""

    center: float
    width: float
    shape: Shape = Shape.LINEAR


class Viewport(msgspec.Struct, frozen=True):
    """A part of the image, in its pixels, and the size of its rendering (PS3.18 8.3.5.1.3).

    Without a part: the complete image.
    """

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    source_width: float | None = None
    source_height: float | None = None
    """Negative: flipped."""


class Render(msgspec.Struct, frozen=True, tag="render"):
    """A job: write one frame, from 1, in a consumer format."""

    syntax: str
    length: int
    frame: int | None
    """None: the one in the middle."""
    png: bool = False
    quality: int = 90
    window: VoiWindow | None = None
    viewport: Viewport | None = None


class Made(msgspec.Struct, frozen=True, tag="made"):
    """A result, which is the first `length` bytes of the file."""

    length: int
    frames: tuple[int, ...] = ()
    """Bytes of each frame that was asked for."""


class JobRefused(msgspec.Struct, frozen=True, tag="refused"):
    """A job that cannot be done; `reason` is for a person and holds no patient data."""

    cause: Cause
    reason: str


Job = Transcode | TranscodeFrames | Render
Answer = Made | JobRefused
