"""The process that parses.

It receives a job with its blob as a descriptor and sends an outcome, both as MessagePack.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from swallowtail.cloud.model.indexing import IndexJob, IndexOutcome
from swallowtail.cloud.processes.worker_loop import NICE, allow_cpu, confine, serve

MEMORY: Final = 1024 * 1024 * 1024
CPU_SECONDS: Final = 30
CODECS: Final = ("numpy", "PIL", "gdcm", "pylibjpeg", "openjpeg", "rle")
"""What `import pydicom` would load wherever it is installed.

Half of the start, and half of the memory; nothing here decodes.
"""


def main() -> None:
    """Parse until the socket is closed."""
    os.nice(NICE)
    modules: dict[str, Any] = dict.fromkeys(CODECS)
    sys.modules.update(modules)  # importing one of them now fails, and pydicom goes without
    # pydicom, in this process alone
    from swallowtail.cloud.index import character_sets  # noqa: PLC0415
    from swallowtail.cloud.index.parse import parse  # noqa: PLC0415

    character_sets.load()
    read, write = msgspec.msgpack.Decoder(IndexJob).decode, msgspec.msgpack.Encoder().encode

    def work(packed: bytes, descriptors: Sequence[int]) -> bytes:
        job = read(packed)
        allow_cpu(CPU_SECONDS)
        (descriptor,) = descriptors
        with open(descriptor, "rb", closefd=False) as blob:
            blob.seek(0)  # its place is shared with a process that did not survive this job
            outcome: IndexOutcome = parse(job, blob)
        return write(outcome)

    confine(MEMORY, 0)
    serve(work)


if __name__ == "__main__":
    main()
