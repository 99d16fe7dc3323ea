"""The transcoding of a data set.

It works element by element and frame by frame, so that a long cine needs one frame's memory.
"""

import struct
from collections.abc import Iterable
from typing import BinaryIO, Final

from swallowtail.cloud.data_set.elements import BIG_ENDIAN, UNDEFINED, LocatedElement
from swallowtail.cloud.model.transcoding import EXPLICIT, IMPLICIT, Cause
from swallowtail.cloud.pixels.codecs import LOSSY, Decoder, Encoder, little
from swallowtail.cloud.pixels.elements import SEQUENCE_END, Writer
from swallowtail.cloud.pixels.jobs import Made, Transcode, TranscodeFrames
from swallowtail.cloud.pixels.stored import PixelsRefusedError, StoredImage, unsupported

NATIVE: Final = frozenset({IMPLICIT, EXPLICIT})
MAX_RESULT: Final = 4 * 1024**3 - 1024**2
"""Bytes of a result: lengths and offsets have 32 bits (PS3.5 7.1, A.4)."""
_PIXEL_DATA: Final = 0x7FE00010
_PHOTOMETRIC, _PLANAR = 0x00280004, 0x00280006
_IS_LOSSY, _RATIO, _METHOD = 0x00282110, 0x00282112, 0x00282114
_RATIO_WIDTH: Final = 8
_PIECE: Final = 1024 * 1024


def transcode(job: Transcode, blob: BinaryIO, out: BinaryIO) -> Made:
    """Write the data set in `job.target`; raises PixelsRefusedError and MalformedDataSetError."""
    stored = StoredImage(blob, job.syntax, job.length)
    made = _Result(stored, job.target, out)
    if stored.pixels is None and job.target not in NATIVE:
        raise PixelsRefusedError(Cause.MISSING, "it has no pixels to encode")
    if stored.pixels is None:
        made.elements(stored.rest)
    elif stored.pixels.fragments is None and job.target in NATIVE:
        made.copy()
    else:
        made.image()
    return Made(out.tell())


def transcode_frames(job: TranscodeFrames, blob: BinaryIO, out: BinaryIO) -> Made:
    """Write frames in `job.target`, decoding no others.

    Raises PixelsRefusedError and MalformedDataSetError.

    Their colours are those of the transcoded data set: RGB, unless lossless YBR_FULL is unchanged.
    """
    stored = StoredImage(blob, job.syntax, job.length)
    count = stored.image().frames
    missing = next((number for number in job.numbers if not 1 <= number <= count), None)
    if missing is not None or not job.numbers:
        raise PixelsRefusedError(
            Cause.MISSING, f"it has {count} frames; {missing or 0} is none of them"
        )
    encoded = _Frames(stored, job.target, job.numbers[0] - 1)
    if encoded.encoder is None and encoded.size * len(job.numbers) > MAX_RESULT:
        raise _too_many()
    lengths = []
    for number in job.numbers:
        lengths.append(out.write(encoded.frame(number - 1)))
        if out.tell() > MAX_RESULT:
            raise _too_many()
    return Made(out.tell(), tuple(lengths))


def _too_many() -> PixelsRefusedError:
    return PixelsRefusedError(
        Cause.TOO_LARGE, "so many frames have more than 4 GiB; ask for fewer at once"
    )


class _Frames:
    """The frames of an image in another encoding.

    `begin` (from 0) is decoded at once, since the header depends on its pixels.
    """

    def __init__(self, stored: StoredImage, target: str, begin: int) -> None:
        assert stored.pixels is not None
        self.image = stored.image()
        self._decoder = Decoder(
            stored.located(self.image), stored.data, stored.syntax, stored.pixels.vr, exact=True
        )
        form = self._decoder.format
        if form.allocated == 1 and target in NATIVE:
            raise unsupported("its single bits are encoded")
        self._colour = not (
            form.photometric == "YBR_FULL" and stored.syntax not in LOSSY and target in NATIVE
        )
        self._begin = begin
        self._first, photometric = self._decoder.frame(begin, colour=self._colour)
        self.form = form._replace(photometric=photometric)
        self.encoder = None if target in NATIVE else Encoder(target, self.form)
        self.photometric = photometric if self.encoder is None else self.encoder.photometric
        self.size = self._first.nbytes

    def frame(self, number: int) -> bytes:
        """Return one frame, from 0."""
        pixels = (
            self._first
            if number == self._begin
            else self._decoder.frame(number, colour=self._colour)[0]
        )
        return little(pixels) if self.encoder is None else self.encoder.encode(pixels)


class _Result:
    def __init__(self, stored: StoredImage, target: str, out: BinaryIO) -> None:
        self._stored, self._target, self._out = stored, target, out
        self._writer = Writer(stored, implicit=target == IMPLICIT)
        self._ratio_at = 0

    def elements(self, elements: Iterable[LocatedElement]) -> None:
        """Write elements unchanged."""
        for one in elements:
            self._out.write(self._writer.copied(one))

    def copy(self) -> None:
        """Write the data set, its pixels piece by piece; native ones are unchanged."""
        stored, pixels = self._stored, self._stored.pixels
        assert pixels is not None
        self.elements(one for one in stored.rest if one.tag < pixels.tag)
        length, width = pixels.end - pixels.start, self._width(pixels)
        if length > MAX_RESULT or length % (width or 1):
            raise unsupported(f"its pixels have {length} bytes")
        self._out.write(self._writer.header(pixels.tag, self._vr(pixels), length))
        for begin in range(0, length, _PIECE):
            piece = stored.source.take(pixels.start + begin, min(_PIECE, length - begin))
            self._out.write(self._writer.swapped(pixels.vr, piece, width))
        self.elements(one for one in stored.rest if one.tag > pixels.tag)

    def image(self) -> None:
        """Write the data set, each frame decoded and encoded again."""
        stored, pixels = self._stored, self._stored.pixels
        assert pixels is not None
        source = _Frames(stored, self._target, 0)
        form, count = source.form, source.image.frames
        size = source.size * count
        self._header(source.photometric, form.samples)
        frames = (source.frame(number) for number in range(count))
        if source.encoder is None:
            self._native(frames, size, b"OB" if form.allocated == 8 else b"OW")
        else:
            self._write_ratio(size, self._encapsulated(frames, count))
        self.elements(one for one in stored.rest if one.tag > pixels.tag)

    def _header(self, photometric: str, samples: int) -> None:
        """Write the elements before the pixels, updated for the new encoding."""
        changes = {_PHOTOMETRIC: (b"CS", _even(photometric))}
        if samples > 1:
            changes[_PLANAR] = (b"US", b"\0\0")
        method = LOSSY.get(self._target) or LOSSY.get(self._stored.syntax)
        if self._target in LOSSY:
            changes[_IS_LOSSY] = (b"CS", b"01")
            ratios = _appended(self._value("LossyImageCompressionRatio"), "")
            changes[_RATIO] = (
                b"DS",
                _even(ratios) + b" " * _RATIO_WIDTH,
            )  # known when all is encoded
            changes[_METHOD] = (
                b"CS",
                _even(_appended(self._value("LossyImageCompressionMethod"), LOSSY[self._target])),
            )
        elif method and not self._value("LossyImageCompression"):
            changes[_IS_LOSSY] = (b"CS", b"01")
        kept = {one.tag: one for one in self._stored.rest if one.tag < _PIXEL_DATA}
        for tag in sorted(kept.keys() | changes.keys()):
            if tag in changes:
                self._out.write(self._writer.element(tag, *changes[tag]))
                if tag == _RATIO:
                    self._ratio_at = self._out.tell() - _RATIO_WIDTH
            else:
                self._out.write(self._writer.copied(kept[tag]))

    def _value(self, keyword: str) -> str:
        value = self._stored.data.get(keyword)
        return (
            ""
            if value is None
            else value
            if isinstance(value, str)
            else "\\".join(map(str, _several(value)))
        )

    def _native(self, frames: Iterable[bytes], size: int, vr: bytes) -> None:
        length = size + size % 2
        if length > MAX_RESULT:
            raise PixelsRefusedError(
                Cause.TOO_LARGE,
                f"decoded, its pixels have {size} bytes, more than a length of 32 bits can state",
            )
        self._out.write(self._writer.header(_PIXEL_DATA, vr, length))
        for frame in frames:
            self._out.write(frame)
        self._out.write(bytes(size % 2))

    def _encapsulated(self, frames: Iterable[bytes], count: int) -> int:
        """Write one fragment for each frame, then the Basic Offset Table (PS3.5 A.4)."""
        self._out.write(self._writer.header(_PIXEL_DATA, b"OB", UNDEFINED))
        table_at = self._out.tell() + 8
        self._out.write(struct.pack("<HHI", 0xFFFE, 0xE000, 4 * count) + bytes(4 * count))
        base, offsets = self._out.tell(), []
        for frame in frames:
            offsets.append(self._out.tell() - base)
            if offsets[-1] > MAX_RESULT:
                raise PixelsRefusedError(
                    Cause.TOO_LARGE,
                    "encoded, it is longer than the 4 GiB that an offset table covers",
                )
            self._out.write(
                struct.pack("<HHI", 0xFFFE, 0xE000, len(frame) + len(frame) % 2)
                + frame
                + bytes(len(frame) % 2)
            )
        self._out.write(SEQUENCE_END)
        end = self._out.tell()
        self._out.seek(table_at)
        self._out.write(struct.pack(f"<{count}I", *offsets))
        self._out.seek(end)
        return end - base

    def _write_ratio(self, native: int, encoded: int) -> None:
        if self._ratio_at:
            end = self._out.tell()
            self._out.seek(self._ratio_at)
            self._out.write(f"{native / encoded:.2f}".ljust(_RATIO_WIDTH)[:_RATIO_WIDTH].encode())
            self._out.seek(end)

    def _vr(self, pixels: LocatedElement) -> bytes:
        if pixels.tag != _PIXEL_DATA:
            return pixels.vr
        return (
            b"OB"
            if self._stored.data.get("BitsAllocated", 16) <= 8 and pixels.vr == b"OB"
            else b"OW"
        )

    def _width(self, pixels: LocatedElement) -> int:
        """Return the number of bytes to swap in Big Endian (PS3.5 7.3).

        0 where the VR determines it.
        """
        if self._stored.syntax != BIG_ENDIAN or pixels.vr != b"OW":
            return 0
        return max(2, int(self._stored.data.get("BitsAllocated", 16)) // 8)


def _several(value: object) -> list[object]:
    return (
        list(value) if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
    )


def _even(text: str) -> bytes:
    value = text.encode("ascii")
    return value + b" " * (len(value) % 2)


def _appended(values: str, value: str) -> str:
    return f"{values}\\{value}" if values else value
