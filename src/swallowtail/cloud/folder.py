"""The data folder of an embedded Cloud: who may look into it, who has it open, and the master key that seals its secrets.

DATA/                0700
  lock               held while a Cloud runs on this folder
  master.key         0600, 32 random bytes; without it sealed secrets are lost, so it belongs into the backup of another place
  pepper.sealed      the pepper of codes and tokens
  audit.sealed       the keys of the audit chains
  audit-heads.json   the heads of the audit chains, unless --audit-heads names another file
  ca.pem ca.key server.pem server.key
  blobs/             data sets, named by their SHA-256
  pixels/            where transcoded data sets lie while they are sent, without a name; always empty to look at
  cloud.sqlite3      everything else
  restore.incomplete only while `cloud restore` has not ended; the folder is not used meanwhile
"""

import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

from swallowtail.cloud.auditing.keyring import AuditKeyring
from swallowtail.cloud.model.audit import AuditKeys
from swallowtail.cloud.private_files import write_private
from swallowtail.cloud.sealing import KEY_BYTES, Seal, SealError

LOCK: Final = "lock"
DATABASE: Final = "cloud.sqlite3"
BLOBS: Final = "blobs"
MASTER_KEY: Final = "master.key"
AUDIT_KEYS: Final = "audit.sealed"
AUDIT_HEADS: Final = "audit-heads.json"
RESTORING: Final = "restore.incomplete"


class DataFolderError(Exception):
    """The data folder cannot be used; the message says why and what to do."""


class DataFolder:
    """An open data folder; at most one process has it open. Close it when the Cloud has stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
        except OSError as error:
            raise DataFolderError(f"cannot use {path}: {error.strerror}; name another folder with --data") from error
        self._lock = lock_folder(path, "another Cloud runs on {path}; stop it, or name another folder with --data")
        if (path / RESTORING).exists():
            os.close(self._lock)
            raise DataFolderError(f"the restore into {path} has not ended; run `swallowtail cloud restore` again")
        self.blobs = path / BLOBS
        self.database = path / DATABASE
        self.blobs.mkdir(mode=0o700, exist_ok=True)
        self.audit_heads = path / AUDIT_HEADS
        self.pixels = path / "pixels"
        self.pixels.mkdir(mode=0o700, exist_ok=True)
        self.seal = Seal(self._secret_file(MASTER_KEY))

    def pepper(self) -> bytes:
        """Give the pepper of codes and tokens, made at the first start."""
        path = self.path / "pepper.sealed"
        if not path.exists():
            self._refuse_if_in_use(path)
            write_private(path, self.seal.close(secrets.token_bytes(KEY_BYTES), "pepper"))
        return self.seal.open(path.read_bytes(), "pepper")

    def audit_keyring(self) -> AuditKeyring:
        """Return the keys of the audit chains, made at the first start."""
        return AuditKeyring(self.path / AUDIT_KEYS, self.seal)

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)

    def _secret_file(self, name: str) -> bytes:
        path = self.path / name
        if not path.exists():
            self._refuse_if_in_use(path)
            write_private(path, secrets.token_bytes(KEY_BYTES))
        return _read_master_key(path)

    def _refuse_if_in_use(self, missing: Path) -> None:
        """A new key beside an old database would make every code and token in it useless, silently."""
        if self.database.exists():
            raise DataFolderError(f"{missing} is missing although {self.database} exists; restore it from a backup")


def lock_folder(path: Path, refusal: str) -> int:
    """Lock a folder for this process; return the descriptor that holds the lock until it is closed.

    Raises DataFolderError, with `refusal` and the path in it when another process holds the lock.
    """
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataFolderError(f"cannot use {path}: {error.strerror}; name another folder") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise DataFolderError(refusal.format(path=path)) from error
    return lock


def read_audit_keys(data: Path) -> AuditKeys:
    """Return the audit keys of a folder without opening it, also while a Cloud serves; raises DataFolderError or SealError."""
    path = data / AUDIT_KEYS
    if not path.exists():
        raise SealError(f"{path} is missing; restore it from a backup")
    return AuditKeyring(path, Seal(_read_master_key(data / MASTER_KEY))).keys


def _read_master_key(path: Path) -> bytes:
    try:
        mode, key = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise DataFolderError(f"cannot read {path}: {error.strerror}; restore it from a backup") from error
    if mode & 0o077:
        raise DataFolderError(f"{path} can be read by others; run: chmod 600 {path}")
    if len(key) != KEY_BYTES:
        raise DataFolderError(f"{path} has {len(key)} bytes instead of {KEY_BYTES}; restore it from a backup")
    return key
