"""The commit path dies, or its disk fails, at every single system call.

What was acknowledged is there, the rest can be sent again.

`make test` takes every point of a SIGKILL and every third of the errors, `make soak` all of them.
"""

import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from tests.crash.injection import KILL, SYSCALLS, Zygote
from tests.crash.subjects import FAILED, FATAL
from tests.modes import SOAK

EFFECTS = {"killed": KILL, "EIO": "error=EIO", "ENOSPC": "error=ENOSPC"}
DISK_CALLS = tuple(name for name in SYSCALLS if name != "sendto")
"""A disk's errors are no socket's: at a `sendto` they would only cut asyncio's own wake-up pipe."""
FEWEST_POINTS = 20
"""The path from the first byte to the answer makes more calls than this.

Fewer mean that the sweep did not look there.
"""


@pytest.fixture(scope="module")
def zygote():
    zygote = Zygote("tests.crash.subjects")
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def place():
    """Memory where there is some.

    A SIGKILL spares the page cache, so the disk's own speed would only cost time.
    """
    with tempfile.TemporaryDirectory(
        dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    ) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def template(zygote, place):
    folder = place / "template"
    folder.mkdir()
    assert zygote.run_plainly("provision", folder) == 0
    return folder


class Point:
    """One run of a subject with one fault, and what a restart finds."""

    def __init__(self, zygote, template, folder, syscall, when, effect, subject="store"):
        shutil.copytree(template, folder)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as answers:
            answers.bind(str(folder / "answers"))
            answers.setblocking(False)
            self.run = zygote.run(subject, folder, syscall, when, effect)
            self.answer = _received(answers)
        assert zygote.run_plainly("inspect", folder) == 0
        self.report = json.loads((folder / "report.json").read_text())
        self.where = (
            f"{effect} at {syscall} {when}: exit {self.run.code}, answered {self.answer}, found"
            f" {self.report}\n{self.run.log}"
        )

    def judge(self):
        """Hold it to the promises (reliability P1, P2, P3)."""
        before, after = self.report["before"], self.report["after"]
        if self.answer == b"0000":
            assert before == [[True, True]], self.where
        assert all(whole for _, whole in before), self.where
        assert self.report["resent"], self.where
        assert after == [[True, True]], self.where
        assert self.report["audit"], self.where


def _received(answers):
    try:
        return answers.recv(16)
    except BlockingIOError:
        return None


def _failed_fsync(run):
    return any(
        "fsync" in line or "fdatasync" in line
        for line in run.log.splitlines()
        if "(INJECTED)" in line
    )


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_point_between_the_first_byte_and_the_answer(
    zygote, template, place, effect, record_property
):
    points = 0
    for syscall in SYSCALLS if effect == "killed" else DISK_CALLS:
        step = 1 if SOAK or effect == "killed" else 3
        when = 1
        while True:
            folder = place / f"{effect}-{syscall}-{when}"
            point = Point(zygote, template, folder, syscall, when, EFFECTS[effect])
            if not point.run.hit:
                assert point.answer == b"0000", point.where
                break
            point.judge()
            if effect != "killed" and _failed_fsync(point.run):
                assert point.run.code == FATAL, point.where
            elif effect != "killed" and point.answer != b"0000":
                assert point.run.code in {FATAL, FAILED}, point.where
            points += 1
            when += step
            shutil.rmtree(folder)
    record_property("points", points)
    print(f"{effect}: {points} points")
    assert points >= (FEWEST_POINTS if effect == "killed" else FEWEST_POINTS // 4)


def test_every_point_of_a_purge_a_sweep_and_the_store_after_them(
    zygote, template, place, record_property
):
    points = 0
    for syscall in SYSCALLS:
        when = 1
        while True:
            folder = place / f"sweep-{syscall}-{when}"
            point = Point(zygote, template, folder, syscall, when, KILL, "sweep")
            if not point.run.hit:
                assert point.answer == b"0000", point.where
                break
            point.judge()
            points += 1
            when += 1
            shutil.rmtree(folder)
    record_property("points", points)
    assert points >= 2 * FEWEST_POINTS
