"""The filter itself, interpreted here.

Every system call of both architectures, with arguments of every kind.
"""

import errno
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swallowtail.cloud.processes import seccomp
from swallowtail.cloud.processes.seccomp import Architecture, SystemCall

PROCESS = 4711
ALLOW, KILL, REFUSE, UNKNOWN = (
    0x7FFF_0000,
    0x8000_0000,
    0x0005_0000 | errno.EPERM,
    0x0005_0000 | errno.ENOSYS,
)
MACHINES = list(Architecture)
words = st.integers(0, 2**64 - 1)


def judged(
    machine: Architecture, number: int, arguments: Sequence[int] = (), *, audit: int | None = None
) -> int:
    """Interpret the filter as the kernel does (Linux, net/core/filter.c).

    What it returns for a call.
    """
    code = seccomp.program(machine, PROCESS)
    instructions = list(struct.iter_unpack("=HBBI", code))
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number, machine.value if audit is None else audit, 0, *padded)
    at, register = 0, 0
    while True:
        operation, yes, no, value = instructions[at]
        at += 1
        match operation:
            case 0x20:
                (register,) = struct.unpack_from("=I", data, value)
            case 0x15:
                at += yes if register == value else no
            case 0x35:
                at += yes if register >= value else no
            case 0x45:
                at += yes if register & value else no
            case 0x06:
                return value
            case _:
                raise AssertionError(operation)


CONDITIONAL = (
    seccomp.MMAP,
    seccomp.MPROTECT,
    seccomp.SENDTO,
    seccomp.CLONE,
    seccomp.CLONE3,
    seccomp.PRLIMIT64,
    seccomp.TGKILL,
    seccomp.NEWFSTATAT,
    seccomp.STATX,
)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_that_is_not_listed_is_refused(machine: Architecture) -> None:
    listed = {machine.number(call) for call in seccomp.ALWAYS.values()}
    conditional = {machine.number(call) for call in CONDITIONAL}
    assert len(listed) == len(seccomp.ALWAYS)
    assert not listed & conditional
    for number in range(1024):
        if number not in conditional:
            assert judged(machine, number) == (ALLOW if number in listed else REFUSE), number


@pytest.mark.parametrize("machine", MACHINES)
def test_the_calls_of_another_architecture_end_the_process(machine: Architecture) -> None:
    other = MACHINES[1 - MACHINES.index(machine)]
    for audit in (other.value, 0x4000_0003, 0):  # that of i386, whose numbers mean something else
        assert judged(machine, machine.number(seccomp.ALWAYS["read"]), audit=audit) == KILL
    if machine is Architecture.X86_64:
        assert judged(machine, 0x4000_0000) == KILL, "x32 has the same AUDIT_ARCH"


@pytest.mark.parametrize("machine", MACHINES)
@given(arguments=st.lists(words, min_size=6, max_size=6))
def test_arguments_decide(machine: Architecture, arguments: list[int]) -> None:
    def verdict(call: SystemCall, *changed: tuple[int, int]) -> int:
        given = list(arguments)
        for index, value in changed:
            given[index] = value
        return judged(machine, machine.number(call), given)

    for code in (seccomp.MMAP, seccomp.MPROTECT):
        assert verdict(code) == (REFUSE if arguments[2] & 4 else ALLOW)
    assert verdict(seccomp.SENDTO) == (REFUSE if arguments[4] else ALLOW)
    assert verdict(seccomp.SENDTO, (4, 0)) == ALLOW
    assert verdict(seccomp.SENDTO, (4, 1 << 32)) == REFUSE
    assert verdict(seccomp.PRLIMIT64, (0, 0)) == ALLOW
    assert verdict(seccomp.PRLIMIT64, (0, PROCESS)) == REFUSE
    assert verdict(seccomp.TGKILL, (0, PROCESS)) == ALLOW
    assert verdict(seccomp.TGKILL, (0, PROCESS + 1)) == REFUSE
    assert verdict(seccomp.NEWFSTATAT) == (ALLOW if arguments[3] & 0x1000 else REFUSE)
    assert verdict(seccomp.STATX) == (ALLOW if arguments[2] & 0x1000 else REFUSE)
    assert verdict(seccomp.CLONE3) == UNKNOWN
    thread = arguments[0] & 0x10000 and not arguments[0] & 0x7E02_0000
    assert verdict(seccomp.CLONE) == (ALLOW if thread else REFUSE)
    assert verdict(seccomp.CLONE, (0, 0x3D0F00)) == ALLOW, "a thread of libc"
    assert verdict(seccomp.CLONE, (0, 0x1200011)) == REFUSE, "a fork"
