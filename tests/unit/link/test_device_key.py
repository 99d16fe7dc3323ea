"""The device key: made once, for its owner alone."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from swallowtail.link.device_key import DeviceKeyError, KeyFile


def test_a_key_is_made_once_and_signs(tmp_path: Path):
    first = KeyFile(tmp_path / "state").load()
    second = KeyFile(tmp_path / "state").load()
    assert first.public == second.public
    assert len(first.public) == 32
    Ed25519PublicKey.from_public_bytes(first.public).verify(second.sign(b"nonce"), b"nonce")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["device.key"]


def test_file_and_folder_are_for_the_owner_alone(tmp_path: Path):
    KeyFile(tmp_path / "state").load()
    assert stat.S_IMODE((tmp_path / "state" / "device.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_key_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path):
    KeyFile(tmp_path).load()
    (tmp_path / "device.key").chmod(0o640)
    with pytest.raises(DeviceKeyError, match=r"open to others \(mode 0640\); remedy: chmod 600"):
        KeyFile(tmp_path).load()


def test_a_damaged_key_is_not_replaced_silently(tmp_path: Path):
    (tmp_path / "device.key").touch(mode=0o600)
    with pytest.raises(DeviceKeyError, match="rebind"):
        KeyFile(tmp_path).load()
    assert (tmp_path / "device.key").read_bytes() == b""


def test_a_link_to_another_file_is_not_followed(tmp_path: Path):
    (tmp_path / "elsewhere").write_bytes(bytes(32))
    (tmp_path / "elsewhere").chmod(0o600)
    (tmp_path / "device.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeviceKeyError, match="cannot be read"):
        KeyFile(tmp_path).load()


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DeviceKeyError, match="--state"):
        KeyFile(tmp_path / "file" / "state").load()


def test_what_a_crash_left_behind_is_not_in_the_way(tmp_path: Path):
    (tmp_path / "device.new").write_bytes(b"half")
    assert len(KeyFile(tmp_path).load().public) == 32


def test_key_and_folder_are_fsynced_before_the_key_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(stat.S_ISDIR(os.fstat(fd).st_mode)), real(fd))[1]
    )
    KeyFile(tmp_path).load()
    assert synced == [False, True]
