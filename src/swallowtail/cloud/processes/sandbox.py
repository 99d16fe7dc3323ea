"""The sandbox of worker processes.

After entering it a process has its memory, the socket to its Cloud and the descriptors of a job. It
opens no file by name, creates no process, reaches no network and no other process. So a
compromised decoder gives access to neither the keys nor the database nor another patient's images.

`missing` queries the kernel and changes nothing; `python -m swallowtail.cloud.processes.sandbox`
enters the sandbox and prints the answer, which a Cloud evaluates at its start
(`processes/probe.py`).
"""

import ctypes
import errno
import json
import os
import sys
from typing import Final

from swallowtail.cloud.processes import landlock, seccomp

_SET_NO_NEW_PRIVS: Final = 38
_GET_NO_NEW_PRIVS: Final = 39
LAYERS: Final = ("no-new-privileges", "seccomp", "landlock", "landlock-network", "landlock-scopes")


class SandboxError(Exception):
    """A layer that the kernel offers could not be entered; the process must do no work."""


def missing() -> dict[str, str]:
    """Return the LAYERS that this kernel does not offer, with the reasons."""
    absent = {}
    if _prctl(_GET_NO_NEW_PRIVS, 0) < 0:
        absent["no-new-privileges"] = errno.errorcode.get(ctypes.get_errno(), "unknown error")
    if (reason := seccomp.missing()) is not None:
        absent["seccomp"] = reason
    return absent | landlock.missing()


def enter() -> dict[str, str]:
    """Enter every layer that the kernel offers, and return `missing`; raises SandboxError.

    Everything that is imported or opened by name must be by now. The process must have one thread:
    Landlock restricts the calling one.
    """
    absent = missing()
    # imports cost
    if "landlock" not in absent and len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208
        raise SandboxError("a library has started threads, which Landlock would not restrict")
    try:
        if "no-new-privileges" not in absent:
            _set_no_new_privileges()
        if "landlock" not in absent:
            landlock.enter()
        if "seccomp" not in absent:
            seccomp.enter()
    except OSError as error:
        raise SandboxError(f"the kernel offers a layer and refuses it: {error}") from error
    return absent


def _set_no_new_privileges() -> None:
    if _prctl(_SET_NO_NEW_PRIVS, 1) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _prctl(option: int, value: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    done: int = libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero)
    return done


if __name__ == "__main__":
    sys.stdout.write(json.dumps(enter()))
