"""The tables.

The tenant leads every key; what spans tenants (claims, token digests) reports it at its index.

Names follow the model. Times are UTC seconds as float. `operator` rows have the tenant ''. Change a
table here and add a migration in the same commit: `tests/unit/cloud/records/test_migrations.py`
compares the two.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Time,
    UniqueConstraint,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def _tenant(**options: Any) -> Column[str]:
    return Column("tenant", String(32), nullable=False, **options)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, **options)


_Big = BigInteger().with_variant(
    Integer, "sqlite"
)  # SQLite's INTEGER has 64 bits, and only it numbers rows


def _moment(name: str, *, nullable: bool = False) -> Column[float]:
    return Column(name, Double, nullable=nullable)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


organisation = Table(
    "organisation",
    metadata,
    Column("id", String(32), primary_key=True),
    _text("name"),
    _text("title"),
    _text("state"),
    _moment("created"),
    Column("retention_days", Integer, nullable=False, server_default=text("30")),
    _moment("removed", nullable=True),
    _moment("purged", nullable=True),  # nothing but the audit is left of it
)
Index("uq_organisation_name", organisation.c.name, unique=True, **_where("state <> 'removed'"))

facility = Table(
    "facility",
    metadata,
    _tenant(primary_key=True),
    _text("id", primary_key=True),
    _text("name"),
    _text("title"),
    _text("time_zone"),
    UniqueConstraint("tenant", "name"),
)

api_token = Table(
    "api_token",
    metadata,
    _tenant(primary_key=True),
    _text("id", primary_key=True),
    Column(
        "digest", LargeBinary(32), nullable=False, unique=True
    ),  # across tenants: the token reports the tenant
    _text("name"),
    _text("role"),
    Column("facilities", Text),  # JSON list; null: all
    Column("archives", Text),  # as facilities
    _moment("created"),
    _moment("expires", nullable=True),
    _moment("revoked", nullable=True),
    _moment("rotated", nullable=True),
    Column("previous", LargeBinary(32)),  # the digest before the rotation, valid until then
    _moment("previous_until", nullable=True),
)
Index("ix_api_token_previous", api_token.c.previous, **_where("previous IS NOT NULL"))

link = Table(
    "link",
    metadata,
    _tenant(primary_key=True),
    _text("id", primary_key=True),
    _text("facility"),
    _text("name"),
    _text("code_state"),
    _moment("code_until", nullable=True),
    Column(
        "code", LargeBinary(32), nullable=False, unique=True
    ),  # across tenants: the code reports the tenant
    Column("key", LargeBinary(32), nullable=False),
    Column("epoch", Integer, nullable=False),
    _moment("created"),
    UniqueConstraint("tenant", "name"),
)

configuration = Table(
    "configuration",
    metadata,
    _tenant(primary_key=True),
    _text("link", primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
    _text("author"),
    _moment("created"),
    _text("comment"),
    Column("restored_from", Integer),
)

running = Table(
    "running",
    metadata,
    _tenant(primary_key=True),
    _text("link", primary_key=True),
    Column("connected", Boolean, nullable=False),
    _moment("since"),
    _moment("seen"),
    Column("epoch", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    _text("release"),
    _text("address"),
    Column("report", LargeBinary, nullable=False),
    _text("problems"),  # JSON list of [field, message]
)

unknown_device = Table(
    "unknown_device",
    metadata,
    _tenant(primary_key=True),
    *(
        _text(name, primary_key=True)
        for name in ("link", "listener", "address", "calling_ae", "called_ae", "reason")
    ),
    Column("count", Integer, nullable=False),
    _moment("first"),
    _moment("last"),
)
Index(None, unknown_device.c.tenant, unknown_device.c.last)

instance = Table(
    "instance",
    metadata,
    Column(
        "id", _Big, primary_key=True
    ),  # the order of arrival; never given twice: see `high_water`
    _tenant(),
    *(_text(name) for name in ("sop_instance", "transfer_syntax")),
    Column("sha256", LargeBinary(32), nullable=False),
    _text("sop_class"),
    Column("length", _Big, nullable=False),
    Column("link", Text),
    Column("epoch", Integer, nullable=False),
    *(
        _text(name)
        for name in ("facility", "listener", "device", "peer", "calling_ae", "called_ae")
    ),
    Column("association", LargeBinary, nullable=False),
    _text("actor"),
    _moment("received"),
    Column("visible", Boolean, nullable=False),
    _text("stored"),
    _text("state"),
    _text("problem"),
    *(_text(name) for name in ("study", "series")),
    *(Column(name, Integer) for name in ("number", "rows", "columns", "frames")),
    UniqueConstraint("tenant", "sop_instance", "transfer_syntax", "sha256", "facility"),
)
Index(
    "uq_instance_visible",
    instance.c.tenant,
    instance.c.sop_instance,
    instance.c.facility,
    unique=True,
    **_where("visible"),
)
Index("ix_instance_study", instance.c.tenant, instance.c.study, instance.c.series)
Index(
    "ix_instance_arrival",
    instance.c.tenant,
    instance.c.visible,
    instance.c.id,
    instance.c.state,
    instance.c.facility,
)
UNINDEXED: Final = "state <> 'indexed'"
"""Instances that wait for the index, or that it could not read: few, however many are stored."""
Index("ix_instance_unindexed", instance.c.tenant, instance.c.id, **_where(UNINDEXED))
Index("ix_instance_blob", instance.c.tenant, instance.c.sha256)

high_water = Table(
    # highest ids of rows that have left their table, so that no later row gets one of them again
    "high_water",
    metadata,
    _text("name", primary_key=True),
    Column("value", _Big, nullable=False),
)

deleted_instance = Table(
    # the instances that are deleted and not purged yet, under the ids that they had
    "deleted_instance",
    metadata,
    *(
        Column(one.name, one.type, primary_key=one.primary_key, nullable=one.nullable)
        for one in instance.c
    ),
    _text("deletion"),
)
Index(
    "ix_deleted_instance_deletion",
    deleted_instance.c.tenant,
    deleted_instance.c.deletion,
    deleted_instance.c.id,
)
Index(
    "ix_deleted_instance_study",
    deleted_instance.c.tenant,
    deleted_instance.c.study,
    deleted_instance.c.series,
)
Index("ix_deleted_instance_blob", deleted_instance.c.tenant, deleted_instance.c.sha256)

deletion = Table(
    "deletion",  # kept for ever: it states no more of a patient than the UIDs that a person named
    metadata,
    _tenant(primary_key=True),
    _text("id", primary_key=True),
    *(_text(name) for name in ("study", "series", "sop_instance")),
    Column("instance", _Big),
    *(_text(name) for name in ("reason", "deleted_by")),
    _moment("deleted"),
    _moment("until"),
    Column("open", Boolean, nullable=False),  # something of it is in `deleted_instance`
    Column("facilities", Text),  # while it runs; JSON list; null: all
    Column("last", _Big),  # while it runs: the highest id that it takes
    _moment("runs_until", nullable=True),  # unless the next batch extends it; null: it has ended
)
Index("ix_deletion_running", deletion.c.tenant, **_where("runs_until IS NOT NULL"))
Index("ix_deletion_newest", deletion.c.tenant, deletion.c.deleted, deletion.c.id)
Index("ix_deletion_until", deletion.c.until, **_where("open"))

deletion_part = Table(
    "deletion_part",  # how many instances of each facility a deletion took, and what became of them
    metadata,
    _tenant(primary_key=True),
    *(_text(name, primary_key=True) for name in ("deletion", "facility")),
    *(Column(name, Integer, nullable=False) for name in ("instances", "restored", "purged")),
)

retention_lock = Table(
    "retention_lock",  # studies of which nothing may be deleted or purged
    metadata,
    _tenant(primary_key=True),
    _text("study", primary_key=True),
    *(_text(name) for name in ("reason", "locked_by")),
    _moment("since"),
)

unreferenced_blob = Table(
    # blobs that no row refers to, and since when: the sweep removes them after a time
    "unreferenced_blob",
    metadata,
    _tenant(primary_key=True),
    Column("sha256", LargeBinary(32), primary_key=True),
    _moment("since"),
    sqlite_with_rowid=False,
)
Index("ix_unreferenced_blob_since", unreferenced_blob.c.since)

index_job = Table(
    "index_job",
    metadata,
    Column("instance", _Big, primary_key=True, autoincrement=False),
    _tenant(),
    _moment("until"),
)

index_document = Table(
    "index_document",
    metadata,
    Column("instance", _Big, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
    Column("spans", LargeBinary, nullable=False),  # MessagePack of FrameIndex.spans
    Column("encapsulated", Boolean, nullable=False),
    Column("bulk", LargeBinary),  # MessagePack of FrameIndex.values; null: none
)

study = Table(
    "study",  # what one facility holds of a study (ADR 0014)
    metadata,
    _tenant(primary_key=True),
    _text("uid", primary_key=True),
    _text("facility", primary_key=True),
    Column(
        "source", _Big
    ),  # the instance whose attributes these are: the first that came; null: take the next
    *(
        _text(name)
        for name in ("patient_name", "patient_key", "patient_words", "patient_id", "issuer")
    ),
    Column("birth_date", Date),
    *(_text(name) for name in ("sex", "accession", "study_id")),
    Column("study_date", Date),
    Column("study_time", Time),
    *(
        _text(name)
        for name in ("description", "description_key", "referring_physician", "modalities")
    ),
    Column("series", Integer, nullable=False),
    Column("instances", Integer, nullable=False),
    _moment("received"),
    _moment("updated"),
    _text("archive", server_default=text("''")),  # in which archive it is; '': in none
)
Index(None, study.c.tenant, study.c.updated)
Index(None, study.c.tenant, study.c.archive, study.c.updated)
Index(None, study.c.tenant, study.c.facility, study.c.updated)
Index(None, study.c.tenant, study.c.patient_id)
Index(None, study.c.tenant, study.c.accession)

archive = Table(
    "archive",
    metadata,
    _tenant(primary_key=True),
    _text("id", primary_key=True),
    _text("name"),
    _moment("created"),
    UniqueConstraint("tenant", "name"),
)

series = Table(
    "series",
    metadata,
    _tenant(primary_key=True),
    _text("study", primary_key=True),
    _text("uid", primary_key=True),
    _text("facility", primary_key=True),
    Column("source", _Big),
    _text("modality"),
    Column("number", Integer),
    *(_text(name) for name in ("description", "description_key", "body_part")),
    Column("performed_date", Date),
    Column("performed_time", Time),
    Column("instances", Integer, nullable=False),
    _moment("received"),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", _Big, primary_key=True),
    _tenant(),
    *(_text(name) for name in ("link", "destination", "lane")),
    Column(
        "rank", Integer, nullable=False
    ),  # -priority, so that a lane's index rises along its order
    Column("place", _Big, nullable=False),  # the order within a rank; a resend takes the last place
    _text("kind"),  # of the payload; `reference` is the id of its row among those of its kind
    Column("reference", _Big, nullable=False),
    *(
        _text(name)
        for name in ("facility", "parent", "identifier", "type", "format", "cause", "state")
    ),
    *(_moment(name) for name in ("created", "changed", "next_at", "until")),
    *(Column(name, Integer, nullable=False) for name in ("token", "tries", "refusals", "cuts")),
    Column("status", Integer),
    *(Column(name, Text) for name in ("about", "phase")),
    *(_text(name) for name in ("detail", "sent_format")),
    UniqueConstraint("tenant", "link", "destination", "kind", "reference", "cause"),
)
OPEN: Final = "state IN ('pending', 'sending', 'stopped')"
"""`model.delivery.OPEN_STATES` as the partial indexes and the statements that use them write it."""
_of_destination = (delivery.c.tenant, delivery.c.link, delivery.c.destination)
Index(
    "ix_delivery_lane",
    *_of_destination,
    delivery.c.lane,
    delivery.c.rank,
    delivery.c.place,
    **_where(OPEN),
)
Index(
    "ix_delivery_sending",
    *_of_destination,
    delivery.c.lane,
    delivery.c.until,
    **_where("state = 'sending'"),
)
Index("ix_delivery_oldest", *_of_destination, delivery.c.created, **_where(OPEN))
Index("ix_delivery_state", *_of_destination, delivery.c.state, delivery.c.changed)
Index("ix_delivery_parent", delivery.c.tenant, delivery.c.parent)
Index("ix_delivery_place", delivery.c.place)
Index("ix_delivery_reference", delivery.c.reference, delivery.c.kind)
Index("ix_delivery_newest", delivery.c.tenant, delivery.c.id)

attempt = Table(
    "attempt",  # the last of each delivery; deleted with it
    metadata,
    Column(
        "delivery",
        _Big,
        ForeignKey("delivery.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column(
        "token", Integer, primary_key=True, autoincrement=False
    ),  # of its lease, which rises with each
    _tenant(),
    Column("number", Integer, nullable=False),
    *(_moment(name) for name in ("began", "ended")),
    _text("state"),
    *(Column(name, Integer, nullable=False) for name in ("epoch", "configuration", "connection")),
    Column("status", Integer),
    *(Column(name, Text) for name in ("about", "phase")),
    *(_text(name) for name in ("detail", "sent_format", "comment")),
    Column("seconds", Double),
    sqlite_with_rowid=False,
)

lane = Table(
    # one row for each lane with an open delivery: what a claim looks at instead of at the
    # deliveries
    "lane",
    metadata,
    _tenant(primary_key=True),
    *(_text(name, primary_key=True) for name in ("link", "destination", "lane")),
    _moment("due", nullable=True),  # when its head may be claimed; null: it waits for a person
)
Index("ix_lane_due", lane.c.tenant, lane.c.link, lane.c.destination, lane.c.due)

destination = Table(
    "destination",
    metadata,
    _tenant(primary_key=True),
    *(_text(name, primary_key=True) for name in ("link", "destination")),
    Column("paused", Boolean, nullable=False),
    *(_text(name) for name in ("paused_by", "breaker")),
    Column("failures", Integer, nullable=False),
    _moment("retry_at"),
    _text("detail"),
    _moment("failing_since", nullable=True),
    _moment("delivered_at", nullable=True),
)

rule = Table(
    "rule",
    metadata,
    _tenant(primary_key=True),
    _text("id", primary_key=True),
    _text("name"),
    Column("position", Integer, nullable=False),
    Column("rule", LargeBinary, nullable=False),  # MessagePack of model.delivery.Rule
    UniqueConstraint("tenant", "name"),
)

routing = Table(
    "routing",  # instances that the rules still have to evaluate, across tenants
    metadata,
    Column("instance", _Big, primary_key=True, autoincrement=False),
    _tenant(),
    _moment("at"),
    _text("fired"),  # JSON list of rule ids
)
Index("ix_routing_at", routing.c.at, routing.c.instance)

ended_association = Table(
    "ended_association",
    metadata,
    _tenant(primary_key=True),
    _text("link", primary_key=True),
    Column("association", LargeBinary(16), primary_key=True),
    _moment("ended"),
)
Index(
    "ix_ended_association_ended",
    ended_association.c.tenant,
    ended_association.c.link,
    ended_association.c.ended,
)

alarm = Table(
    "alarm",
    metadata,
    Column("id", _Big, primary_key=True),
    _tenant(),
    *(_text(name) for name in ("condition", "subject", "severity", "detail")),
    _moment("since"),
    _moment("last"),
    Column("count", Integer, nullable=False),
    _moment("acknowledged", nullable=True),
    _text("acknowledged_by"),
    _moment("cleared", nullable=True),
)
Index("ix_alarm_newest", alarm.c.tenant, alarm.c.id)
Index("ix_alarm_raised", alarm.c.tenant, alarm.c.id, **_where("cleared IS NULL"))
Index("ix_alarm_subject", alarm.c.tenant, alarm.c.subject, alarm.c.id)
Index(
    "uq_alarm_raised",
    alarm.c.tenant,
    alarm.c.condition,
    alarm.c.subject,
    unique=True,
    **_where("cleared IS NULL"),
)

audit = Table(
    "audit",
    metadata,
    _tenant(primary_key=True),
    Column("sequence", _Big, primary_key=True, autoincrement=False),
    _moment("at"),
    Column("event", LargeBinary, nullable=False),  # model.audit.event_bytes
    Column("digest", LargeBinary(32), nullable=False),
    Column(
        "key", Integer, nullable=False, server_default=text("0")
    ),  # number of the key of `digest`; 0: none
    _text(
        "type", server_default=text("''")
    ),  # of the event, as actor and outcome: what lists go by
    _text("actor", server_default=text("''")),
    Column("outcome", Integer, nullable=False, server_default=text("0")),
    sqlite_with_rowid=False,
)
FAILED: Final = "outcome > 0"
"""As the partial index and the statements that use it write it."""
Index("ix_audit_at", audit.c.tenant, audit.c.at, audit.c.sequence)
Index("ix_audit_actor", audit.c.tenant, audit.c.actor, audit.c.at, audit.c.sequence)
Index("ix_audit_type", audit.c.tenant, audit.c.type, audit.c.at, audit.c.sequence)
Index("ix_audit_failed", audit.c.tenant, audit.c.at, audit.c.sequence, **_where(FAILED))

audit_object = Table(
    "audit_object",  # which records name an object, by its id
    metadata,
    _tenant(primary_key=True),
    _text("object", primary_key=True),
    Column("sequence", _Big, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

audit_head = Table(
    "audit_head",
    metadata,
    _tenant(primary_key=True),
    Column("sequence", _Big, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
)

audit_export = Table(
    "audit_export",
    metadata,
    _tenant(primary_key=True),
    _text("host"),
    Column("port", Integer, nullable=False),
    *(_text(name) for name in ("authorities", "certificate")),
    Column("key", LargeBinary, nullable=False),  # sealed; records.sealed
    Column("sequence", _Big, nullable=False),
    *(_moment(name, nullable=True) for name in ("exported", "failing_since")),
    _text("detail"),
)
