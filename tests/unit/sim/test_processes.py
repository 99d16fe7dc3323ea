import os
import select
import sys
from pathlib import Path

import pytest

from swallowtail.sim.processes import Program, ProgramFailedError, accepts, free_port

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
child.wait()
"""


def python(code: str, folder: Path) -> Program:
    return Program("program", [sys.executable, "-c", code], folder=folder)


def test_failure_shows_the_last_lines(tmp_path: Path) -> None:
    program = python("print('begin', flush=True); raise SystemExit('out of coffee')", tmp_path)
    with pytest.raises(
        ProgramFailedError,
        match=r"program ended with 1 before: coffee[\s\S]*begin[\s\S]*out of coffee",
    ):
        program.wait_until(lambda: False, seconds=10, what="coffee")


def test_deadline_is_told_and_the_program_stopped(tmp_path: Path) -> None:
    reported = r"tea did not happen within 0\.05 s; its last lines .*\n.*printed nothing"
    with (
        python("import time; time.sleep(60)", tmp_path) as program,
        pytest.raises(ProgramFailedError, match=reported),
    ):
        program.wait_until(lambda: False, seconds=0.05, what="tea")
    assert program.exit_code == -15


def test_children_end_with_the_program(tmp_path: Path) -> None:
    program = python(PARENT, tmp_path)
    program.wait_until(lambda: program.text().endswith("\n"), seconds=10, what="its child's number")
    child = os.pidfd_open(int(program.text()))
    try:
        assert select.select([child], [], [], 0)[0] == []
        program.kill()
        assert program.exit_code == -9
        assert select.select([child], [], [], 10)[0] == [child]
    finally:
        os.close(child)


def test_a_program_that_was_killed_by_somebody_else(tmp_path: Path) -> None:
    program = python("import time; time.sleep(60)", tmp_path)
    os.kill(program.pid, 9)
    assert program.wait(seconds=10) == -9
    assert not program.running


def test_program_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailedError, match="ghost could not be started"):
        Program("ghost", ["/nowhere/ghost"], folder=tmp_path)


def test_ports_are_free_and_given_once() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert not any(map(accepts, ports))


def test_an_end_that_nobody_asked_for_is_told_when_the_context_is_left(tmp_path: Path) -> None:
    program = python("print('enough', flush=True); raise SystemExit(3)", tmp_path)
    with (
        pytest.raises(
            ProgramFailedError, match=r"program ended by itself with 3; its last lines .*\n.*enough"
        ),
        program,
    ):
        select.select([program._end], [], [], 10)


def test_an_end_that_nobody_asked_for_stands_beside_the_failure_that_came_of_it(
    tmp_path: Path,
) -> None:
    program = python("import os; os.kill(os.getpid(), 11)", tmp_path)
    select.select([program._end], [], [], 10)
    with pytest.raises(ConnectionError) as failed, program:
        raise ConnectionError
    assert "program ended by itself with -11" in failed.value.__notes__[0]


def test_an_end_that_was_asked_for_is_no_failure(tmp_path: Path) -> None:
    for end in (
        Program.kill,
        Program.stop,
        lambda one: one.signal(9),
        lambda one: one.wait(seconds=10),
    ):
        with python("import time; time.sleep(0.2)", tmp_path) as program:
            end(program)
        assert program.early_end() is None
