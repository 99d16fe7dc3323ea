"""The private certificate authority that a Cloud makes for itself when it is given no certificate.

Its TLS settings.

`ca.pem` is what a Link trusts (`--ca`); it exists ten years and its key never leaves the folder.
The server's own certificate exists 90 days and is made again at a start within its last 31, or when
it does not name what the Cloud now listens on.
"""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swallowtail.cloud.secrets.private_files import write_private
from swallowtail.cloud.secrets.sealing import Seal

CA_KEY: Final = "ca.key"
SERVER_KEY: Final = "server.key"
PURPOSES: Final = {CA_KEY: "CA key", SERVER_KEY: "server key"}
"""What the private keys of a folder are sealed for."""
CA_DAYS: Final = 3650
LEAF_DAYS: Final = 90
RENEW_DAYS: Final = 31
"""A day before somebody is alarmed (expiry.py)."""
BACKDATED: Final = dt.timedelta(hours=24)
"""A hospital's clock may be behind ours."""


class ServerFiles(NamedTuple):
    """The files of a certificate and its key, and what opens the key where it is sealed."""

    certificate: Path
    key: Path
    passphrase: bytes | None = None

    def load(self, context: ssl.SSLContext) -> None:
        """Load both into a context.

        Raises OSError or ssl.SSLError when they cannot be read or do not belong together.
        """
        context.load_cert_chain(self.certificate, self.key, password=self._open)

    def _open(self) -> bytes:
        if self.passphrase is None:  # OpenSSL would ask for it on the terminal
            raise ssl.SSLError(f"{self.key.name} is encrypted; give a key without a passphrase")
        return self.passphrase


def server_context(certificate: Path, key: Path, passphrase: bytes | None = None) -> ssl.SSLContext:
    """Return the TLS settings of the one port.

    1.2 at least, 1.3 preferred (PS3.15 B.12, BCP 195), no renegotiation, no 0-RTT.

    Raises OSError or ssl.SSLError when the files cannot be read or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= (
        ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    ServerFiles(certificate, key, passphrase).load(context)
    return context


def ensure_certificate(
    folder: Path, names: Iterable[str], now: dt.datetime, seal: Seal
) -> ServerFiles:
    """Create what is missing or ends soon, seal keys that are not, and return the server's files.

    Raises SealError.

    `names` are host names and addresses that Links and browsers use.
    """
    wanted = sorted(set(names))
    ca, ca_key = _ensure_ca(folder, now, seal)
    leaf_path, key_path = folder / "server.pem", folder / SERVER_KEY
    if not _still_good(leaf_path, _read_key(key_path, seal), ca, wanted, now):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _leaf(ca, ca_key, key.public_key(), wanted, now)
        write_private(key_path, seal.close_key(key, PURPOSES[SERVER_KEY]))
        write_private(leaf_path, _pem(leaf) + _pem(ca))
    return ServerFiles(
        leaf_path, key_path, seal.passphrase(key_path.read_bytes(), PURPOSES[SERVER_KEY])
    )


def reseal_keys(folder: Path, seal: Seal) -> None:
    """Seal the private keys of the folder under the newest master key."""
    for name in PURPOSES:
        _read_key(folder / name, seal)


def names_of(certificate: Path) -> tuple[str, ...]:
    """Return the host names and addresses of the first certificate in a PEM file.

    Raises OSError, ValueError.
    """
    first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    try:
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (
        x509.ExtensionNotFound
    ):  # no client takes the Common Name for a name any more (RFC 9525 2)
        return ()
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _read_key(path: Path, seal: Seal) -> PrivateKeyTypes | None:
    """Return the key of a file, None where there is none.

    One that is not sealed under the newest master key is sealed again.
    """
    if not path.exists():
        return None
    pem, purpose = path.read_bytes(), PURPOSES[path.name]
    key = seal.open_key(pem, purpose)
    if not seal.is_current_key(pem, purpose):
        write_private(path, seal.close_key(key, purpose))
    return key


def _ensure_ca(
    folder: Path, now: dt.datetime, seal: Seal
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, key_path = folder / "ca.pem", folder / CA_KEY
    if path.exists() and (key := _read_key(key_path, seal)) is not None:
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(
                f"{key_path} holds another kind of key than this Cloud made; move it and ca.pem"
                " elsewhere to make a new CA"
            )
        return x509.load_pem_x509_certificate(path.read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Swallowtail private CA {now:%Y-%m-%d %H:%M}")]
    )
    ca = (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(key_path, seal.close_key(key, PURPOSES[CA_KEY]))
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
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    days: int,
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


def _still_good(
    leaf: Path,
    key: PrivateKeyTypes | None,
    ca: x509.Certificate,
    names: list[str],
    now: dt.datetime,
) -> bool:
    if key is None or not leaf.exists():
        return False
    certificate = x509.load_pem_x509_certificate(leaf.read_bytes())
    named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        certificate.issuer == ca.subject
        and certificate.public_key()
        == key.public_key()  # a crash may have come between the two files
        and certificate.not_valid_after_utc - now > dt.timedelta(days=RENEW_DAYS)
        and all(_general_name(name) in named for name in names)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
