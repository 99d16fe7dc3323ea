"""The suite runner: what is planned, what a suite's end means, what is printed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import suites
from tools.suites import Outcome, Suite, planned

PASSING = "def test_it(): assert True\n"


def folder(root: Path, name: str, source: str = PASSING) -> Path:
    path = root / name
    path.mkdir(parents=True)
    (path / f"test_{name}.py").write_text(source)
    return path


def test_plan_takes_the_folders_that_hold_tests(tmp_path: Path) -> None:
    for name in ("unit", "property", "world", "conformance", "rest", "fuzz"):
        folder(tmp_path, name)
    (tmp_path / "crash").mkdir()
    plan = planned(["fast=180/2", "world=240", "crash=120", "rest=60"], tmp_path)
    assert [
        (one.name, one.budget, one.workers, [path.name for path in one.folders]) for one in plan
    ] == [
        ("fast", 180.0, 2, ["unit", "property", "fuzz"]),
        ("world", 240.0, 0, ["world"]),
        ("rest", 60.0, 0, ["conformance", "rest"]),
    ]


def test_every_folder_of_tests_is_in_a_suite_of_make_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "environment_of", lambda _: None)
    asked = subprocess.run(
        ["make", "-n", "test"], capture_output=True, text=True, check=True
    ).stdout
    (command,) = (line for line in asked.splitlines() if " -m tools.suites " in line)
    covered = {
        path.name
        for one in planned(command.partition(" tools.suites ")[2].split())
        for path in one.folders
    }
    assert covered == {
        path.name for path in Path("tests").iterdir() if any(path.rglob("test_*.py"))
    }


@pytest.mark.parametrize("word", ["world", "world=soon", "world=10/many"])
def test_a_budget_that_is_no_number_is_refused(word: str, tmp_path: Path) -> None:
    folder(tmp_path, "world")
    with pytest.raises(ValueError, match=r"convert|invalid"):
        planned([word], tmp_path)


def test_a_suite_for_another_version_of_python_runs_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path, "unit")
    monkeypatch.setattr(suites, "environment_of", lambda version: f"/there/{version}/python")
    here, there = planned(["fast=180/2", "fast@3.13=200/2"], tmp_path)
    assert (here.name, here.python) == ("fast", sys.executable)
    assert (there.name, there.budget, there.folders) == ("fast@3.13", 200.0, here.folders)
    assert suites.command(there, tmp_path / "report.xml")[0] == "/there/3.13/python"


def test_a_version_that_the_machine_lacks_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(tmp_path, "unit")
    assert [one.name for one in planned(["fast=180", "fast@3.9=180"], tmp_path)] == ["fast"]
    assert "not run on Python 3.9: this machine has none" in capsys.readouterr().out


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run suites under a pytest that knows nothing of this project's set-up."""
    monkeypatch.setattr(
        suites,
        "command",
        lambda suite, report: [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-c",
            "/dev/null",
            f"--junitxml={report}",
            *map(str, suite.folders),
        ],
    )


@pytest.mark.parametrize(
    ("source", "status", "counted"),
    [(PASSING, 0, (1, 0, 0)), ("def test_it(): assert False\n", 1, (0, 1, 0)), ("", 5, (0, 0, 0))],
)
@pytest.mark.usefixtures("bare")
def test_a_suite_ends_as_its_tests_do(
    source: str, status: int, counted: tuple[int, int, int], tmp_path: Path
) -> None:
    outcome = suites.run(Suite("world", 60, 0, (folder(tmp_path, "world", source),)), tmp_path)
    assert (outcome.status, (outcome.passed, outcome.failed, outcome.skipped)) == (status, counted)


@pytest.mark.usefixtures("bare")
def test_a_suite_over_its_budget_is_ended_and_has_failed(tmp_path: Path) -> None:
    hang = folder(
        tmp_path, "world", "import threading\n\ndef test_it(): threading.Event().wait()\n"
    )
    outcome = suites.run(Suite("world", 2, 0, (hang,)), tmp_path)
    assert outcome.status is None
    assert not outcome.held
    assert outcome.seconds < 2 + suites.GRACE
    assert "OVER BUDGET" in suites.table([outcome])


def test_no_test_at_all_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suites, "planned", lambda _: [])
    assert suites.main(["world=1", "--reports", str(tmp_path)]) == 1
    assert capsys.readouterr().out.endswith("0 passed, 0 failed, 0 skipped\n")


@pytest.mark.parametrize(("status", "held"), [(0, 0), (5, 1), (1, 1), (2, 1), (None, 1)])
def test_every_suite_must_hold(
    status: int | None, held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, other = Suite("fast", 1, 0, ()), Suite("world", 1, 0, ())
    outcomes = iter([Outcome(good, 0, 0.1, passed=1), Outcome(other, status, 0.1, passed=1)])
    monkeypatch.setattr(suites, "planned", lambda _: [good, other])
    monkeypatch.setattr(suites, "run", lambda *_: next(outcomes))
    assert suites.main(["fast=1", "--reports", str(tmp_path)]) == held
