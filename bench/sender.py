"""dcmsend, one or eight of them, timed from first start to last end and held to its report.

Every instance must have 0000.
"""

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.sets import Set

DEADLINE: Final = 600.0
_SUCCESS: Final = re.compile(r"with status SUCCESS\s*:\s*(\d+)")


class SendFailedError(Exception):
    """A sender did not get 0000 for everything."""


def send(
    what: Set,
    port: int,
    *,
    called_ae: str,
    senders: int,
    environment: Mapping[str, str],
    folder: Path,
) -> float:
    """Send the whole set over `senders` associations at a time.

    Returns the seconds that it took.
    """
    parts = what.parts(senders)
    reports = [folder / f"report-{number}.txt" for number in range(len(parts))]
    started = time.monotonic()
    running = [
        subprocess.Popen(
            [
                "/usr/bin/dcmsend",
                "-aet",
                "BENCH",
                "-aec",
                called_ae,
                "+crf",
                report,
                "127.0.0.1",
                str(port),
                *part,
            ],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for part, report in zip(parts, reports, strict=True)
    ]
    printed = [
        process.communicate(timeout=DEADLINE)[0].decode(errors="replace") for process in running
    ]
    seconds = time.monotonic() - started
    for process, part, report, output in zip(running, parts, reports, printed, strict=True):
        stored = sum(int(n) for n in _SUCCESS.findall(report.read_text())) if report.exists() else 0
        report.unlink(missing_ok=True)
        if process.returncode != 0 or stored != len(part):
            raise SendFailedError(
                f"dcmsend to port {port} ended with {process.returncode}, 0000 for {stored} of"
                f" {len(part)} instances:\n" + output[-2000:]
            )
    return seconds
