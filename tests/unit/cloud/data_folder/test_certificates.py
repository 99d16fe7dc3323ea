import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from swallowtail.cloud.data_folder.certificates import LEAF_DAYS, RENEW_DAYS, server_context
from swallowtail.cloud.secrets.private_files import write_private
from tests.certificates import ensure_certificate

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
NAMES = ["localhost", "127.0.0.1", "::1", "cloud.example"]


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Join two TLS machines in memory; gives the version that they agreed on."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return one.version()


def client_context(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


def test_a_client_that_trusts_ca_pem_accepts_every_name_and_gets_tls_1_3(tmp_path: Path) -> None:
    server = server_context(*ensure_certificate(tmp_path, NAMES, dt.datetime.now(dt.UTC)))
    assert [handshake(server, client_context(tmp_path), name) for name in NAMES] == ["TLSv1.3"] * 4
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        handshake(server, client_context(tmp_path), "other.example")


def test_tls_1_2_is_served_and_1_1_is_refused(tmp_path: Path) -> None:
    server = server_context(*ensure_certificate(tmp_path, NAMES, dt.datetime.now(dt.UTC)))
    client = client_context(tmp_path)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(server, client, "localhost") == "TLSv1.2"
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        handshake(server, client, "localhost")


def test_a_second_start_changes_nothing_and_the_last_30_days_make_a_new_leaf_under_the_same_ca(
    tmp_path: Path,
) -> None:
    leaf, key, _ = ensure_certificate(tmp_path, NAMES, NOW)
    first, ca = leaf.read_bytes(), (tmp_path / "ca.pem").read_bytes()
    ensure_certificate(tmp_path, NAMES, NOW + dt.timedelta(days=LEAF_DAYS - RENEW_DAYS - 1))
    assert leaf.read_bytes() == first
    ensure_certificate(tmp_path, NAMES, NOW + dt.timedelta(days=LEAF_DAYS - RENEW_DAYS + 1))
    assert leaf.read_bytes() != first
    assert (tmp_path / "ca.pem").read_bytes() == ca
    assert key.exists()


def test_a_name_that_is_missing_makes_a_new_leaf(tmp_path: Path) -> None:
    leaf, *_ = ensure_certificate(tmp_path, ["localhost"], NOW)
    first = leaf.read_bytes()
    ensure_certificate(tmp_path, ["localhost", "192.0.2.7"], NOW)
    names = x509.load_pem_x509_certificate(leaf.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert leaf.read_bytes() != first
    assert "192.0.2.7" in [
        str(address) for address in names.value.get_values_for_type(x509.IPAddress)
    ]


def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, NAMES, NOW)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "ca.pem": 0o644,
        "ca.key": 0o600,
        "server.pem": 0o600,
        "server.key": 0o600,
    }


def test_a_private_file_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "x.new").write_text("left by a crash")
    write_private(tmp_path / "x", b"one")
    write_private(tmp_path / "x", b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"two"
