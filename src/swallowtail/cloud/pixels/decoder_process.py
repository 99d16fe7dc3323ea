"""The process that decodes.

It receives a blob and a file for the result as descriptors, and opens no file itself.
"""

import os
from collections.abc import Sequence
from typing import Final

import msgspec

from swallowtail.cloud.pixels.jobs import Job, Render, TranscodeFrames
from swallowtail.cloud.processes.worker_loop import NICE, allow_cpu, confine, serve

MEMORY: Final = 1280 * 1024 * 1024
FILE_SIZE: Final = 4 * 1024**3
TRANSCODE_SECONDS: Final = 600
RENDER_SECONDS: Final = 20
"""CPU seconds of a job."""


def main() -> None:
    """Do jobs until the socket is closed."""
    os.nice(NICE)
    # loaded now: later nothing can be
    from PIL import Image, Jpeg2KImagePlugin, JpegPresets  # noqa: PLC0415, F401

    from swallowtail.cloud.index import character_sets  # noqa: PLC0415

    # the codecs, in this process alone
    from swallowtail.cloud.pixels.working import work  # noqa: PLC0415

    character_sets.load()
    Image.preinit()  # BMP, GIF, JPEG, PPM, PNG; Pillow would look for all its formats otherwise
    read, write = msgspec.msgpack.Decoder[Job](Job).decode, msgspec.msgpack.Encoder().encode

    def answer(packed: bytes, descriptors: Sequence[int]) -> bytes:
        job: Job = read(packed)
        short = isinstance(job, Render) or (isinstance(job, TranscodeFrames) and not job.long)
        allow_cpu(RENDER_SECONDS if short else TRANSCODE_SECONDS)
        blob, out = descriptors
        with open(blob, "rb", closefd=False) as source, open(out, "wb", closefd=False) as result:
            made = work(job, source, result)
        return write(made)

    confine(MEMORY, FILE_SIZE)
    serve(answer)


if __name__ == "__main__":
    main()
