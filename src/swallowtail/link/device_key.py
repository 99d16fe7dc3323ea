"""The device key.

Ed25519, made once on this machine, the only thing that Link ever writes (wire §3).

The Cloud binds the security code to it at the first hello, so that a stolen code opens nothing.
When it is lost: `rebind` in the Cloud, then start again.
"""

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE: Final = "device.key"
SIZE: Final = 32


class DeviceKeyError(Exception):
    """The device key cannot be read or made."""


class DeviceKey:
    """The private key of the machine that the security code is bound to."""

    def __init__(self, private: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(private)
        self.public: Final = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        return self._private.sign(message)


class KeyFile:
    """The key in a file of the state folder, for its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def load(self) -> DeviceKey:
        """Return the key, created now when there was none; raises DeviceKeyError."""
        try:
            return DeviceKey(self._read())
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DeviceKeyError(
                f"device key {self._path} cannot be read: {error.strerror}; check --state"
            ) from error
        try:
            return DeviceKey(self._make())
        except OSError as error:
            raise DeviceKeyError(
                f"device key {self._path} cannot be made: {error.strerror}; give --state a folder"
                " that this user can write to"
            ) from error

    def _read(self) -> bytes:
        descriptor = os.open(
            self._path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        )
        with os.fdopen(descriptor, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise DeviceKeyError(
                    f"device key {self._path} is open to others (mode {mode:04o}); remedy: chmod"
                    f" 600 {self._path}"
                )
            private = file.read(SIZE + 1)
        if len(private) != SIZE:
            raise DeviceKeyError(
                f"device key {self._path} has {len(private)} bytes, not {SIZE}; remedy: delete it"
                " and rebind this Link in the Cloud"
            )
        return private

    def _make(self) -> bytes:
        """Write beside and rename, file and folder fsynced.

        A crash leaves the whole key or none.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = Ed25519PrivateKey.generate().private_bytes_raw()
        beside = self._path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        descriptor = os.open(
            beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(private)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        if os.name == "posix":
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return private
