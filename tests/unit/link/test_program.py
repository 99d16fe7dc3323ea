"""`link run` as a process: settings, exit codes, what it leaves on disk."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swallowtail.link.cloud_address import SettingError
from swallowtail.link.program import Settings, environment

SOURCE = Path(__file__).parents[3] / "src"


def link(*arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "swallowtail", "link", "run", *arguments],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("SWALLOWTAIL_")},
            "PYTHONPATH": str(SOURCE),
            **(env or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def code(folder: Path) -> Path:
    (folder / "code").write_text("HX86-HC31\n")
    return folder / "code"


def test_flags_and_environment_say_the_same(tmp_path: Path):
    flags = {
        "cloud": "https://c",
        "code_file": tmp_path / "code",
        "ca": None,
        "proxy": "http://p:1",
        "policy": None,
        "state": tmp_path,
        "log_level": "debug",
    }
    found = Settings.of(environment(flags))
    assert found == Settings(
        "https://c", tmp_path / "code", None, "http://p:1", None, tmp_path, "debug"
    )


def test_what_is_missing_is_named():
    with pytest.raises(SettingError, match="SWALLOWTAIL_CODE_FILE"):
        Settings.of({"SWALLOWTAIL_CLOUD": "https://c"})


def test_a_log_level_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(SettingError, match="debug, info, warning, error"):
        Settings.of(
            {
                "SWALLOWTAIL_CLOUD": "https://c",
                "SWALLOWTAIL_CODE_FILE": "code",
                "SWALLOWTAIL_LOG_LEVEL": "loud",
            }
        )


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"cloud": "http://c"}, "--cloud"),
        ({"code_file": "/nowhere/code"}, "--code-file"),
        ({"ca": "/nowhere/ca.pem"}, "--ca"),
        ({"proxy": "socks://x"}, "--proxy"),
        ({"policy": "/nowhere/policy.toml"}, "policy file /nowhere/policy.toml"),
        ({"state": "/dev/null/state"}, "--state"),
    ],
)
def test_each_wrong_setting_is_refused_before_anything_starts(
    tmp_path: Path, broken: dict, says: str
):
    flags = {
        "cloud": "https://c",
        "code_file": code(tmp_path),
        "state": tmp_path / "state",
        **broken,
    }
    with pytest.raises(SettingError, match=says):
        Settings.of(environment(flags)).check()


def test_the_process_reports_the_error_and_exits_with_2(tmp_path: Path):
    process = link(
        "--cloud",
        "https://127.0.0.1:1",
        "--code-file",
        str(tmp_path / "none"),
        "--state",
        str(tmp_path / "state"),
    )
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--code-file" in errors
    assert "Traceback" not in errors


def test_the_process_stops_on_sigterm_and_has_written_nothing_but_its_key(tmp_path: Path):
    settings = {
        "SWALLOWTAIL_CLOUD": "https://127.0.0.1:1",
        "SWALLOWTAIL_CODE_FILE": str(code(tmp_path)),
    }
    process = link(
        "--state",
        str(tmp_path / "state"),
        env={**settings, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "connection failed" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 0, rest
    assert '"phase": "connect"' in lines[-1]
    assert "remedy" in lines[-1]
    assert "HX86" not in "".join(lines) + rest
    assert sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
    ) == ["code", "state/device.key"]
