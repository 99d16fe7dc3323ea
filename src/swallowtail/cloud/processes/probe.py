"""The layers of the sandbox that this kernel lacks, found by a process that enters it."""

import json
import subprocess
from collections.abc import Mapping
from typing import Final

import structlog
from prometheus_client import Gauge

from swallowtail.cloud.processes.pool import command_of, environment
from swallowtail.cloud.processes.sandbox import LAYERS, SandboxError

SECONDS: Final = 30.0
PROTECTION: Final = Gauge(
    "swallowtail_worker_protection",
    "1 where worker processes are confined by a layer, 0 where the kernel has none",
    ["layer"],
)

log = structlog.get_logger()


def probe(module: str = "swallowtail.cloud.processes.sandbox") -> dict[str, str]:
    """Enter the sandbox in a process of its own; return what is missing, by layer, and why.

    Takes some 50 ms, so call it in a thread. Raises SandboxError where workers would not run at
    all.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command_of(module),
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(
            f"no process could enter the sandbox ({type(error).__name__})"
        ) from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise SandboxError(
            f"a process that entered the sandbox ended with {done.returncode}: {last}"
        )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def report(missing: Mapping[str, str]) -> None:
    """Log each missing layer once, and set the metric of all."""
    for layer in LAYERS:
        reason = missing.get(layer) or (
            missing.get("landlock") if layer.startswith("landlock") else None
        )
        PROTECTION.labels(layer).set(reason is None)
        if reason is not None:
            log.warning("worker protection missing", kind=layer, reason=reason)
