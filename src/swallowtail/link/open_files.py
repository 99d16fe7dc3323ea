"""The limit on open files and sockets, raised for the connections of every listener."""

import sys
from typing import Final

MOST: Final = 65_536


def raise_open_files() -> int:
    """Raise the soft limit on open files to the hard one, MOST at most, and return it.

    0 on Windows.

    The usual soft limit of 1,024 is less than the connections that a few listeners admit
    (`scp.limits.CONNECTIONS`). Without a file descriptor left, no listener could accept anybody.
    """
    if sys.platform == "win32":
        return 0
    import resource  # noqa: PLC0415 - there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft
