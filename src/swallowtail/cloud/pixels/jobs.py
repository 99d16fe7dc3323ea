"""What a pixel worker is asked and answers.

With each job come two descriptors: the blob, and the file that the result goes to.
"""

import enum

import msgspec

from swallowtail.cloud.model.transcoding import Cause


class Transcode(msgspec.Struct, frozen=True, tag="transcode"):
    """Write the whole data set in another transfer syntax."""

    syntax: str
    length: int
    target: str


class Frames(msgspec.Struct, frozen=True, tag="frames"):
    """Write these frames, from 1, in another transfer syntax, one behind the other and nothing
    else.
    """

    syntax: str
    length: int
    target: str
    numbers: tuple[int, ...]

    @property
    def long(self) -> bool:
        """Does it take a while? One frame, as viewers ask for them, does not wait for cines."""
        return len(self.numbers) > 1


class Shape(enum.StrEnum):
    """How a window maps values to grey (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


class Window(msgspec.Struct, frozen=True):
    """A window that a client asks for instead of the data set's (PS3.18 8.3.5.1.4)."""

    center: float
    width: float
    shape: Shape = Shape.LINEAR


class Viewport(msgspec.Struct, frozen=True):
    """Which part of the image, in its pixels, fits into how many pixels (PS3.18 8.3.5.1.3).

    No part: all of it.
    """

    width: int
    height: int
    left: float = 0.0
    top: float = 0.0
    source_width: float | None = None
    source_height: float | None = None
    """Negative: flipped."""


class Render(msgspec.Struct, frozen=True, tag="render"):
    """Write one frame, from 1, as everybody can show it."""

    syntax: str
    length: int
    frame: int | None
    """None: the one in the middle."""
    png: bool = False
    quality: int = 90
    window: Window | None = None
    viewport: Viewport | None = None


class Made(msgspec.Struct, frozen=True, tag="made"):
    """The result lies in the file, in its first `length` bytes."""

    length: int
    frames: tuple[int, ...] = ()
    """Bytes of each frame that was asked for."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It cannot be made; `reason` is for a person and holds no patient data."""

    cause: Cause
    reason: str


Job = Transcode | Frames | Render
Answer = Made | Refused
