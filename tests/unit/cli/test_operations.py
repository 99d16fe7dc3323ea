"""What `cloud check`, `backup` and `restore` print, and their exit statuses."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from swallowtail.cli import main
from tests.conformance.invented import NORTH, digest
from tests.unit.cloud.operations.folders import blob, make


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "nice", lambda _: 0)  # the tests' own process keeps its priority
    return asyncio.run(make(tmp_path / "data"))


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["cloud", *map(str, words)])


def test_a_sound_folder_is_told_by_organisation(data: Path) -> None:
    result = run("check", "--data", data)
    assert result.exit_code == 0, result.output
    assert (
        "north: 2 instances in 2 blobs (11 B), 0 waiting for the index, 0 quarantined,"
        in result.output
    )
    assert "no findings; every blob was read whole" in result.output


def test_a_finding_is_told_with_its_remedy_and_the_exit_status_is_1(data: Path) -> None:
    blob(data, NORTH, "plover").unlink()
    result = run("check", "--data", data, "--quick")
    assert result.exit_code == 1
    assert (
        f"blob missing: blob {digest('plover').hex()} of instance 2, organisation north"
        in result.output
    )
    assert "What to do (blob missing): Copy the file from a backup" in result.output
    assert "1 findings; of each blob only the length was compared" in result.output


def test_the_report_is_one_json_object(data: Path) -> None:
    blob(data, NORTH, "plover").unlink()
    report = json.loads(run("check", "--data", data, "--json").stdout)
    assert report["faults"] == 1
    assert report["findings"][0]["fault"] == "blob missing"
    assert report["organisations"][0]["blobs"] == 2


@pytest.mark.parametrize("words", [("check",), ("backup", "--to", "backup")])
def test_what_cannot_be_read_ends_with_3_and_a_remedy(
    tmp_path: Path, data: Path, words: tuple[str, ...]
) -> None:
    result = run(*words, "--data", tmp_path / "nowhere")
    assert result.exit_code == 3
    assert "does not exist; name the data folder of a Cloud" in result.output


def test_a_backup_is_taken_told_and_restored(tmp_path: Path, data: Path) -> None:
    result = run("backup", "--data", data, "--to", tmp_path / "backup", "--keep", 2)
    assert result.exit_code == 0, result.output
    assert "3 blobs (16 B)" in result.output
    assert "It holds patient data and master.key" in result.output
    result = run("restore", tmp_path / "backup", "--data", tmp_path / "again")
    assert result.exit_code == 0, result.output
    assert f"is restored into {tmp_path / 'again'}." in result.output
    assert run("check", "--data", tmp_path / "again").exit_code == 0


def test_what_is_missing_is_listed_and_the_exit_status_is_1(tmp_path: Path, data: Path) -> None:
    blob(data, NORTH, "plover").unlink()
    result = run("backup", "--data", data, "--to", tmp_path / "backup", "--keep", 1)
    assert result.exit_code == 1
    assert (
        f"missing: blob {digest('plover').hex()} of instance 2, organisation north" in result.output
    )
    assert run("restore", tmp_path / "backup", "--data", tmp_path / "again").exit_code == 3
    result = run("restore", tmp_path / "backup", "--data", tmp_path / "again", "--allow-missing")
    assert result.exit_code == 1
    assert "1 data sets are missing or damaged" in result.output


def test_a_restore_without_the_master_key_asks_for_it(tmp_path: Path, data: Path) -> None:
    assert (
        "not the master key"
        in run("backup", "--data", data, "--to", tmp_path / "b", "--without-master-key").output
    )
    assert (
        "holds no master key: copy it to"
        in run("restore", tmp_path / "b", "--data", tmp_path / "again").output
    )
