"""What the tests' own set-up makes fail.

An error that was logged, an exception that nobody saw, a slow test in a quick run.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROBES = """
import asyncio, gc, logging
import pytest, structlog

log = structlog.get_logger()

def test_logs_an_error(): log.error("broken")
def test_logs_a_warning(): log.warning("odd")
def test_expects_an_error(logged_errors):
    log.error("broken")
    assert "broken" in logged_errors[0]
def test_captures_an_error():
    with structlog.testing.capture_logs() as lines:
        log.error("broken")
    assert lines
def test_a_foreign_library_logs_an_error(): logging.getLogger("pynetdicom").error("abort")
async def test_loses_an_exception():
    asyncio.get_running_loop().create_future().set_exception(ValueError())
    gc.collect()
def test_has_a_finalizer_that_raises():
    class Broken:
        def __del__(self): raise ValueError
    Broken()
@pytest.mark.slow
def test_is_slow(): pass
"""
PASSED = {
    "test_logs_an_error",  # its call passes, its end does not
    "test_loses_an_exception",
    "test_logs_a_warning",
    "test_expects_an_error",
    "test_captures_an_error",
    "test_a_foreign_library_logs_an_error",
}
ENDED_BADLY = {"test_logs_an_error", "test_loses_an_exception"}


def results(word: str, printed: str) -> set[str]:
    return {
        line.partition("::")[2].split()[0]
        for line in printed.splitlines()
        if line.startswith(word) and "::" in line
    }


@pytest.mark.parametrize(("soak", "slow"), [("0", set()), ("1", {"test_is_slow"})])
def test_probes_end_as_they_should(soak: str, slow: set[str], tmp_path: Path) -> None:
    (tmp_path / "test_probes.py").write_text(PROBES)
    options = ["-c", "pyproject.toml", "-p", "tests.conftest", "-p", "no:cacheprovider", "-rA"]
    asked = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    environment = {**os.environ, "SWALLOWTAIL_SOAK": soak, "PYTHONPATH": f"src{os.pathsep}."}
    printed = subprocess.run(
        asked, capture_output=True, text=True, env=environment, timeout=60, check=False
    ).stdout
    assert results("PASSED", printed) == PASSED | slow, printed
    assert results("ERROR", printed) == ENDED_BADLY, printed
    assert results("FAILED", printed) == {"test_has_a_finalizer_that_raises"}, printed
