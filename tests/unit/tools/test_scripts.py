"""The scripts that `make` calls.

What they do without being asked, and what they say when they cannot.
"""

import base64
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path("tools").absolute()
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a script of a copy of the project's skeleton, with made-up commands before the real
    ones.
    """
    (tmp_path / "tools").mkdir()
    (tmp_path / "requirements").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("environment", "debian-packages", "debian-packages.txt", "fuzz", "ohif"):
        shutil.copy(TOOLS / name, tmp_path / "tools" / name)
    for lock in ("demo", "dev"):
        (tmp_path / "requirements" / f"{lock}.lock").write_text(lock)
    (tmp_path / "pyproject.toml").write_text("")

    def call(script: str, *arguments: str, **commands: str) -> subprocess.CompletedProcess[str]:
        for name, body in commands.items():
            command = tmp_path / "bin" / name.replace("_", "-")
            command.write_text(f"#!/bin/sh\n{body}\n")
            command.chmod(0o755)
        environment = {
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHON": "python-that-is-not-there",
            "POLICY_RC_D": str(tmp_path / "policy"),
        }
        asked = [str(tmp_path / "tools" / script), *arguments]
        return subprocess.run(
            asked, capture_output=True, text=True, env=environment, timeout=30, check=False
        )

    return call


def test_missing_packages_are_named_where_they_cannot_be_installed(run: Run) -> None:
    ended = run("debian-packages", dpkg_query='[ "$4" = dcmtk ] || echo installed', id="echo 1000")
    assert ended.returncode == 0
    assert "missing: dcmtk. Install them (as root: apt-get install dcmtk)" in ended.stderr


def test_nothing_is_done_when_all_packages_are_there(run: Run) -> None:
    ended = run("debian-packages", dpkg_query="echo installed", apt_get="echo called >&2")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_missing_packages_are_installed_by_root_after_one_update(run: Run, tmp_path: Path) -> None:
    called, policy = tmp_path / "called", tmp_path / "policy"
    apt_get = f'[ "$1" = update ] || sh {policy}; echo "$?" "$@" >> {called}'
    ended = run(
        "debian-packages", "strace", "dcmtk", dpkg_query="exit 1", id="echo 0", apt_get=apt_get
    )
    assert ended.returncode == 0
    assert not policy.exists()
    update, install = called.read_text().splitlines()
    assert update.startswith("0 update")
    assert install.startswith("101 install"), "a server that comes with a package would be started"
    assert install.endswith("strace dcmtk")


def test_without_a_fitting_python_it_says_so(run: Run) -> None:
    ended = run("environment", "demo", dpkg_query="echo installed")
    assert ended.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13" in ended.stderr


def test_an_environment_that_is_a_link_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(tmp_path / "elsewhere")
    assert run("environment", "dev").returncode == 0
    assert not (tmp_path / "elsewhere").exists()


def stamped(folder: Path, lock: str) -> None:
    content = (folder / "requirements" / f"{lock}.lock").read_bytes() + (
        folder / "pyproject.toml"
    ).read_bytes()
    digest = (
        subprocess.run(["sha256sum"], input=content, capture_output=True, check=True)
        .stdout[:16]
        .decode()
    )
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(shutil.which("true") or "")
    (folder / ".venv" / f".installed-{lock}-{digest}").touch()


@pytest.mark.parametrize(
    ("installed", "wanted", "status"),
    [("dev", "dev", 0), ("dev", "demo", 0), ("demo", "demo", 0), ("demo", "dev", 1)],
)
def test_what_is_installed_is_not_installed_again(
    installed: str, wanted: str, status: int, run: Run, tmp_path: Path
) -> None:
    stamped(tmp_path, installed)
    assert run("environment", wanted, dpkg_query="echo installed").returncode == status


def test_another_lock_is_installed_anew(run: Run, tmp_path: Path) -> None:
    stamped(tmp_path, "dev")
    (tmp_path / "requirements" / "dev.lock").write_text("newer")
    assert run("environment", "dev", dpkg_query="echo installed").returncode == 1


def test_fuzzing_without_a_target_is_an_error(run: Run) -> None:
    ended = run("fuzz", "1")
    assert ended.returncode == 1
    assert "no target" in ended.stderr


def pinned(folder: Path, integrity: str) -> None:
    (folder / "requirements" / "ohif.lock").write_text(
        f"# of a test\n@ohif/app 9.9.9 {integrity}\n"
    )


def packed(folder: Path) -> Path:
    """A tarball as npm's are, with one thing that is wanted and one that is not."""
    dist = folder / "package" / "dist"
    (dist / "ort").mkdir(parents=True)
    for file in (dist / "index.html", dist / "ort" / "large.wasm", dist.parent / "LICENSE"):
        file.write_text("x")
    subprocess.run(
        ["tar", "--create", "--gzip", "--file", "app.tgz", "package"], cwd=folder, check=True
    )
    return folder / "app.tgz"


def test_the_viewer_is_unpacked_once_when_it_is_the_one_that_is_pinned(
    run: Run, tmp_path: Path
) -> None:
    tarball = packed(tmp_path)
    pinned(
        tmp_path,
        "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode(),
    )
    npm = f'echo called >> {tmp_path}/called; cp {tarball} "$5"'
    assert [run("ohif", npm=npm).returncode for _ in range(2)] == [0, 0]
    dist = tmp_path / ".make" / "ohif" / "9.9.9" / "dist"
    assert [path.name for path in dist.iterdir()] == ["index.html"]
    assert (tmp_path / "called").read_text() == "called\n"


def test_a_viewer_that_is_not_the_one_that_is_pinned_is_refused(run: Run, tmp_path: Path) -> None:
    tarball = packed(tmp_path)
    pinned(tmp_path, "sha512-of-something-else")
    ended = run("ohif", npm=f'cp {tarball} "$5"')
    assert ended.returncode == 1
    assert "is not what requirements/ohif.lock pins" in ended.stderr
    assert [path.name for path in (tmp_path / ".make" / "ohif").iterdir()] == ["lock"]


def test_a_viewer_that_cannot_be_fetched_is_named(run: Run, tmp_path: Path) -> None:
    pinned(tmp_path, "sha512-of-nothing")
    ended = run("ohif", npm="exit 1")
    assert ended.returncode == 0
    assert "npm cannot fetch @ohif/app@9.9.9" in ended.stderr
