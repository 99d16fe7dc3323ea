"""`swallowtail cloud serve --database-url`: the programs with their records on PostgreSQL."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from swallowtail.sim.installation import SWALLOWTAIL, with_source
from tests.postgresql import OWNER, PostgresqlServer
from tests.rest.served import CloudProcess


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SWALLOWTAIL, *arguments],
        env=os.environ | with_source(environment),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def test_a_cloud_keeps_its_records_on_postgresql(
    postgresql_server: PostgresqlServer, tmp_path: Path
) -> None:
    database = postgresql_server.create()
    data, url = tmp_path / "cloud", database.url.render_as_string()
    first = CloudProcess(data, "--database-url", url)
    name = {"name": "north", "title": "North Hospital"}
    assert first.api().http.post("/api/v1/organisations", json=name).status_code == 201
    token = first.facts["token"]
    assert first.stop() == 0
    assert not (data / "cloud.sqlite3").exists()
    again = CloudProcess(data, "--database-url", url)
    assert "token" not in again.facts
    listed = again.api(token).http.get("/api/v1/organisations").json()
    assert [one["name"] for one in listed["items"]] == ["north"]
    assert again.stop() == 0

    for command in (
        ("serve", "--listen", "127.0.0.1:0"),
        ("check",),
        ("backup", "--to", str(tmp_path / "backup")),
        ("reseal",),
    ):
        refused = run("cloud", *command, "--data", str(data))
        assert refused.returncode != 0
        assert "on a database server" in refused.stderr
        assert "docs/runbooks/postgresql.md" in refused.stderr
    postgresql_server.drop(database)


def test_a_password_on_the_command_line_is_refused(tmp_path: Path) -> None:
    url = "postgresql://swallowtail:secret@db.example/swallowtail"
    refused = run("cloud", "serve", "--data", str(tmp_path / "cloud"), "--database-url", url)
    assert refused.returncode == 2
    assert "PGPASSFILE" in refused.stderr
    assert "secret" not in refused.stderr


@pytest.mark.parametrize("url", ["mysql://a@b/c", "postgresql://nobody@127.0.0.1:1/none"])
def test_a_database_that_cannot_be_used_is_named_at_the_start(tmp_path: Path, url: str) -> None:
    refused = run(
        "cloud", "serve", "--data", str(tmp_path / "cloud"), "--listen", "127.0.0.1:0",
        SWALLOWTAIL_DATABASE_URL=url,
    )  # fmt: skip
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: ") or "\nError: " in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_demo_holds_on_postgresql(postgresql_server: PostgresqlServer) -> None:
    database = postgresql_server.create()
    owner = postgresql_server.url(str(database.url.database), OWNER)
    shown = run(
        "demo", "--once",
        SWALLOWTAIL_DATABASE_URL=database.url.render_as_string(),
        SWALLOWTAIL_DATABASE_OWNER_URL=owner.render_as_string(),
    )  # fmt: skip
    assert shown.returncode == 0, shown.stdout[-3000:]
    with psycopg.connect(
        host=str(postgresql_server.folder), user="admin", dbname=database.url.database
    ) as connection:
        row = connection.execute("SELECT count(*) FROM instance").fetchone()
    assert row is not None
    assert row[0] > 0
    postgresql_server.drop(database)
