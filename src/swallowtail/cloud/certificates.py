"""The private certificate authority that a Cloud makes for itself when it is given no certificate, and its TLS settings.

`ca.pem` is what a Link trusts (`--ca`); it lives ten years and its key never leaves the folder. The server's own certificate lives
90 days and is made anew at a start within its last 31, or when it does not name what the Cloud now listens on.
"""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swallowtail.cloud.private_files import write_private

CA_DAYS: Final = 3650
LEAF_DAYS: Final = 90
RENEW_DAYS: Final = 31
"""A day before somebody is alarmed (expiry.py)."""
BACKDATED: Final = dt.timedelta(hours=24)
"""A hospital's clock may be behind ours."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Give the TLS settings of the one port: 1.2 at least, 1.3 preferred (PS3.15 B.12, BCP 195), no renegotiation, no 0-RTT.

    Raises OSError or ssl.SSLError when the files cannot be read or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


def ensure_certificate(folder: Path, names: Iterable[str], now: dt.datetime) -> tuple[Path, Path]:
    """Make what is missing or ends soon, and give the paths of the server's certificate and its key.

    `names` are host names and addresses that Links and browsers use.
    """
    wanted = sorted(set(names))
    ca, ca_key = _ensure_ca(folder, now)
    leaf_path, key_path = folder / "server.pem", folder / "server.key"
    if not _still_good(leaf_path, key_path, ca, wanted, now):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _leaf(ca, ca_key, key.public_key(), wanted, now)
        write_private(key_path, _key_bytes(key))
        write_private(leaf_path, _pem(leaf) + _pem(ca))
    return leaf_path, key_path


def names_of(certificate: Path) -> tuple[str, ...]:
    """Return the host names and addresses of the first certificate in a PEM file; raises OSError, ValueError."""
    first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    try:
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:  # no client takes the Common Name for a name any more (RFC 9525 2)
        return ()
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _ensure_ca(folder: Path, now: dt.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, key_path = folder / "ca.pem", folder / "ca.key"
    if path.exists() and key_path.exists():
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_path} holds another kind of key than this Cloud made; move it and ca.pem away to make a new CA")
        return x509.load_pem_x509_certificate(path.read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Swallowtail private CA {now:%Y-%m-%d %H:%M}")])
    ca = (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(key_path, _key_bytes(key))
    write_private(path, _pem(ca))
    path.chmod(0o644)
    return ca, key


def _leaf(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    names: list[str],
    now: dt.datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Swallowtail Cloud")])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(subject, ca.subject, key, now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _still_good(leaf: Path, key: Path, ca: x509.Certificate, names: list[str], now: dt.datetime) -> bool:
    if not (leaf.exists() and key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(leaf.read_bytes())
    named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        certificate.issuer == ca.subject
        and certificate.not_valid_after_utc - now > dt.timedelta(days=RENEW_DAYS)
        and all(_general_name(name) in named for name in names)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
