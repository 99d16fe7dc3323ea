"""What holds for every program that a test runs.

It ends when it is told to, and an ERROR in its log is a failure.

The one mechanism behind the fixtures of `rest`, `interop` and `leaks`; `tests/conftest.py` does the
same within the process.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from swallowtail.sim.processes import Program

FAILURES = ("error", "critical")


def errors(log: str) -> Iterator[str]:
    """Give the lines of a program's output that say that it has failed.

    Ours of level error and above, and tracebacks of Python.
    """
    for line in log.splitlines():
        try:
            record = json.loads(line) if line.startswith("{") else {}
        except ValueError:
            record = {}  # its last line, when it was killed meanwhile
        if record.get("level") in FAILURES or line.startswith("Traceback "):
            yield line


def sound(programs: Iterable[Program]) -> None:
    """Fail the test when one of the programs has ended by itself, or has logged an error."""
    for program in programs:
        if (end := program.early_end()) is not None:
            pytest.fail(str(end), pytrace=False)
        quiet(program.output)


def quiet(log: Path) -> None:
    """Fail the test when a program has logged an error."""
    if found := [*errors(log.read_text(encoding="utf-8", errors="replace"))]:
        pytest.fail(
            f"logged as an error, and the test does not expect it ({log}):\n" + "\n".join(found),
            pytrace=False,
        )
