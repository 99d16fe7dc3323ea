"""Protection of patient data in Link's memory from core dumps and debuggers (threat 28)."""

import ctypes
import os
import sys

import structlog

log = structlog.get_logger()

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def disable_core_dumps() -> None:
    """Forbid core dumps of this process, and reading its memory, to everybody but root.

    Linux; elsewhere the service's settings do.

    Both ways, since each leaves a gap: the limit does not count where `core_pattern` names a
    program (apport, systemd-coredump), the flag is lost by exec. So call it in the process that
    stays.
    """
    if sys.platform != "linux":
        return
    import resource  # noqa: PLC0415 - there is none on Windows

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        failed = ctypes.get_errno()
        log.warning(
            "core dumps partly disabled",
            error=OSError(failed, os.strerror(failed)),
        )
