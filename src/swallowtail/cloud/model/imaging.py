"""Instances as they arrive, and studies, series and instances as they are found."""

import enum
from datetime import date, time

from swallowtail.calls.store import Stored
from swallowtail.cloud.model.tenancy import Value


class InstanceIdentity(Value, frozen=True, kw_only=True):
    """The identity of an instance within a tenant (design, "Cloud")."""

    sop_instance: str
    transfer_syntax: str
    sha256: bytes
    """Of the data set as received, without preamble or group 0002; also the blob's address."""


class Way(enum.StrEnum):
    """The way on which an instance arrived."""

    DEVICE = "device"
    """A system of the hospital sent it through a Link: an acquisition, as the rules see it."""
    API = "api"
    """It was uploaded."""
    RETRIEVE = "retrieve"
    """A Link brought it because the Cloud had asked for it."""


class Origin(Value, frozen=True, kw_only=True):
    """The origin of an instance.

    `link` is None for an upload through the API, which then names its facility.
    """

    link: str | None
    epoch: int = 0
    """Of the Link's session; checked inside the commit."""
    facility: str = ""
    listener: str = ""
    device: str = ""
    peer: str = ""
    calling_ae: str = ""
    called_ae: str = ""
    association: bytes = b""
    actor: str = ""
    """The principal's id, for an upload."""

    @property
    def way(self) -> Way:
        """The way on which it arrived: only what a listener received was unsolicited."""
        if self.link is None:
            return Way.API
        return Way.DEVICE if self.listener else Way.RETRIEVE


class Arrival(Value, frozen=True, kw_only=True):
    """An instance whose blob is durable and whose row is not yet."""

    identity: InstanceIdentity
    sop_class: str
    length: int
    origin: Origin


class Receipt(Value, frozen=True, kw_only=True):
    """The result of a commit, and the row of the instance."""

    id: int
    stored: Stored


class IndexState(enum.StrEnum):
    """The state of an instance in the index."""

    WAITING = "waiting"
    INDEXED = "indexed"
    QUARANTINED = "quarantined"
    """Kept and fetchable, but its data set is malformed or unlike its command set.

    `problem` is the cause.
    """


class Instance(Value, frozen=True, kw_only=True):
    """A stored instance. `study`, `series`, `number` and `frames` are known once it is indexed."""

    id: int
    """The order of arrival within the whole Cloud."""
    identity: InstanceIdentity
    sop_class: str
    length: int
    origin: Origin
    received: float
    visible: bool
    """One instance per facility and SOP Instance UID is.

    The first, until a person chooses another.
    """
    stored: Stored
    state: IndexState = IndexState.WAITING
    problem: str = ""
    study: str = ""
    series: str = ""
    number: int | None = None
    rows: int | None = None
    columns: int | None = None
    frames: int | None = None


class Series(Value, frozen=True, kw_only=True):
    """The part of a series that one facility holds, as QIDO-RS describes it (PS3.18 10.6)."""

    study: str
    uid: str
    facility: str = ""
    modality: str = ""
    number: int | None = None
    description: str = ""
    body_part: str = ""
    performed_date: date | None = None
    performed_time: time | None = None
    instances: int = 0
    received: float = 0.0


class Study(Value, frozen=True, kw_only=True):
    """The part of a study that one facility holds, as QIDO-RS describes it (PS3.18 10.6).

    Attributes, counts and times are those of the facility's own instances (ADR 0014).
    """

    uid: str
    facility: str = ""
    patient_name: str = ""
    patient_id: str = ""
    issuer: str = ""
    birth_date: date | None = None
    sex: str = ""
    accession: str = ""
    study_id: str = ""
    study_date: date | None = None
    study_time: time | None = None
    description: str = ""
    referring_physician: str = ""
    modalities: tuple[str, ...] = ()
    series: int = 0
    instances: int = 0
    received: float = 0.0
    """When its first instance came."""
    updated: float = 0.0
    """When its last instance came; lists start with the newest."""
    archive: str = ""
    """The id of the archive that it is in; empty: in none."""


class StudySearch(Value, frozen=True, kw_only=True):
    """A search for studies: every given key must match (PS3.4 C.2.2.2.

    `*` and `?` are wildcards in text, names ignore case).
    """

    facilities: frozenset[str] | None = None
    archives: frozenset[str] | None = None
    uids: tuple[str, ...] = ()
    patient_name: str = ""
    patient_id: str = ""
    accession: str = ""
    description: str = ""
    modalities: tuple[str, ...] = ()
    """Any of these."""
    study_id: str = ""
    referring_physician: str = ""
    date_from: date | None = None
    date_to: date | None = None
    time_from: time | None = None
    time_to: time | None = None
    received_since: float | None = None
    fuzzy: bool = False
    """Names match when each word of the key begins a word of the name (PS3.18 8.3.4.2 leaves the
    rule to us).
    """


class SeriesSearch(Value, frozen=True, kw_only=True):
    """A search for series: of one `study`, or of the `studies` that match."""

    facilities: frozenset[str] | None = None
    archives: frozenset[str] | None = None
    study: str = ""
    studies: StudySearch | None = None
    uids: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    """Any of these."""
    number: int | None = None
    description: str = ""
    body_part: str = ""
    performed_from: date | None = None
    performed_to: date | None = None


class InstanceSearch(Value, frozen=True, kw_only=True):
    """A search for instances, of the studies and series that match if these are given.

    The invisible ones only if asked for.
    """

    facilities: frozenset[str] | None = None
    archives: frozenset[str] | None = None
    study: str = ""
    series: str = ""
    of_studies: StudySearch | None = None
    of_series: SeriesSearch | None = None
    sop_instances: tuple[str, ...] = ()
    ids: frozenset[int] | None = None
    sop_class: str = ""
    number: int | None = None
    state: IndexState | None = None
    unindexed: bool = False
    """Only those that wait for the index or are quarantined."""
    received_since: float | None = None
    hidden: bool = False
    """Also those that are kept but not visible."""
