"""Secrets at rest are sealed under the master key: AES-256-GCM, each bound to its purpose."""

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
SEALED: Final = b"swt1"


class SealError(Exception):
    """A secret cannot be opened; the message says which one and what to do."""


class Seal:
    """Seals secrets under the master key; each is bound to its purpose, so that one cannot pass for another."""

    def __init__(self, master: bytes) -> None:
        self._cipher = AESGCM(master)

    def close(self, secret: bytes, purpose: str) -> bytes:
        """Return the sealed form of `secret`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return SEALED + nonce + self._cipher.encrypt(nonce, secret, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Return the secret; raises SealError when it was sealed under another key or for another purpose."""
        nonce, text = sealed[len(SEALED) :][:NONCE_BYTES], sealed[len(SEALED) + NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, text, purpose.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError(
                f"the sealed {purpose} does not open with the master key; restore the key that belongs to it"
            ) from error
