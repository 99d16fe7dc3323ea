"""OHIF as a hospital puts it in front of a Cloud.

Its pages and DICOMweb behind one nginx, from the files in `examples/ohif`.
"""

import base64
import datetime as dt
import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from swallowtail.sim.processes import Program, free_port
from tests.rest.served import Api, CloudProcess

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "ohif"
LOCK = ROOT / "requirements" / "ohif.lock"
NGINX = "/usr/sbin/nginx"
USER, PASSWORD = "reader", "of invented images"

FRAME = """daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    include /etc/nginx/mime.types;
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""
"""What /etc/nginx/nginx.conf does on a Debian machine, with every path in a folder of the test."""


@dataclass(frozen=True)
class Viewer:
    """Where it answers, and the key that its browser has to believe (base64 of SHA-256, as Chromium
    wants it).
    """

    url: str
    key: str
    certificate: Path
    program: Program
    api: Api
    """The Cloud's, with the viewer's token."""

    def trust(self) -> ssl.SSLContext:
        """Give what a client needs to believe it."""
        return ssl.create_default_context(cafile=str(self.certificate))


def pages() -> Path:
    """Give the folder of OHIF's pages; fails when they are not there."""
    version = LOCK.read_text(encoding="utf-8").splitlines()[-1].split()[1]
    dist = ROOT / ".make" / "ohif" / version / "dist"
    assert (dist / "index.html").is_file(), (
        f"OHIF is not in {dist}; `tools/ohif` brings it, through npm"
    )
    return dist


def start(cloud: CloudProcess, token: str, folder: Path) -> Viewer:
    """Start nginx with the example's configuration, in which only what a hospital would fill in is
    replaced.
    """
    folder.mkdir()
    port = free_port()
    key = _certificate(folder)
    (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n", encoding="utf-8")
    (folder / "token.conf").write_text(
        f'proxy_set_header Authorization "Bearer {token}";\n', encoding="utf-8"
    )
    replaced = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server_name viewer.example.org": "server_name localhost",
        "proxy_pass https://swallowtail.example.org": f"proxy_pass {cloud.url}",
        "proxy_ssl_name swallowtail.example.org": "proxy_ssl_name localhost",
        "/var/www/ohif": str(pages()),
        "/etc/nginx/app-config.js": str(EXAMPLE / "app-config.js"),
        "/etc/nginx/swallowtail-ca.pem": str(cloud.ca),
        "/etc/nginx/swallowtail-token.conf": str(folder / "token.conf"),
        "/etc/nginx/viewer.pem": str(folder / "viewer.pem"),
        "/etc/nginx/viewer.key": str(folder / "viewer.key"),
        "/etc/nginx/viewer.users": str(folder / "users"),
    }
    site = (EXAMPLE / "nginx.conf").read_text(encoding="utf-8")
    for place, filled in replaced.items():
        assert site.count(place) == 1, f"examples/ohif/nginx.conf should name {place!r} once"
        site = site.replace(place, filled)
    (folder / "site.conf").write_text(site, encoding="utf-8")
    frame = FRAME.format(folder=folder)
    (folder / "nginx.conf").write_text(frame, encoding="utf-8")
    program = Program(
        "nginx", [NGINX, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"], folder=folder
    )
    program.wait_for_port(port)
    return Viewer(
        f"https://localhost:{port}", key, folder / "viewer.pem", program, cloud.api(token)
    )


def _certificate(folder: Path) -> str:
    """Make the viewer's certificate, signed by itself, and give what pins its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "viewer of a test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "viewer.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "viewer.key").write_bytes(
        key.private_bytes(pem, private, serialization.NoEncryption())
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(public).digest()).decode()
