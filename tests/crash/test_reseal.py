"""The re-seal is killed, or its disk fails, at every system call.

The folder opens with all that was in it, and it can be ended.
"""

import asyncio
import datetime as dt
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from swallowtail.cloud.data_folder.certificates import ensure_certificate, server_context
from swallowtail.cloud.data_folder.data_folder import DataFolder
from swallowtail.cloud.model.exporting import key_purpose
from swallowtail.cloud.model.tenancy import OPERATOR
from swallowtail.cloud.operations.reseal import reseal
from tests.crash.injection import KILL, Zygote

CALLS = ("write", "fsync", "rename", "unlink")
EFFECTS = {"killed": KILL, "EIO": "error=EIO", "ENOSPC": "error=ENOSPC"}
FEWEST_POINTS = 20
"""Six files are written, each with a write, two fsyncs and a rename, and the database once."""


@pytest.fixture(scope="module")
def zygote():
    zygote = Zygote("tests.crash.sealed")
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def place():
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


def secrets_of(path):
    """What a start of the Cloud finds.

    Pepper, audit keys, and the authority's certificate, whose key must be there.
    """
    folder = DataFolder(path)
    try:
        keys = folder.audit_keyring().keys
        audit = [keys.authenticate(number, "test", b"") for number in (1, 2)]
        server_context(
            *ensure_certificate(folder.path, ["localhost"], dt.datetime.now(dt.UTC), folder.seal)
        )
        with closing(sqlite3.connect(path / "cloud.sqlite3")) as database:
            ((pem,),) = database.execute("SELECT key FROM audit_export").fetchall()
        client = folder.seal.open_key(pem, key_purpose(OPERATOR)).private_numbers().private_value
        return folder.pepper(), audit, (path / "ca.pem").read_bytes(), client
    finally:
        folder.close()


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_point_of_a_reseal(zygote, template, place, effect):
    expected, points = secrets_of(template), 0
    for syscall in CALLS:
        when = 1
        while True:
            folder = place / f"{effect}-{syscall}-{when}"
            shutil.copytree(template, folder)
            run = zygote.run("reseal", folder, syscall, when, EFFECTS[effect])
            where = f"{effect} at {syscall} {when}: exit {run.code}\n{run.log}"
            assert secrets_of(folder) == expected, where
            if run.hit:
                asyncio.run(reseal(folder))
                assert secrets_of(folder) == expected, where
            assert len((folder / "master.key").read_bytes()) == 32, where
            assert (folder / "master.key").read_bytes() != (template / "master.key").read_bytes(), (
                where
            )
            shutil.rmtree(folder)
            if not run.hit:
                break
            points += 1
            when += 1
    assert points >= (FEWEST_POINTS if effect == "killed" else FEWEST_POINTS // 2)
