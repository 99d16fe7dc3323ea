"""The file of the audit keys, sealed under the master key.

The change of all chains to a new key.

A chain changes to a newer key with one record that needs the new key (`model.audit.KEYED`). The
keyring notes when all chains have changed, and from then on no chain is changed to that key again:
a chain that was replaced by one of an older key, or of none, would be authenticated by this.
"""

import secrets
from pathlib import Path
from typing import Final

import msgspec
import structlog

from swallowtail.cloud.model.audit import KEY_BYTES, UNKEYED, AuditKeys
from swallowtail.cloud.model.ports.operations import Audit
from swallowtail.cloud.secrets.private_files import write_private
from swallowtail.cloud.secrets.sealing import Seal, SealError

log = structlog.get_logger()

PURPOSE: Final = "audit keys"


class _Kept(msgspec.Struct, frozen=True):
    """The content of the file."""

    keys: dict[int, bytes]
    settled: int
    """The number of the key that all chains have changed to."""


_decode = msgspec.msgpack.Decoder(_Kept).decode


class AuditKeyring:
    """The audit keys of a data folder.

    `settle` has to follow before anything is appended to a chain.
    """

    def __init__(self, path: Path, seal: Seal) -> None:
        self._path, self._seal = path, seal
        self._new = not path.exists()
        if self._new:
            self._kept = _Kept({1: secrets.token_bytes(KEY_BYTES)}, UNKEYED)
        else:
            try:
                self._kept = _decode(seal.open(path.read_bytes(), PURPOSE))
            except msgspec.MsgspecError as error:
                raise SealError(f"{path} holds no audit keys; restore it from a backup") from error
        self.keys = AuditKeys(self._kept.keys)

    async def settle(self, audit: Audit, *, now: float) -> None:
        """Change every chain to the newest key, once.

        Raises SealError when the file is not the one that belongs to the chains.
        """
        newest = await audit.newest_key()
        if newest not in self.keys or (self._new and newest):
            raise SealError(
                f"{self._path} does not have the keys of the audit in the database; restore it from"
                " a backup"
            )
        if self._new:
            self._write(self._kept)
        if self._kept.settled < self.keys.current:
            count = await audit.begin_key(now=now)
            self._write(_Kept(self._kept.keys, self.keys.current))
            log.info("audit chains keyed", count=count)

    def add_key(self) -> None:
        """Add a new key, which all chains change to when the Cloud starts next."""
        self._write(
            _Kept(
                self._kept.keys | {self.keys.current + 1: secrets.token_bytes(KEY_BYTES)},
                self._kept.settled,
            )
        )
        self.keys = AuditKeys(self._kept.keys)

    def reseal(self) -> None:
        """Seal the keys under the newest master key, with a new one.

        The older ones lay beside the older master key.
        """
        if not self._new and not self._seal.is_current(self._path.read_bytes(), PURPOSE):
            self.add_key()

    def _write(self, kept: _Kept) -> None:
        write_private(self._path, self._seal.close(msgspec.msgpack.encode(kept), PURPOSE))
        self._kept, self._new = kept, False
