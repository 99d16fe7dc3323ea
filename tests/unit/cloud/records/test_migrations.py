import sqlite3
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import NullPool, create_engine, text

from swallowtail.cloud.model.audit import (
    AuditEvent,
    EventAction,
    EventId,
    EventOutcome,
    event_bytes,
)
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.records.migrations import upgrade
from swallowtail.cloud.records.schema import metadata


def test_the_migrations_make_the_tables_that_the_statements_expect(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'db'}", poolclass=NullPool)
    with engine.connect() as connection:
        upgrade(connection)
        upgrade(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


OLD_INSTANCE = (
    "INSERT INTO instance (id, tenant, sop_instance, transfer_syntax, sha256, sop_class, length,"
    " epoch, facility, listener, device, peer, calling_ae, called_ae, association, actor, received,"
    " visible, stored, state, problem, study, series) VALUES (?, 'north', ?, '1', ?, '1', 1, 0, ?,"
    " '', '', '', '', '', '', '', ?, ?, ?, 'indexed', '', '1.5', '1.5.1')"
)
OLD_STUDY = (
    "INSERT INTO study (tenant, uid, source, patient_name, patient_key, patient_words, patient_id,"
    " issuer, sex, accession, study_id, description, description_key, referring_physician,"
    " modalities, series, instances, received, updated) VALUES ('north', '1.5', 1, 'Ada', 'ada', '"
    " ada', 'A', '', '', '', '', '', '', '', 'US', 1, 3, 1.0, 4.0)"
)
OLD_SERIES = (
    "INSERT INTO series (tenant, study, uid, source, modality, description, description_key,"
    " body_part, instances, received) VALUES ('north', '1.5', '1.5.1', 1, 'US', 'Liver', 'liver',"
    " '', 3, 1.0)"
)


def test_what_is_stored_becomes_each_facilitys_own_and_tells_nothing_of_another(
    tmp_path: Path,
) -> None:
    path = tmp_path / "db"
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        upgrade(connection, "0007_pre")
    with closing(sqlite3.connect(path)) as old, old:
        rows = [
            (1, "1.5.1.1", b"a", "clinic", 1.0, 1, "new"),
            (2, "1.5.1.2", b"b", "clinic", 2.0, 1, "new"),
            (3, "1.5.1.3", b"c", "tower", 3.0, 1, "new"),
            (4, "1.5.1.1", b"d", "tower", 4.0, 0, "conflict"),
            (5, "1.5.1.1", b"e", "tower", 5.0, 0, "conflict"),
        ]
        old.executemany(OLD_INSTANCE, rows)
        old.execute(OLD_STUDY)
        old.execute(OLD_SERIES)
    old.close()
    with engine.connect() as connection:
        upgrade(connection)
    engine.dispose()
    with closing(sqlite3.connect(path)) as new, new:
        visible = new.execute(
            "SELECT id, stored FROM instance WHERE visible ORDER BY id"
        ).fetchall()
        names = (
            "facility, source, patient_name, patient_words, modalities, series, instances,"
            " received, updated"
        )
        studies = new.execute(f"SELECT {names} FROM study ORDER BY facility").fetchall()
        series = new.execute(
            "SELECT facility, source, modality, description, instances, received FROM series"
        ).fetchall()
        jobs = new.execute("SELECT instance FROM index_job").fetchall()
    new.close()
    assert visible == [
        (1, "new"),
        (2, "new"),
        (3, "new"),
        (4, "new"),
    ], "the tower's first of each UID is seen there"
    assert studies == [
        ("clinic", 1, "Ada", " ada", "US", 1, 2, 1.0, 2.0),
        ("tower", None, "", "", "", 1, 2, 3.0, 4.0),
    ]
    assert sorted(series) == [("clinic", 1, "US", "Liver", 2, 1.0), ("tower", None, "", "", 2, 3.0)]
    assert sorted(jobs) == [
        (3,),
        (4,),
        (5,),
    ], "they are read again, and name their study themselves"


def test_what_audit_records_are_listed_by_is_filled_from_their_events(tmp_path: Path) -> None:
    path = tmp_path / "db"
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        upgrade(connection, "0010_pre")
    plain = AuditEvent(event=EventId.QUERY, action=EventAction.READ, actor="ada")
    objects = (("instance", "1.1"), ("study", "1"), ("sha256", "ab"), ("link", "1"))
    full = msgspec.structs.replace(
        plain, type="x", outcome=EventOutcome.SERIOUS_FAILURE, objects=objects
    )
    rows = [("", 1, plain), ("north", 1, full), ("north", 2, plain), ("south", 1, full)]
    with closing(sqlite3.connect(path)) as old, old:
        old.executemany(
            "INSERT INTO audit (tenant, sequence, at, event, digest) VALUES (?, ?, 1.0, ?, '')",
            [(tenant, sequence, event_bytes(event)) for tenant, sequence, event in rows],
        )
    old.close()
    with engine.connect() as connection:
        upgrade(connection)
    engine.dispose()
    with closing(sqlite3.connect(path)) as new, new:
        keys = "tenant, sequence, type, actor, outcome"
        found = new.execute(f"SELECT {keys} FROM audit ORDER BY tenant, sequence").fetchall()
        named = new.execute("SELECT tenant, object, sequence FROM audit_object").fetchall()
    new.close()
    assert found == [
        ("", 1, "", "ada", 0),
        ("north", 1, "x", "ada", 8),
        ("north", 2, "", "ada", 0),
        ("south", 1, "x", "ada", 8),
    ]
    assert sorted(named) == [
        (place, name, 1) for place in ("north", "south") for name in ("1", "1.1")
    ]


def test_deliveries_and_their_attempts_keep_their_places_and_states(tmp_path: Path) -> None:
    path = tmp_path / "db"
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        upgrade(connection, "0017_pre")
    with closing(sqlite3.connect(path)) as old, old:
        old.execute(
            "INSERT INTO delivery (id, tenant, link, destination, lane, rank, place, instance,"
            " facility, study, sop_instance, sop_class, transfer_syntax, cause, state, created,"
            " changed, next_at, until, token, tries, refusals, about, phase, detail, sent_syntax)"
            " VALUES (7, 'north', 'ward', 'pacs', '', -5, 3, 4, 'clinic', '1.5', '1.5.1', '1.2',"
            " '1', 'rule:r/1', 'dead', 1, 2, 0, 0, 2, 2, 2, 'instance', 'response', 'x', '')"
        )
        old.execute(
            "INSERT INTO attempt (delivery, token, tenant, number, began, ended, state, epoch,"
            " configuration, connection, about, detail, sent_syntax)"
            " VALUES (7, 1, 'north', 1, 1, 2, 'waiting', 1, 1, 0, 'link', 'y', '1')"
        )
    old.close()
    with engine.connect() as connection:
        upgrade(connection)
    engine.dispose()
    with closing(sqlite3.connect(path)) as new, new:
        names = "id, rank, place, kind, reference, parent, identifier, type, format, state, about"
        deliveries = new.execute(f"SELECT {names} FROM delivery").fetchall()
        attempts = new.execute("SELECT delivery, state, about, sent_format FROM attempt").fetchall()
    new.close()
    assert deliveries == [
        (7, -5, 3, "instance", 4, "1.5", "1.5.1", "1.2", "1", "dead-letter", "payload")
    ]
    assert attempts == [(7, "pending", "route", "1")]


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'db'}", poolclass=NullPool)
    with engine.connect() as connection:
        upgrade(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999_pre'"))
        connection.commit()
        with pytest.raises(StorageUnavailableError, match="newer release"):
            upgrade(connection)
    engine.dispose()


def test_partial_unique_indexes_survive_the_migration(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'db'}", poolclass=NullPool)
    with engine.connect() as connection:
        upgrade(connection)
    engine.dispose()
    with closing(sqlite3.connect(tmp_path / "db")) as connection, connection:
        made = dict(
            connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE%'"
            )
        )
    connection.close()
    unique = {"uq_organisation_name", "uq_instance_visible", "uq_alarm_raised"}
    of_queues = {"ix_delivery_lane", "ix_delivery_sending", "ix_delivery_oldest"}
    others = {
        "ix_alarm_raised",
        "ix_api_token_previous",
        "ix_audit_failed",
        "ix_deletion_running",
        "ix_deletion_until",
        "ix_instance_unindexed",
    }
    assert set(made) == unique | of_queues | others


def test_the_retention_of_organisations_that_were_removed_before_begins_with_the_migration(
    tmp_path: Path,
) -> None:
    path = tmp_path / "db"
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        upgrade(connection, "0015_pre")
    with closing(sqlite3.connect(path)) as old, old:
        names = "INSERT INTO organisation (id, name, title, state, created) VALUES "
        old.execute(names + "('a', 'a', '', 'removed', 1.0), ('b', 'b', '', 'active', 1.0)")
    old.close()
    before = time.time()
    with engine.connect() as connection:
        upgrade(connection)
    engine.dispose()
    with closing(sqlite3.connect(path)) as new, new:
        removed = dict(new.execute("SELECT id, removed FROM organisation"))
    new.close()
    assert removed["b"] is None
    assert before - 2 <= removed["a"] <= time.time()
