import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from swallowtail.cloud.model.errors import StorageUnavailableError
from swallowtail.cloud.records.migrations import upgrade
from swallowtail.cloud.records.schema import metadata


def test_the_migrations_make_the_tables_that_the_statements_expect(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'db'}")
    with engine.connect() as connection:
        upgrade(connection)
        upgrade(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'db'}")
    with engine.connect() as connection:
        upgrade(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999_pre'"))
        connection.commit()
        with pytest.raises(StorageUnavailableError, match="newer release"):
            upgrade(connection)
    engine.dispose()


def test_partial_unique_indexes_survive_the_migration(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'db'}")
    with engine.connect() as connection:
        upgrade(connection)
    engine.dispose()
    with sqlite3.connect(tmp_path / "db") as connection:
        made = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE%'"))
    connection.close()
    unique = {"uq_organisation_name", "uq_instance_visible", "uq_alarm_raised"}
    assert set(made) == unique | {"ix_delivery_lane", "ix_delivery_leased", "ix_delivery_oldest"}
