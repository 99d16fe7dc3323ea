"""The main loop of a worker process.

It receives jobs on the socket that is its stdin, and sends the answers there.

Before it reads a byte from outside it reduces its limits: memory, CPU seconds, file size, priority,
no core dump, and no system calls but those that its work needs (`sandbox`). The pool limits its
time, and kills it. Its stderr is discarded: a traceback could contain a patient's name.
"""

import os
import resource
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from swallowtail.cloud.processes import sandbox

MAX_DESCRIPTORS: Final = 2
MAX_JOB: Final = 4 * 1024 * 1024
NICE: Final = 5
LENGTH: Final = struct.Struct(">I")

Work = Callable[[bytes, Sequence[int]], bytes]


def confine(memory: int, file_size: int) -> None:
    """Confine this process permanently.

    Limits the bytes of address space and of each file that it writes, disables core dumps and
    enters the sandbox.

    It ends when its program does, whose end of the socket is then closed, and not before: a signal
    that is sent to both leaves the job to the program.

    Call it when everything is imported, and before anything from outside is read: nothing can be
    opened by name from then on. Raises SandboxError, which ends the process.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group when the program stops
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sandbox.enter()


def allow_cpu(seconds: int) -> None:
    """Allow so many CPU seconds from now on; beyond them SIGXCPU ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def serve(work: Work) -> None:
    """Do jobs until the socket is closed; the descriptors of a job are closed after it."""
    with socket.socket(fileno=0) as asking:
        while True:
            head, descriptors, _, _ = socket.recv_fds(asking, LENGTH.size, MAX_DESCRIPTORS)
            if len(head) < LENGTH.size:
                return
            job = _take(asking, LENGTH.unpack(head)[0])
            try:
                answer = work(job, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            asking.sendall(LENGTH.pack(len(answer)) + answer)


def _take(asking: socket.socket, size: int) -> bytes:
    if size > MAX_JOB:
        raise OSError("a job is too long")
    taken = bytearray()
    while len(taken) < size:
        piece = asking.recv(size - len(taken))
        if not piece:
            raise EOFError("a job has no end")
        taken += piece
    return bytes(taken)
