"""A PostgreSQL server of the tests' own: in a temporary folder, on a Unix socket, nowhere else.

The folder is in memory where the machine has /dev/shm. There fsync costs nothing, so that it stays
on, as the Cloud requires; what survives a loss of power is no matter of these tests.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from sqlalchemy import URL

from swallowtail.cloud.records.postgresql_server import DatabaseServer, migrate

OWNER, ROLE = "swallowtail_owner", "swallowtail"
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
    "autovacuum": "off",
}
_CREATE = "CREATE DATABASE {} OWNER {} TEMPLATE {} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"


def _binaries() -> Path:
    """The newest PostgreSQL that Debian installed; `tools/debian-packages` installs one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        raise FileNotFoundError("no PostgreSQL found; run tools/debian-packages postgresql")
    return found[-1].parent


class PostgresqlServer:
    """One server. As root it runs as Debian's user `postgres`: PostgreSQL refuses root."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._binaries = folder, _binaries()
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        if self._as:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(folder / "data"), "-U", "admin", "-A", "trust", "-N",
                  "-E", "UTF8", "--locale=C")  # fmt: skip

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._binaries / program), *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        command = [str(self._binaries / "pg_ctl"), "start", "-w", "-D", str(self.folder / "data"),
                   "-l", str(self.folder / "log"), "-o",
                   " ".join(f"-k {self.folder} '{one}'" for one in [options[0]]) + " "
                   + " ".join(f"'{one}'" for one in options[1:])]  # fmt: skip
        subprocess.run([*self._as, *command], check=True, cwd=self.folder,
                       stdout=subprocess.DEVNULL)  # fmt: skip

    def kill(self) -> None:
        """Stop it as a crash does: no checkpoint, connections cut."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", str(self.folder / "data"))

    def stop(self) -> None:
        """Stop it for good."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.kill()

    @property
    def process(self) -> int:
        """The id of its first process."""
        return int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])

    def suspend(self) -> None:
        """Let its first process, which accepts connections, hang."""
        os.kill(self.process, signal.SIGSTOP)

    def url(self, database: str, role: str) -> URL:
        """The address of a database for a role."""
        return URL.create(
            "postgresql", username=role, database=database, query={"host": str(self.folder)}
        )

    def administer(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as a superuser."""
        with psycopg.connect(
            host=str(self.folder), user="admin", dbname=database, autocommit=True
        ) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def make_template(self) -> None:
        """Make both roles, and a database with its tables, of which the others are copies."""
        self.administer(
            f"CREATE ROLE {OWNER} LOGIN",
            f"CREATE ROLE {ROLE} LOGIN",
            _CREATE.format("empty", OWNER, "template0"),
        )
        migrate(self.url("empty", OWNER), role=ROLE)

    def create(self) -> DatabaseServer:
        """A new database with empty tables."""
        self._made += 1
        name = f"test_{self._made}"
        self.administer(_CREATE.format(name, OWNER, "empty"))
        return DatabaseServer(url=self.url(name, ROLE))

    def drop(self, server: DatabaseServer) -> None:
        """Drop a database that `create` made, whoever is connected to it."""
        self.administer(f"DROP DATABASE {server.url.database} WITH (FORCE)")


@contextlib.contextmanager
def running_server(parent: Path | None = None) -> Iterator[PostgresqlServer]:
    """A server with the template, in memory or in a folder under `parent`, until the block ends."""
    memory = Path("/dev/shm")
    folder = Path(
        tempfile.mkdtemp(prefix="pg-", dir=parent or (memory if memory.is_dir() else None))
    )
    server = PostgresqlServer(folder)
    try:
        server.start()
        server.make_template()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
