"""The data folder of an embedded Cloud.

Who may look into it, who has it open, and the master key that seals its secrets.

DATA/                0700
  lock               held while a Cloud runs on this folder
  master.key         0600, unless --master-key names another; without it sealed secrets are lost
  pepper.sealed      the pepper of codes and tokens
  audit.sealed       the keys of the audit chains
  audit-heads.json   the heads of the audit chains, unless --audit-heads names another file
  ca.pem server.pem  certificates
  ca.key server.key  their keys, sealed
  blobs/             data sets, named by their SHA-256
  pixels/            transcoded data sets while they are sent, without a name; always looks empty
  cloud.sqlite3      everything else, unless it is on a database server:
  database-server    the address of that server, without a password
  restore.incomplete only while `cloud restore` has not ended; the folder is not used meanwhile
"""

import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

import structlog

from swallowtail.cloud.auditing.keyring import AuditKeyring
from swallowtail.cloud.model.audit import AuditKeys
from swallowtail.cloud.secrets.master_key import MasterKeyFile
from swallowtail.cloud.secrets.private_files import write_private
from swallowtail.cloud.secrets.sealing import KEY_BYTES, Seal, SealError

log = structlog.get_logger()

LOCK: Final = "lock"
DATABASE: Final = "cloud.sqlite3"
DATABASE_SERVER: Final = "database-server"
BLOBS: Final = "blobs"
MASTER_KEY: Final = "master.key"
PEPPER: Final = "pepper.sealed"
PEPPER_PURPOSE: Final = "pepper"
AUDIT_KEYS: Final = "audit.sealed"
AUDIT_HEADS: Final = "audit-heads.json"
RESTORING: Final = "restore.incomplete"


class DataFolderError(Exception):
    """The data folder cannot be used; the message states why and what to do."""


class DataFolder:
    """An open data folder; at most one process has it open. Close it when the Cloud has stopped."""

    def __init__(self, path: Path, master_key: Path | None = None) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
        except OSError as error:
            raise DataFolderError(
                f"cannot use {path}: {error.strerror}; name another folder with --data"
            ) from error
        self._lock = lock_folder(
            path, "another Cloud runs on {path}; stop it, or name another folder with --data"
        )
        if (path / RESTORING).exists():
            os.close(self._lock)
            raise DataFolderError(
                f"the restore into {path} has not ended; run `swallowtail cloud restore` again"
            )
        self.blobs = path / BLOBS
        self.database = path / DATABASE
        self.blobs.mkdir(mode=0o700, exist_ok=True)
        self.audit_heads = path / AUDIT_HEADS
        self.pixels = path / "pixels"
        self.pixels.mkdir(mode=0o700, exist_ok=True)
        self.master_key = MasterKeyFile(master_key or path / MASTER_KEY)
        try:
            self.seal = self._open_seal()
        except (DataFolderError, SealError):
            self.close()
            raise

    def pepper(self) -> bytes:
        """Return the pepper of codes and tokens, made at the first start."""
        path = self.path / PEPPER
        if not path.exists():
            self._refuse_if_in_use(path)
            write_private(path, self.seal.close(secrets.token_bytes(KEY_BYTES), PEPPER_PURPOSE))
        return self.seal.open(path.read_bytes(), PEPPER_PURPOSE)

    def reseal_pepper(self) -> None:
        """Seal the pepper under the newest master key."""
        path = self.path / PEPPER
        if not self.seal.is_current(path.read_bytes(), PEPPER_PURPOSE):
            write_private(path, self.seal.close(self.pepper(), PEPPER_PURPOSE))

    def audit_keyring(self) -> AuditKeyring:
        """Return the keys of the audit chains, made at the first start."""
        return AuditKeyring(self.path / AUDIT_KEYS, self.seal)

    def close(self) -> None:
        """Release the folder for another process."""
        os.close(self._lock)

    def _open_seal(self) -> Seal:
        if not self.master_key.exists:
            if self.master_key.path != self.path / MASTER_KEY and (self.path / MASTER_KEY).exists():
                raise DataFolderError(
                    f"{self.master_key.path} is missing; move {self.path / MASTER_KEY} there first"
                )
            self._refuse_if_in_use(self.master_key.path)
            self.master_key.create()
        if self.master_key.is_being_replaced:
            log.warning("master key replacement interrupted")
        return self.master_key.seal()

    def _refuse_if_in_use(self, missing: Path) -> None:
        """Check that no new key is created beside an old database: its codes would be useless."""
        for used in (self.database, self.path / DATABASE_SERVER):
            if used.exists():
                raise DataFolderError(
                    f"{missing} is missing although {used} exists; restore it from a backup"
                )

    def use_server(self, address: str | None) -> None:
        """Note whether the records are on a database server, and where; raises DataFolderError.

        A folder stays with the kind of database that it began with.
        """
        if address is None:
            check_embedded(self.path)
        elif self.database.exists():
            raise DataFolderError(
                f"{self.database} holds the records of this Cloud; serve it without"
                " --database-url, or name another folder with --data"
            )
        else:
            write_private(self.path / DATABASE_SERVER, f"{address}\n".encode())


def check_embedded(path: Path) -> None:
    """Raise DataFolderError where the records of a folder are on a database server."""
    mark = path / DATABASE_SERVER
    if mark.exists():
        raise DataFolderError(
            f"the records of {path} are on a database server ({mark.read_text().strip()}). Serve it"
            " with --database-url; check, save and restore it with PostgreSQL's tools and a copy"
            " of the folder, see docs/runbooks/postgresql.md"
        )


def lock_folder(path: Path, refusal: str) -> int:
    """Lock a folder for this process; return the descriptor that holds the lock until it is closed.

    Raises DataFolderError, with `refusal` and the path in it when another process holds the lock.
    """
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataFolderError(
            f"cannot use {path}: {error.strerror}; name another folder"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise DataFolderError(refusal.format(path=path)) from error
    return lock


def read_audit_keys(data: Path, master_key: Path | None = None) -> AuditKeys:
    """Return the audit keys of a folder without opening it, also while a Cloud serves.

    Raises SealError.
    """
    path = data / AUDIT_KEYS
    if not path.exists():
        raise SealError(f"{path} is missing; restore it from a backup")
    return AuditKeyring(path, MasterKeyFile(master_key or data / MASTER_KEY).seal()).keys
