"""Secrets at rest are sealed under the master key (ADR 0019).

- A secret (pepper, audit keys, a value in the database) is encrypted with AES-256-GCM and bound to
  its purpose.
- A private key is an encrypted PKCS#8 file (PBES2), since OpenSSL loads keys from PEM files alone.
  Its passphrase is derived from the master key and the purpose.

While the master key is replaced there are two, the newer one first: what is sealed takes the first,
what is opened tries both.
"""

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
SEALED: Final = b"swt1"
_ENCRYPTED_PEM: Final = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_PASSPHRASE: Final = b"swallowtail private key 1\0"


class SealError(Exception):
    """A secret cannot be opened; the message states which one and what to do."""


class Seal:
    """The sealing of secrets under the master key.

    Each is bound to its purpose, so that one cannot pass for another.
    """

    def __init__(self, *masters: bytes) -> None:
        if not masters or any(len(master) != KEY_BYTES for master in masters):
            raise ValueError(f"a master key has {KEY_BYTES} bytes")
        self._masters = masters

    def close(self, secret: bytes, purpose: str) -> bytes:
        """Return the sealed form of `secret`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return SEALED + nonce + AESGCM(self._masters[0]).encrypt(nonce, secret, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Return the secret.

        Raises SealError when it was sealed under another key or for another purpose.
        """
        for master in self._masters:
            if (secret := _opened(master, sealed, purpose)) is not None:
                return secret
        raise _unopened(purpose)

    def is_current(self, sealed: bytes, purpose: str) -> bool:
        """Return whether a secret is sealed under the newest master key."""
        return _opened(self._masters[0], sealed, purpose) is not None

    def close_key(self, key: PrivateKeyTypes, purpose: str) -> bytes:
        """Return a private key as an encrypted PEM file, which `passphrase` opens."""
        encryption = serialization.BestAvailableEncryption(_passphrase(self._masters[0], purpose))
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )

    def open_key(self, pem: bytes, purpose: str) -> PrivateKeyTypes:
        """Return the key of a PEM file, also of one that is not encrypted; raises SealError."""
        if not is_sealed_key(pem):
            try:
                return serialization.load_pem_private_key(pem, password=None)
            except (ValueError, TypeError) as error:
                raise SealError(
                    f"the {purpose} is no private key in PEM; restore it from a backup"
                ) from error
        for master in self._masters:
            if (key := _opened_key(master, pem, purpose)) is not None:
                return key
        raise _unopened(purpose)

    def is_current_key(self, pem: bytes, purpose: str) -> bool:
        """Return whether a private key is sealed under the newest master key."""
        return is_sealed_key(pem) and _opened_key(self._masters[0], pem, purpose) is not None

    def passphrase(self, pem: bytes, purpose: str) -> bytes:
        """Return the passphrase of an encrypted PEM file of this seal; raises SealError."""
        for master in self._masters:
            if _opened_key(master, pem, purpose) is not None:
                return _passphrase(master, purpose)
        raise _unopened(purpose)


def is_sealed_key(pem: bytes) -> bool:
    """Return whether a PEM file holds an encrypted private key."""
    return _ENCRYPTED_PEM in pem


def _opened(master: bytes, sealed: bytes, purpose: str) -> bytes | None:
    nonce, text = sealed[len(SEALED) :][:NONCE_BYTES], sealed[len(SEALED) + NONCE_BYTES :]
    try:
        return AESGCM(master).decrypt(nonce, text, purpose.encode())
    except (InvalidTag, ValueError):
        return None


def _opened_key(master: bytes, pem: bytes, purpose: str) -> PrivateKeyTypes | None:
    try:
        return serialization.load_pem_private_key(pem, _passphrase(master, purpose))
    except (ValueError, TypeError):  # of another passphrase, or damaged
        return None


def _passphrase(master: bytes, purpose: str) -> bytes:
    derive = HKDF(hashes.SHA256(), length=KEY_BYTES, salt=None, info=_PASSPHRASE + purpose.encode())
    return derive.derive(master).hex().encode()


def _unopened(purpose: str) -> SealError:
    return SealError(
        f"the sealed {purpose} does not open with the master key; restore the key that belongs"
        " to it"
    )
