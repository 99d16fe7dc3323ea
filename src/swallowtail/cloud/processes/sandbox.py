"""What a worker process gives up before it looks at a foreign byte, and what this kernel cannot
take from it.

After that it has its memory, the socket to its Cloud and the descriptors of a job. It opens no file
by name, creates no process, reaches no network and no other process. So whoever takes over a
decoder finds neither the keys nor the database nor another patient's images.

`missing` asks the kernel and changes nothing; `python -m swallowtail.cloud.processes.sandbox`
enters the sandbox and prints the answer, which is how a Cloud finds out at its start
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
    """Return which of LAYERS this kernel does not offer, and why."""
    absent = {}
    if _prctl(_GET_NO_NEW_PRIVS, 0) < 0:
        absent["no-new-privileges"] = errno.errorcode.get(ctypes.get_errno(), "unknown error")
    if (reason := seccomp.missing()) is not None:
        absent["seccomp"] = reason
    return absent | landlock.missing()


def enter() -> dict[str, str]:
    """Enter every layer that the kernel offers; returns `missing`. Raises SandboxError.

    Whatever will be imported or opened by name has been by now. There is one thread yet: Landlock
    restricts the one that calls.
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
