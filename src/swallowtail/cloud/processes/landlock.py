"""The Landlock sandbox of worker processes.

A worker process opens no file, binds and connects no TCP port, and signals no process outside.

It is the second layer behind the filter of system calls, with the same rules in another form, so
that one mistake does not matter (`landlock(7)`, Documentation/userspace-api/landlock.rst).
"""

import ctypes
import errno
import os
import struct
from typing import Final

_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
"""The same number on every architecture."""
_VERSION: Final = 1  # LANDLOCK_CREATE_RULESET_VERSION

_FILE_RIGHTS: Final = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
"""Every right over files that exists since a version of the interface."""
_NETWORK_SINCE: Final = 4
_NETWORK: Final = 0x3  # bind and connect of TCP
_SCOPES_SINCE: Final = 6
_SCOPES: Final = 0x3  # abstract UNIX sockets and signals


def version() -> int:
    """Return the version of the kernel's interface; raises OSError where there is none."""
    return _call(_CREATE_RULESET, None, 0, _VERSION)


def missing() -> dict[str, str]:
    """Return the parts that this kernel does not restrict, with the reasons."""
    try:
        found = version()
    except OSError as error:
        return {"landlock": errno.errorcode.get(error.errno or 0, "unknown error")}
    absent = {}
    if found < _NETWORK_SINCE:
        absent["landlock-network"] = f"version {found}"
    if found < _SCOPES_SINCE:
        absent["landlock-scopes"] = f"version {found}"
    return absent


def enter() -> None:
    """Restrict this thread, and those that it starts, permanently; no_new_privs is set.

    Raises OSError.
    """
    found = version()
    rights = max(rights for since, rights in _FILE_RIGHTS.items() if since <= found)
    attributes = [rights]
    if found >= _NETWORK_SINCE:
        attributes.append(_NETWORK)
    if found >= _SCOPES_SINCE:
        attributes.append(_SCOPES)
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    rules = _call(_CREATE_RULESET, packed, len(packed), 0)  # without one rule: nothing is allowed
    try:
        _call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _call(number: int, *arguments: bytes | int | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_size_t(word) if isinstance(word, int) else word for word in arguments]
    done: int = libc.syscall(ctypes.c_long(number), *words)
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done
