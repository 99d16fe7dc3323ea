"""The system calls that a worker process may still make: a seccomp filter, written as BPF by hand.

The calls that decoders and parsers made over all test files are allowed, every other one fails with
EPERM (`seccomp(2)`). Libraries treat that as any failure; killing the process instead would turn a
newer libc's harmless new call into instances that cannot be read.
"""

import ctypes
import enum
import errno
import os
import platform
import struct
from typing import Final, NamedTuple

_SET_MODE_FILTER: Final = 1
_GET_ACTION_AVAILABLE: Final = 2
_ALL_THREADS: Final = 1  # SECCOMP_FILTER_FLAG_TSYNC

_KILL_PROCESS: Final = 0x8000_0000
_ERRNO: Final = 0x0005_0000
_ALLOW: Final = 0x7FFF_0000

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35
_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

_PROT_EXEC: Final = 0x4
_CLONE_THREAD: Final = 0x10000
_NAMESPACES: Final = 0x7E02_0000
_EMPTY_PATH: Final = 0x1000
_X32: Final = 0x4000_0000


class SystemCall(NamedTuple):
    """The numbers of a system call."""

    x86_64: int
    aarch64: int


ALWAYS: Final = {
    "futex": SystemCall(202, 98),
    "read": SystemCall(0, 63),
    "write": SystemCall(1, 64),
    "lseek": SystemCall(8, 62),
    "close": SystemCall(3, 57),
    "recvfrom": SystemCall(45, 207),
    "recvmsg": SystemCall(47, 212),
    "brk": SystemCall(12, 214),
    "munmap": SystemCall(11, 215),
    "mremap": SystemCall(25, 216),
    "madvise": SystemCall(28, 233),
    "getrusage": SystemCall(98, 165),
    "ftruncate": SystemCall(77, 46),
    "fstat": SystemCall(5, 80),
    "pread64": SystemCall(17, 67),
    "pwrite64": SystemCall(18, 68),
    "readv": SystemCall(19, 65),
    "writev": SystemCall(20, 66),
    "clock_gettime": SystemCall(228, 113),
    "clock_getres": SystemCall(229, 114),
    "clock_nanosleep": SystemCall(230, 115),
    "gettimeofday": SystemCall(96, 169),
    "nanosleep": SystemCall(35, 101),
    "getrandom": SystemCall(318, 278),
    "getpid": SystemCall(39, 172),
    "gettid": SystemCall(186, 178),
    "getsockname": SystemCall(51, 204),
    "getsockopt": SystemCall(55, 209),
    "rt_sigaction": SystemCall(13, 134),
    "rt_sigprocmask": SystemCall(14, 135),
    "rt_sigreturn": SystemCall(15, 139),
    "sigaltstack": SystemCall(131, 132),
    "restart_syscall": SystemCall(219, 128),
    "sched_yield": SystemCall(24, 124),
    "sched_getaffinity": SystemCall(204, 123),
    "sysinfo": SystemCall(99, 179),
    "set_robust_list": SystemCall(273, 99),
    "rseq": SystemCall(334, 293),
    "getrlimit": SystemCall(97, 163),
    "setrlimit": SystemCall(160, 164),
    "exit": SystemCall(60, 93),
    "exit_group": SystemCall(231, 94),
}
"""Calls that reach no file, process or machine but those that the worker was started with."""
MMAP: Final = SystemCall(9, 222)
MPROTECT: Final = SystemCall(10, 226)
SENDTO: Final = SystemCall(44, 206)
CLONE: Final = SystemCall(56, 220)
CLONE3: Final = SystemCall(435, 435)
PRLIMIT64: Final = SystemCall(302, 261)
TGKILL: Final = SystemCall(234, 131)
NEWFSTATAT: Final = SystemCall(262, 79)
STATX: Final = SystemCall(332, 291)
SECCOMP: Final = SystemCall(317, 277)


class Architecture(enum.Enum):
    """A processor architecture with its numbers of system calls; the value is its AUDIT_ARCH."""

    X86_64 = 0xC000_003E
    AARCH64 = 0xC000_00B7

    def number(self, call: SystemCall) -> int:
        """Return a call's number on this architecture."""
        return call.x86_64 if self is Architecture.X86_64 else call.aarch64


def architecture() -> Architecture | None:
    """Return the architecture of this process; None where there are no numbers for it."""
    known = {"x86_64": Architecture.X86_64, "aarch64": Architecture.AARCH64}
    return known.get(platform.machine()) if ctypes.sizeof(ctypes.c_void_p) == 8 else None


def _instruction(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _return(action: int) -> bytes:
    return _instruction(_RETURN, action)


def _argument(index: int, *, high: bool = False) -> bytes:
    return _instruction(_LOAD, _ARGUMENTS + 8 * index + 4 * high)


_REFUSE: Final = _return(_ERRNO | errno.EPERM)
_PERMIT: Final = _return(_ALLOW)


def _unless_bits(index: int, bits: int) -> bytes:
    return _argument(index) + _instruction(_ANY_BIT, bits, 0, 1) + _REFUSE + _PERMIT


def _if_bits(index: int, bits: int) -> bytes:
    return _argument(index) + _instruction(_ANY_BIT, bits, 0, 1) + _PERMIT + _REFUSE


def _if_equal(index: int, value: int) -> bytes:
    """Compare all 64 bits: an address is more than 32."""
    low, high = value & 0xFFFF_FFFF, value >> 32
    return (
        _argument(index)
        + _instruction(_EQUAL, low, 0, 3)
        + _argument(index, high=True)
        + _instruction(_EQUAL, high, 0, 1)
        + _PERMIT
        + _REFUSE
    )


def program(machine: Architecture, process: int) -> bytes:
    """Return the filter for a process with this id."""
    conditions = (
        (MMAP, _unless_bits(2, _PROT_EXEC)),  # no code but what was loaded before
        (MPROTECT, _unless_bits(2, _PROT_EXEC)),
        (SENDTO, _if_equal(4, 0)),  # to the peer of its socket, and nobody else
        (NEWFSTATAT, _if_bits(3, _EMPTY_PATH)),  # of a descriptor
        (STATX, _if_bits(2, _EMPTY_PATH)),
        (PRLIMIT64, _if_equal(0, 0)),  # its own
        (TGKILL, _if_equal(0, process)),  # abort()
        # Threads (OpenJPEG), neither processes nor namespaces. libc falls back to clone without
        # clone3, whose flags a filter cannot see.
        (
            CLONE,
            _argument(0)
            + _instruction(_ANY_BIT, _NAMESPACES, 0, 1)
            + _REFUSE
            + _if_bits(0, _CLONE_THREAD),
        ),
        (CLONE3, _return(_ERRNO | errno.ENOSYS)),
    )
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, machine.value, 1, 0),
        _return(_KILL_PROCESS),
        _instruction(_LOAD, _NUMBER),
    ]
    if machine is Architecture.X86_64:
        code += [_instruction(_AT_LEAST, _X32, 0, 1), _return(_KILL_PROCESS)]
    for call in ALWAYS.values():
        code += [_instruction(_EQUAL, machine.number(call), 0, 1), _PERMIT]
    for call, then in conditions:
        code += [_instruction(_EQUAL, machine.number(call), 0, len(then) // 8), then]
    return b"".join([*code, _REFUSE])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def missing() -> str | None:
    """Return why this kernel filters no system calls for us; None where it does."""
    machine = architecture()
    if machine is None:
        return f"no filter for {platform.machine()}"
    libc, action = ctypes.CDLL(None, use_errno=True), ctypes.c_uint32(_KILL_PROCESS)
    number = ctypes.c_long(machine.number(SECCOMP))
    if libc.syscall(number, _GET_ACTION_AVAILABLE, 0, ctypes.byref(action)) == 0:
        return None
    return errno.errorcode.get(ctypes.get_errno(), "unknown error")


def enter() -> None:
    """Filter the system calls of every thread of this process permanently; raises OSError."""
    machine = architecture()
    if machine is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    libc, code = ctypes.CDLL(None, use_errno=True), program(machine, os.getpid())
    described = _Program(len(code) // 8, code)
    number = ctypes.c_long(machine.number(SECCOMP))
    done = libc.syscall(number, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(described))
    if done != 0:
        code_of = ctypes.get_errno() if done < 0 else errno.EBUSY  # a thread that could not follow
        raise OSError(code_of, os.strerror(code_of))
