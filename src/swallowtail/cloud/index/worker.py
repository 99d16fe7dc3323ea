"""The process that parses: a job and the path of its blob come in, an outcome goes out, both as MessagePack."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from swallowtail.cloud.model.indexing import IndexJob, IndexOutcome
from swallowtail.cloud.processes.serving import NICE, allow_cpu, confine, serve

MEMORY: Final = 1024 * 1024 * 1024
CPU_SECONDS: Final = 30
CODECS: Final = ("numpy", "PIL", "gdcm", "pylibjpeg", "openjpeg", "rle")
"""What `import pydicom` would load wherever it is installed: half of the start, and half of the memory; nothing here decodes."""


class Task(msgspec.Struct, frozen=True):
    """A job and where its blob lies."""

    job: IndexJob
    path: str


def main() -> None:
    """Parse until nobody asks any more."""
    os.nice(NICE)
    modules: dict[str, Any] = dict.fromkeys(CODECS)
    sys.modules.update(modules)  # importing one of them now fails, and pydicom goes without
    from swallowtail.cloud.index.parse import parse  # noqa: PLC0415 - pydicom, in this process alone

    read, write = msgspec.msgpack.Decoder(Task).decode, msgspec.msgpack.Encoder().encode

    def work(packed: bytes, _: Sequence[int]) -> bytes:
        task = read(packed)
        allow_cpu(CPU_SECONDS)
        with open(task.path, "rb") as blob:  # noqa: PTH123 - a path as it was given
            outcome: IndexOutcome = parse(task.job, blob)
        return write(outcome)

    confine(MEMORY, 0)
    serve(work)


if __name__ == "__main__":
    main()
