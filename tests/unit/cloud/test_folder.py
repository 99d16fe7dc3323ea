from pathlib import Path

import pytest

from swallowtail.cloud.folder import DataFolder, DataFolderError
from swallowtail.cloud.sealing import Seal, SealError


def test_a_new_folder_is_private_and_keeps_its_pepper(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    pepper = folder.pepper()
    folder.close()
    again = DataFolder(tmp_path / "data")
    assert again.pepper() == pepper
    assert len(pepper) == 32
    again.close()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "master.key").stat().st_mode & 0o777 == 0o600


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with pytest.raises(DataFolderError, match="another Cloud runs on"):
        DataFolder(tmp_path)
    folder.close()
    DataFolder(tmp_path).close()


def test_a_key_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    DataFolder(tmp_path).close()
    (tmp_path / "master.key").chmod(0o640)
    with pytest.raises(DataFolderError, match="chmod 600"):
        DataFolder(tmp_path)


@pytest.mark.parametrize("name", ["master.key", "pepper.sealed"])
def test_a_lost_key_beside_a_database_is_never_replaced_silently(tmp_path: Path, name: str) -> None:
    folder = DataFolder(tmp_path)
    folder.pepper()
    folder.database.touch()
    folder.close()
    (tmp_path / name).unlink()
    with pytest.raises(DataFolderError, match="restore it from a backup"):
        DataFolder(tmp_path).pepper()


def test_a_pepper_sealed_under_another_key_does_not_open(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.pepper()
    folder.close()
    (tmp_path / "master.key").write_bytes(b"x" * 32)
    with pytest.raises(SealError, match="does not open with"):
        DataFolder(tmp_path).pepper()


def test_a_path_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataFolderError, match="--data"):
        DataFolder(tmp_path / "file")


def test_a_sealed_secret_opens_for_its_purpose_alone() -> None:
    seal = Seal(b"k" * 32)
    sealed = seal.close(b"secret", "pepper")
    assert seal.open(sealed, "pepper") == b"secret"
    for wrong in (sealed[:-1], b"", sealed[1:]):
        with pytest.raises(SealError):
            seal.open(wrong, "pepper")
    with pytest.raises(SealError):
        seal.open(sealed, "password")
