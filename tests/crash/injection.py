"""Faults at single system calls of a running program, by `strace -e inject`.

A SIGKILL, or an error that the kernel did not mean.

The program under test is a *subject*: a function of this repository that a zygote (a process with
everything imported and no threads) forks for every point, so that a point costs a tenth of a second
and not the second that the imports take. A subject prepares itself, says that it is ready and
waits; then strace attaches, the count of its calls begins, and the subject goes. strace counts per
thread.
"""

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

SYSCALLS: Final = ("write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "sendto")
READY_TIMEOUT: Final = 30.0
KILL: Final = "signal=KILL"

Signal = Callable[[], None]
Subject = Callable[[Path, Signal], None]
"""Prepares itself in a folder, calls the second argument (which returns when strace watches), does
its work and returns.
"""


@dataclass(frozen=True)
class Run:
    """How a run of a subject ended."""

    hit: bool
    """The fault was injected."""
    killed: bool
    code: int
    """Exit code; 0 means that the subject did all that it had to do."""
    log: str
    """What strace saw."""


class Zygote:
    """Forks subjects of one module."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.injection", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": "src:."},
        )

    def run(self, subject: str, folder: Path, syscall: str, when: int, effect: str) -> Run:
        """Run a subject with one fault: `effect` at its `when`-th `syscall`."""
        log = folder.with_suffix(".strace")
        pid = self._ask(subject=subject, folder=str(folder))["pid"]
        tracer = subprocess.Popen(
            [_strace(), "-f", "-qq", "-o", str(log), "-e", f"trace={','.join(SYSCALLS)}",
             "-e", f"inject={syscall}:{effect}:when={when}", "-p", str(pid)],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        _wait_until_traced(pid, tracer)
        code = self._ask(go=pid)["code"]
        tracer.communicate(timeout=READY_TIMEOUT)
        text = log.read_text()
        killed = os.WIFSIGNALED(code) and os.WTERMSIG(code) == signal.SIGKILL
        hit = killed if effect == KILL else "(INJECTED)" in text
        return Run(hit, killed, os.waitstatus_to_exitcode(code), text)

    def run_plainly(self, subject: str, folder: Path) -> int:
        """Run a subject without a fault and give its exit code."""
        pid = self._ask(subject=subject, folder=str(folder))["pid"]
        return os.waitstatus_to_exitcode(self._ask(go=pid)["code"])

    def _ask(self, **question: object) -> dict[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the zygote has died")
        return json.loads(answer)

    def close(self) -> None:
        """End the zygote."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(READY_TIMEOUT)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _strace() -> str:
    path = shutil.which("strace")
    if path is None:
        pytest.fail("strace is not installed: apt-get install strace")
    return path


def _wait_until_traced(pid: int, tracer: subprocess.Popen[str]) -> None:
    """Wait until the kernel says that somebody traces the process."""
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
        with contextlib.suppress(subprocess.TimeoutExpired):
            tracer.wait(0.002)
            raise RuntimeError(f"strace ended: {tracer.communicate()[1]}")


def _serve(module: str) -> None:
    """The zygote: fork a subject, tell its pid, let it go when told to, tell how it ended."""
    subjects = importlib.import_module(module)
    gates: dict[int, int] = {}
    for line in sys.stdin:
        question = json.loads(line)
        if "go" in question:
            pid = question["go"]
            os.close(gates.pop(pid))
            answer = {"code": os.waitpid(pid, 0)[1]}
        else:
            pid, gate = _fork(getattr(subjects, question["subject"]), Path(question["folder"]))
            gates[pid] = gate
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _fork(subject: Subject, folder: Path) -> tuple[int, int]:
    ready_in, ready_out = os.pipe()
    gate_in, gate_out = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready_in)
        os.close(gate_out)
        code = 70
        try:
            subject(folder, lambda: _meet(ready_out, gate_in))
            code = 0
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
        except BaseException:  # noqa: BLE001 - the child must not return into the zygote
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(ready_out)
    os.close(gate_in)
    os.read(
        ready_in, 1
    )  # or its end: a subject that fails while it prepares is told by its exit code
    os.close(ready_in)
    return pid, gate_out


def _meet(ready: int, gate: int) -> None:
    os.close(ready)
    os.read(gate, 1)  # returns when the zygote closes its end


if __name__ == "__main__":
    _serve(sys.argv[1])
