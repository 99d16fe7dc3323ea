"""The file of the master key: 32 random bytes, or 64 while it is replaced, the newer key first."""

import secrets
from pathlib import Path

from swallowtail.cloud.secrets.private_files import write_private
from swallowtail.cloud.secrets.sealing import KEY_BYTES, Seal, SealError


class MasterKeyFile:
    """The file of the master key; raises SealError, which states the action."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Return whether the file exists."""
        return self.path.exists()

    def create(self) -> None:
        """Write a new key; raises SealError."""
        self._write(secrets.token_bytes(KEY_BYTES))

    def seal(self) -> Seal:
        """Return what seals under the key."""
        return Seal(*self._keys())

    @property
    def is_being_replaced(self) -> bool:
        """Return whether a replacement has begun and not ended."""
        return len(self._keys()) > 1

    def begin_replacement(self) -> Seal:
        """Write a new key before the present one, and return what seals under both.

        One that has begun continues.
        """
        if not self.is_being_replaced:
            self._write(secrets.token_bytes(KEY_BYTES) + self._keys()[0])
        return self.seal()

    def end_replacement(self) -> None:
        """Remove the older key: nothing is sealed under it any more."""
        self._write(self._keys()[0])

    def _keys(self) -> list[bytes]:
        try:
            mode, content = self.path.stat().st_mode, self.path.read_bytes()
        except OSError as error:
            raise SealError(
                f"cannot read {self.path}: {error.strerror}; restore it from a backup"
            ) from error
        if mode & 0o077:
            raise SealError(f"{self.path} can be read by others; run: chmod 600 {self.path}")
        if len(content) not in {KEY_BYTES, 2 * KEY_BYTES}:
            raise SealError(
                f"{self.path} has {len(content)} bytes instead of {KEY_BYTES}; restore it from a"
                " backup"
            )
        return [content[start : start + KEY_BYTES] for start in range(0, len(content), KEY_BYTES)]

    def _write(self, content: bytes) -> None:
        try:
            write_private(self.path, content)
        except OSError as error:
            raise SealError(
                f"cannot write {self.path}: {error.strerror}; its folder must be writable while the"
                " key is made or replaced"
            ) from error
