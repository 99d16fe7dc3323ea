"""The test suites, each under pytest and within its budget, with one table at the end.

    python -m tools.suites [--reports FOLDER] SUITE[@VERSION]=SECONDS[/WORKERS] ...

A suite is the folder of that name under `tests`; `fast` is what a developer runs all day (FAST),
`rest` is what no other covers. `@3.13` runs it on that version of Python, in an environment of its
own; if the machine has no such interpreter, a line is printed. A suite that exceeds its budget has
failed.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

TESTS = Path("tests")
FAST = (
    "unit",
    "tables",
    "property",
    "fuzz",
)  # of fuzz only what needs no fuzzer: `make fuzz` does the rest
BY_FILE = ("interop",)  # the tests of a file share servers, which take longest to start
GRACE = 10.0  # seconds between asking a suite to end and ending it


@dataclass(frozen=True)
class Suite:
    """One line of the table: its folders, its budget in seconds, its processes."""

    name: str
    budget: float
    workers: int
    folders: tuple[Path, ...]
    python: str = sys.executable


@dataclass(frozen=True)
class Outcome:
    """The outcome of one suite.

    `status` is pytest's exit status, None when the budget ended it.
    """

    suite: Suite
    status: int | None
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def held(self) -> bool:
        return self.status == 0 and self.passed > 0


def planned(words: Sequence[str], root: Path = TESTS) -> list[Suite]:
    """Return the suites named by `words` (`world=240/2`).

    Raises ValueError for a word of another form.
    """
    names = [word.partition("=")[0].partition("@")[0] for word in words]
    named = {*(FAST if "fast" in names else ()), *names} - {
        "rest"
    }  # `tests/rest` is one of the folders that nothing else covers
    suites = []
    for word in words:
        label, _, limits = word.partition("=")
        name, _, version = label.partition("@")
        seconds, _, workers = limits.partition("/")
        if name == "fast":
            candidates = [root / folder for folder in FAST]
        elif name == "rest":
            candidates = sorted(
                path for path in root.iterdir() if path.is_dir() and path.name not in named
            )
        else:
            candidates = [root / name]
        folders = tuple(folder for folder in candidates if any(folder.rglob("test_*.py")))
        python = environment_of(version) if version and folders else sys.executable
        if folders and python is not None:
            suites.append(Suite(label, float(seconds), int(workers or 0), folders, python))
    return suites


def environment_of(version: str) -> str | None:
    """Return the interpreter of an environment for a version of Python, created if needed.

    None where the machine lacks it.
    """
    found = subprocess.run(
        ["tools/interpreter", version], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not found:
        print(
            f"suites: not run on Python {version}: this machine has none; install it, or make it"
            " known to pyenv",
            flush=True,
        )
        return None
    folder = f".venv-{version}"
    subprocess.run(
        ["tools/environment", "dev"], env=os.environ | {"VENV": folder, "PYTHON": found}, check=True
    )
    return str(Path(folder, "bin", "python").absolute())


def command(suite: Suite, report: Path) -> list[str]:
    """Return the pytest command line of one suite.

    If a test hangs, faulthandler prints every thread's stack.
    """
    hang = max(10, min(60, int(suite.budget / 3)))
    options = [
        "-q",
        "--durations=5",
        "--durations-min=1",
        f"--junitxml={report}",
        "-o",
        f"faulthandler_timeout={hang}",
    ]
    if suite.workers:
        options += ["-n", str(suite.workers)]
        options += ["--dist", "loadscope" if suite.name in BY_FILE else "worksteal"]
    return [suite.python, "-m", "pytest", *options, *map(str, suite.folders)]


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a suite as Ctrl-C does, so that pytest reports its position.

    Then kill its whole process group.
    """
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def counts(report: Path) -> tuple[int, int, int]:
    """Return the numbers of passed, failed and skipped tests in pytest's report.

    All 0 when there is no report.
    """
    if not report.exists():
        return (0, 0, 0)
    suite = ET.parse(report).find("testsuite")
    if suite is None:
        return (0, 0, 0)
    total, failures, errors, skipped = (
        int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")
    )
    return (total - failures - errors - skipped, failures + errors, skipped)


def run(suite: Suite, reports: Path) -> Outcome:
    """Run one suite to its end or to the end of its budget."""
    report = reports / f"{suite.name}.xml"
    report.unlink(missing_ok=True)
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # as a shell starts its background jobs; pytest would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    print(
        f"\n=== {suite.name}: {' '.join(map(str, suite.folders))} (budget {suite.budget:.0f} s)",
        flush=True,
    )
    start = time.monotonic()
    process = subprocess.Popen(command(suite, report), start_new_session=True)
    status: int | None
    try:
        status = process.wait(suite.budget)
    except subprocess.TimeoutExpired:
        status = None
        end(process)
    except BaseException:
        end(process)
        raise
    return Outcome(suite, status, time.monotonic() - start, *counts(report))


def verdict(outcome: Outcome) -> str:
    """Return one word, or the cause of the failure."""
    if outcome.status is None:
        return "OVER BUDGET, ended"
    return "ok" if outcome.held else f"FAILED (pytest exit {outcome.status})"


def table(outcomes: Sequence[Outcome]) -> str:
    """Return all suites with their times and budgets."""
    lines = [
        "suite       passed  failed  skipped  seconds  budget  verdict",
    ]
    for one in outcomes:
        figures = (
            f"{one.passed:>7} {one.failed:>7} {one.skipped:>8} {one.seconds:>8.1f}"
            f" {one.suite.budget:>7.0f}"
        )
        lines.append(f"{one.suite.name:<10} {figures}  {verdict(one)}")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run the suites; return 0 when every one passed and at least one test ran."""
    parser = argparse.ArgumentParser(description="Runs the test suites, each within its budget.")
    parser.add_argument("suites", nargs="+", metavar="SUITE=SECONDS[/WORKERS]")
    parser.add_argument("--reports", type=Path, default=Path(".make/reports"))
    asked = parser.parse_args(arguments)
    asked.reports.mkdir(parents=True, exist_ok=True)
    outcomes = [run(suite, asked.reports) for suite in planned(asked.suites)]
    passed, failed = sum(one.passed for one in outcomes), sum(one.failed for one in outcomes)
    print(f"\n{table(outcomes)}\n")
    if not passed + failed:
        print("suites: no test ran; at least one must")
    print(
        f"{passed} passed, {failed} failed, {sum(one.skipped for one in outcomes)} skipped",
        flush=True,
    )
    return 0 if passed and all(one.held for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
