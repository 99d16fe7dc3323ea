"""The process that parses: jobs come in on stdin, outcomes go out on stdout, each as four bytes of length and MessagePack.

It gives itself less of everything before it looks at a foreign byte: memory, CPU seconds, priority, no files, no core dump. The
pool gives it wall time, and kills it. Its stderr goes nowhere: a traceback could carry a patient's name.
"""

import os
import resource
import struct
import sys
from typing import BinaryIO, Final

import msgspec

from swallowtail.cloud.model.indexing import IndexJob, IndexOutcome

MEMORY: Final = 1024 * 1024 * 1024
CPU_SECONDS: Final = 30
NICE: Final = 5
LENGTH: Final = struct.Struct(">I")


class Task(msgspec.Struct, frozen=True):
    """A job and where its blob lies."""

    job: IndexJob
    path: str


def main() -> None:
    """Parse until stdin ends."""
    os.nice(NICE)
    from swallowtail.cloud.index.parse import parse  # noqa: PLC0415 - pydicom, in this process alone

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    read, write = msgspec.msgpack.Decoder(Task).decode, msgspec.msgpack.Encoder().encode
    while (packed := _frame(sys.stdin.buffer)) is not None:
        task = read(packed)
        _allow_cpu(CPU_SECONDS)
        with open(task.path, "rb") as blob:  # noqa: PTH123 - a path as it was given
            outcome: IndexOutcome = parse(task.job, blob)
        answer = write(outcome)
        sys.stdout.buffer.write(LENGTH.pack(len(answer)) + answer)
        sys.stdout.buffer.flush()


def _frame(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None


def _allow_cpu(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
