"""Runs in a worker process: tries what somebody would who has taken over a decoder.

Each returns on success.

Prints nothing: the answer to a job is an error's name, or `done`.
"""

# System calls are called by their own names here.
# ruff: noqa: PTH102, PTH104, PTH108, PTH101, PTH120, PTH208, PTH116, PLW0108
import ctypes
import errno
import mmap
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

from swallowtail.cloud.processes import landlock, sandbox, seccomp, worker_loop

LIBC = ctypes.CDLL(None, use_errno=True)
TEXT = ctypes.create_string_buffer(b"/bin/true")
X86 = os.uname().machine == "x86_64"


def raw(x86: int, aarch64: int, *arguments: Any) -> int:
    """Make a system call by its number; raises OSError."""
    words = [ctypes.c_size_t(one) if isinstance(one, int) else one for one in arguments]
    done: int = LIBC.syscall(ctypes.c_long(x86 if X86 else aarch64), *words)
    if done < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return done


def forked() -> None:
    if os.fork() == 0:
        os._exit(0)


def cloned(flags: int) -> None:
    if raw(56, 220, flags | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)


def sent_descriptor(_: str) -> None:
    own = socket.socket(fileno=0)
    try:
        socket.send_fds(own, [b""], [1])
    finally:
        own.detach()


def sent_elsewhere(_: str) -> None:
    own = socket.socket(fileno=0)
    try:
        own.sendto(b"", "/run/x")
    finally:
        own.detach()


def executable(_: str) -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def made_executable(_: str) -> None:
    memory = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    raw(10, 226, address, 4096, mmap.PROT_READ | mmap.PROT_EXEC)


def reset_filter(_: str) -> None:
    raw(317, 277, 1, 0, ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", 0, 0)))


def tcp(port: str) -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", int(port)))


FORBIDDEN: dict[str, Callable[[str], Any]] = {
    "read a file": lambda path: os.open(path, os.O_RDONLY),
    "write a file": lambda path: os.open(path, os.O_WRONLY),
    "create a file": lambda path: os.open(path + ".new", os.O_CREAT | os.O_WRONLY),
    "truncate a file": lambda path: os.truncate(path, 0),
    "remove a file": lambda path: os.unlink(path),
    "rename a file": lambda path: os.rename(path, path + ".old"),
    "link a file": lambda path: os.link(path, path + ".link"),
    "open one's own descriptor again": lambda _: os.open("/proc/self/fd/0", os.O_RDWR),
    "read the parent's memory": lambda _: os.open(f"/proc/{PARENT}/mem", os.O_RDONLY),
    "list a folder": lambda path: os.listdir(os.path.dirname(path)),
    "make a folder": lambda path: os.mkdir(path + ".d"),
    "learn of a file": lambda path: os.stat(path),
    "change a mode": lambda path: os.chmod(path, 0o777),
    "change the folder": lambda path: os.chdir("/"),
    "make a socket": lambda _: socket.socket(socket.AF_INET),
    "make a local socket": lambda _: socket.socket(socket.AF_UNIX),
    "make a packet socket": lambda _: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "make a pair of sockets": lambda _: socket.socketpair(),
    "send to somebody else": sent_elsewhere,
    "send a descriptor": sent_descriptor,
    "execute": lambda _: os.execv("/bin/true", ["true"]),
    "execute by descriptor": lambda _: raw(322, 281, 0, TEXT, 0, 0, 0x1000),
    "fork": lambda _: forked(),
    "clone": lambda _: cloned(0),
    "clone into a namespace": lambda _: cloned(0x4000_0000),
    "clone3": lambda _: raw(435, 435, ctypes.create_string_buffer(88), 88),
    "unshare": lambda _: raw(272, 97, 0x1000_0000),
    "enter a namespace": lambda _: raw(308, 268, 0, 0),
    "kill the parent": lambda _: os.kill(PARENT, signal.SIGCONT),
    "signal the parent's thread": lambda _: raw(234, 131, PARENT, PARENT, 0),
    "trace the parent": lambda _: raw(101, 117, 16, PARENT, 0, 0),
    "peek into the parent": lambda _: raw(310, 270, PARENT, 0, 0, 0, 0, 0),
    "take the parent's descriptor": lambda _: raw(434, 434, PARENT, 0),
    "limit the parent": lambda _: raw(302, 261, PARENT, 7, 0, ctypes.create_string_buffer(16)),
    "mount": lambda _: raw(165, 40, TEXT, TEXT, TEXT, 0, 0),
    "load a program into the kernel": lambda _: raw(321, 280, 0, 0, 0),
    "set up an io_uring": lambda _: raw(425, 425, 1, ctypes.create_string_buffer(120)),
    "measure the kernel": lambda _: raw(298, 241, 0, 0, 0, 0, 0),
    "handle page faults": lambda _: raw(323, 282, 1),
    "use the kernel's keys": lambda _: raw(250, 219, 0, 0, 0, 0, 0),
    "make a memory file": lambda _: os.memfd_create("x"),
    "make a pipe": lambda _: os.pipe(),
    "map code": executable,
    "make memory code": made_executable,
    "reset the filter": reset_filter,
    "control a device": lambda _: raw(16, 29, 0, 0x5412, TEXT),
    "change the user": lambda _: os.setuid(65_534),
    "open by handle": lambda _: raw(304, 265, 0, TEXT, 0),
    "open with openat2": lambda path: raw(437, 437, 0, TEXT, ctypes.create_string_buffer(24), 24),
    "connect over TCP": tcp,
}
ONLY_LANDLOCK = (
    "read a file",
    "write a file",
    "create a file",
    "truncate a file",
    "remove a file",
    "rename a file",
    "list a folder",
    "make a folder",
    "execute",
    "kill the parent",
    "connect over TCP",
)
"""What Landlock alone refuses, without the filter of system calls."""


def attempt(packed: bytes, _: Sequence[int]) -> bytes:
    """Try one thing: its name and its argument are the job."""
    name, _, argument = packed.decode().partition("\0")
    try:
        FORBIDDEN[name](argument)
    except OSError as error:
        return errno.errorcode[error.errno or 0].encode()
    return b"done"


if __name__ == "__main__":
    PARENT = os.getppid()
    match sys.argv[1]:
        case "landlock":
            seccomp.enter = lambda: None
        case "seccomp":
            landlock.enter = lambda: None
        case "nothing":
            sandbox.enter = dict
    worker_loop.confine(2**30, 2**20)
    worker_loop.serve(attempt)
