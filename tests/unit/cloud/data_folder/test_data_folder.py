from pathlib import Path

import pytest

from swallowtail.cloud.data_folder.data_folder import DataFolder, DataFolderError
from swallowtail.cloud.secrets.sealing import SealError


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
    with pytest.raises(SealError, match="chmod 600"):
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


def test_the_master_key_may_lie_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "keys" / "master.key"
    elsewhere.parent.mkdir()
    folder = DataFolder(tmp_path / "data", elsewhere)
    pepper = folder.pepper()
    folder.close()
    assert elsewhere.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "data" / "master.key").exists()
    again = DataFolder(tmp_path / "data", elsewhere)
    assert again.pepper() == pepper
    again.close()


def test_a_master_key_that_was_not_moved_yet_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    DataFolder(tmp_path / "data").close()
    with pytest.raises(DataFolderError, match=r"move .*data/master.key there first"):
        DataFolder(tmp_path / "data", tmp_path / "master.key")
    (tmp_path / "data" / "master.key").rename(tmp_path / "master.key")
    DataFolder(tmp_path / "data", tmp_path / "master.key").close()


def test_a_lost_master_key_elsewhere_beside_a_database_is_never_replaced_silently(
    tmp_path: Path,
) -> None:
    folder = DataFolder(tmp_path / "data", tmp_path / "master.key")
    folder.database.touch()
    folder.close()
    (tmp_path / "master.key").unlink()
    for _ in range(2):  # and the folder is not left locked
        with pytest.raises(DataFolderError, match="restore it from a backup"):
            DataFolder(tmp_path / "data", tmp_path / "master.key")


def test_a_folder_for_the_master_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="cannot write"):
        DataFolder(tmp_path / "data", tmp_path / "nowhere" / "master.key")


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65])
def test_a_master_key_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    DataFolder(tmp_path).close()
    (tmp_path / "master.key").write_bytes(b"x" * length)
    with pytest.raises(SealError, match=f"has {length} bytes"):
        DataFolder(tmp_path)
