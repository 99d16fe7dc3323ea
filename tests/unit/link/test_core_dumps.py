"""A process that holds patients leaves no core: asked of the kernel, in a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src"
FACTS = """
import ctypes, resource
PR_GET_DUMPABLE = 3
limit = resource.getrlimit(resource.RLIMIT_CORE)
print(limit, ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
"""
DISABLE = "from swallowtail.link.core_dumps import disable_core_dumps; disable_core_dumps()\n"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere the service's settings do it"
)


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_kernel_is_configured(tmp_path: Path) -> None:
    before = python(FACTS, tmp_path).stdout
    assert before.endswith(" 1\n")  # as every process begins
    assert python(DISABLE + FACTS, tmp_path).stdout == "(0, 0) 0\n"


def test_a_crash_leaves_nothing(tmp_path: Path) -> None:
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    unlimited = (
        "import resource; resource.setrlimit(resource.RLIMIT_CORE,"
        " (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)\n"
    )
    assert python(unlimited + DISABLE + crash, tmp_path).returncode == -signal.SIGSEGV
    assert [*tmp_path.iterdir()] == []


def test_the_limit_cannot_be_raised_again_by_the_process_itself(tmp_path: Path) -> None:
    drop = "import os, resource; os.geteuid() == 0 and os.setuid(65534)\n"
    again = "resource.setrlimit(resource.RLIMIT_CORE, (1, 1))"
    assert "ValueError" in python(DISABLE + drop + again, tmp_path).stderr
