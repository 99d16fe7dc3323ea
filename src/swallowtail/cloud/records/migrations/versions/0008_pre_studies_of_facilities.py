"""Studies, series and visible instances of each facility (ADR 0014).

This changes keys, so it is no addition that the release before could work on. What a facility had
stored under another's UIDs becomes its own: its first instance of each UID is visible there, and
the attributes of its part of a shared study are read again from its own instances. Until they are
indexed they are empty, never those of the other facility.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008_pre"
down_revision = "0007_pre"
branch_labels = None
depends_on = None

VISIBLE = """
UPDATE instance SET visible = 1, stored = 'new' WHERE id IN (
    SELECT min(id) FROM instance GROUP BY tenant, facility, sop_instance HAVING max(visible) = 0
)
"""
FILL_STUDY = """
INSERT INTO study SELECT old.tenant, old.uid, place.facility,
    CASE WHEN own THEN old.source END,
    iif(own, patient_name, ''), iif(own, patient_key, ''), iif(own, patient_words, ''),
    iif(own, patient_id, ''), iif(own, issuer, ''), iif(own, birth_date, NULL), iif(own, sex, ''),
    iif(own, accession, ''), iif(own, study_id, ''), iif(own, study_date, NULL),
    iif(own, study_time, NULL),
    iif(own, description, ''), iif(own, description_key, ''), iif(own, referring_physician, ''), '',
    place.series, place.instances, coalesce(place.first, 0.0), coalesce(place.last, 0.0)
FROM old_study AS old JOIN (
    SELECT tenant, study, facility,
        count(DISTINCT CASE WHEN visible THEN series END) AS series, sum(visible) AS instances,
        min(CASE WHEN visible THEN received END) AS first,
        max(CASE WHEN visible THEN received END) AS last
    FROM instance WHERE study <> '' GROUP BY tenant, study, facility
) AS place ON place.tenant = old.tenant AND place.study = old.uid
JOIN (
    SELECT study.tenant, study.uid, instance.facility FROM old_study AS study
    LEFT JOIN instance ON instance.id = study.source
) AS source ON source.tenant = old.tenant AND source.uid = old.uid
JOIN (SELECT 0 AS own UNION ALL SELECT 1) ON own = (source.facility IS place.facility)
"""
FILL_SERIES = """
INSERT INTO series SELECT old.tenant, old.study, old.uid, place.facility,
    CASE WHEN own THEN old.source END,
    iif(own, modality, ''), iif(own, number, NULL), iif(own, description, ''),
    iif(own, description_key, ''), iif(own, body_part, ''), iif(own, performed_date, NULL),
    iif(own, performed_time, NULL),
    place.instances, coalesce(place.first, 0.0)
FROM old_series AS old JOIN (
    SELECT tenant, study, series, facility, sum(visible) AS instances,
        min(CASE WHEN visible THEN received END) AS first
    FROM instance WHERE study <> '' GROUP BY tenant, study, series, facility
) AS place ON place.tenant = old.tenant AND place.study = old.study AND place.series = old.uid
JOIN (
    SELECT series.tenant, series.study, series.uid, instance.facility FROM old_series AS series
    LEFT JOIN instance ON instance.id = series.source
) AS source ON source.tenant = old.tenant AND source.study = old.study AND source.uid = old.uid
JOIN (SELECT 0 AS own UNION ALL SELECT 1) ON own = (source.facility IS place.facility)
"""
MODALITIES = """
UPDATE study SET modalities = coalesce((
    SELECT group_concat(modality, '\\') FROM (
        SELECT DISTINCT modality FROM series
        WHERE series.tenant = study.tenant AND series.study = study.uid
            AND series.facility = study.facility AND series.instances > 0 AND modality <> ''
        ORDER BY modality
    )
), '')
"""
READ_AGAIN = """
INSERT OR IGNORE INTO index_job (instance, tenant, until, attempts)
SELECT instance.id, instance.tenant, 0.0, 0 FROM instance JOIN (
    SELECT tenant, uid AS study, facility FROM study WHERE source IS NULL
    UNION SELECT tenant, study, facility FROM series WHERE source IS NULL
) AS place
ON place.tenant = instance.tenant AND place.study = instance.study
    AND place.facility = instance.facility
"""


def upgrade() -> None:
    op.drop_index("uq_instance_visible", "instance")
    old = ["tenant", "sop_instance", "transfer_syntax", "sha256"]
    new = [*old, "facility"]
    with op.batch_alter_table("instance") as batch:
        batch.drop_constraint(f"uq_instance_{'_'.join(old)}", type_="unique")
        batch.create_unique_constraint(f"uq_instance_{'_'.join(new)}", new)
    stored_before = op.get_bind().dialect.name == "sqlite"  # elsewhere there was nothing yet
    if stored_before:
        op.execute(VISIBLE)
    op.drop_index("ix_instance_arrival", "instance")
    op.create_index(
        "ix_instance_arrival", "instance", ["tenant", "visible", "id", "state", "facility"]
    )
    op.create_index(
        "uq_instance_visible",
        "instance",
        ["tenant", "sop_instance", "facility"],
        unique=True,
        sqlite_where=sa.text("visible"),
        postgresql_where=sa.text("visible"),
    )
    for name in ("updated", "patient_id", "accession"):
        op.drop_index(f"ix_study_tenant_{name}", "study")
    if not stored_before:
        op.drop_table("study")
        op.drop_table("series")
        _create_study()
        _create_series()
        return
    op.rename_table("study", "old_study")
    op.rename_table("series", "old_series")
    _create_study()
    _create_series()
    for statement in (FILL_STUDY, FILL_SERIES, MODALITIES, READ_AGAIN):
        op.execute(sa.text(statement))
    op.drop_table("old_study")
    op.drop_table("old_series")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _create_study() -> None:
    op.create_table(
        "study",
        sa.Column("tenant", sa.String(length=32), nullable=False),
        *_texts("uid", "facility"),
        sa.Column("source", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        *_texts("patient_name", "patient_key", "patient_words", "patient_id", "issuer"),
        sa.Column("birth_date", sa.Date(), nullable=True),
        *_texts("sex", "accession", "study_id"),
        sa.Column("study_date", sa.Date(), nullable=True),
        sa.Column("study_time", sa.Time(), nullable=True),
        *_texts("description", "description_key", "referring_physician", "modalities"),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("received", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "uid", "facility", name=op.f("pk_study")),
    )
    for names in (["updated"], ["facility", "updated"], ["patient_id"], ["accession"]):
        op.create_index(f"ix_study_tenant_{'_'.join(names)}", "study", ["tenant", *names])


def _create_series() -> None:
    op.create_table(
        "series",
        sa.Column("tenant", sa.String(length=32), nullable=False),
        *_texts("study", "uid", "facility"),
        sa.Column("source", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        *_texts("modality"),
        sa.Column("number", sa.Integer(), nullable=True),
        *_texts("description", "description_key", "body_part"),
        sa.Column("performed_date", sa.Date(), nullable=True),
        sa.Column("performed_time", sa.Time(), nullable=True),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("received", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "study", "uid", "facility", name=op.f("pk_series")),
    )
