import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from swallowtail.cloud.data_folder.certificates import server_context
from swallowtail.cloud.secrets.sealing import Seal, SealError, is_sealed_key
from tests.certificates import ensure_certificate

OLD, NEW = b"o" * 32, b"n" * 32


def plain(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_sealed_secret_opens_for_its_purpose_alone() -> None:
    seal = Seal(OLD)
    sealed = seal.close(b"secret", "pepper")
    assert seal.open(sealed, "pepper") == b"secret"
    for wrong in (sealed[:-1], b"", sealed[1:], bytes(40)):
        with pytest.raises(SealError):
            seal.open(wrong, "pepper")
    with pytest.raises(SealError):
        seal.open(sealed, "password")
    assert seal.close(b"secret", "pepper") != sealed


def test_while_a_key_is_replaced_both_open_and_the_newer_one_closes() -> None:
    before, between, after = Seal(OLD), Seal(NEW, OLD), Seal(NEW)
    sealed = before.close(b"secret", "pepper")
    assert between.open(sealed, "pepper") == b"secret"
    assert not between.is_current(sealed, "pepper")
    again = between.close(b"secret", "pepper")
    assert between.is_current(again, "pepper")
    assert after.open(again, "pepper") == b"secret"
    with pytest.raises(SealError):
        before.open(again, "pepper")
    with pytest.raises(SealError):
        after.open(sealed, "pepper")


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_sealed_private_key_is_an_encrypted_pem_that_openssl_loads(
    tmp_path: Path, kind: str
) -> None:
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ec"
        else rsa.generate_private_key(65537, 2048)
    )
    seal = Seal(OLD)
    pem = seal.close_key(key, "server key")
    assert is_sealed_key(pem)
    assert b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem
    assert seal.open_key(pem, "server key").public_key() == key.public_key()
    with pytest.raises(SealError, match="server key"):
        Seal(NEW).open_key(pem, "server key")
    with pytest.raises(SealError, match="CA key"):
        seal.open_key(pem, "CA key")
    assert Seal(NEW, OLD).passphrase(pem, "server key") == seal.passphrase(pem, "server key")
    assert len(seal.passphrase(pem, "server key")) == 64  # 256 bits: no number of guesses helps


def test_a_plain_private_key_is_read_so_that_it_can_be_sealed() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert not is_sealed_key(plain(key))
    assert Seal(OLD).open_key(plain(key), "CA key").public_key() == key.public_key()
    assert not Seal(OLD).is_current_key(plain(key), "CA key")
    with pytest.raises(SealError, match="CA key is no private key"):
        Seal(OLD).open_key(b"nothing", "CA key")


def test_a_key_of_another_length_is_a_fault_of_the_caller() -> None:
    for masters in ((), (b"short",), (OLD, b"")):
        with pytest.raises(ValueError, match="32 bytes"):
            Seal(*masters)


def test_an_encrypted_key_of_the_administrator_never_waits_for_a_passphrase(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, ["localhost"], dt.datetime.now(dt.UTC))
    with pytest.raises(ssl.SSLError, match="give a key without a passphrase"):
        server_context(files.certificate, files.key)
