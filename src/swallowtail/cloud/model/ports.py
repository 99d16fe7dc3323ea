"""The ports.

What the Cloud asks of its stores, one Protocol per family, each at most ten methods (style habit
20).

Rules that hold for all:
- A method that changes something is one transaction: all of it is durable when it returns, or none
  of it happened. It takes the audit event that belongs to it (where it does not make one itself),
  which commits with it.
- It raises StorageUnavailableError when the store is down. Nothing is kept then, as far as the
  store can tell; repeating is safe.
- `tenant` scopes everything; another tenant's thing raises NotFoundError. Methods without a tenant
  are for the operator or for the machinery and say so.
- `now` is UTC seconds. Lists page by keyset cursor in the order that the method names.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from swallowtail.cloud.model.audit import (
    ALL_RECORDS,
    AuditEvent,
    AuditRecord,
    AuditSearch,
    ChainHead,
    ChainVerdict,
)
from swallowtail.cloud.model.delivery import (
    Claim,
    Delivery,
    DeliveryAttempt,
    DeliverySearch,
    DeliveryState,
    DestinationState,
    Due,
    Lease,
    NewDelivery,
    Routed,
    Routing,
    Rule,
    Settlement,
    Target,
)
from swallowtail.cloud.model.exporting import AuditExport, AuditReceiver
from swallowtail.cloud.model.imaging import (
    Arrival,
    Instance,
    InstanceSearch,
    Receipt,
    Series,
    SeriesSearch,
    Study,
    StudySearch,
)
from swallowtail.cloud.model.indexing import IndexedDocument, IndexJob, IndexOutcome
from swallowtail.cloud.model.operations import (
    RAISED,
    Alarm,
    AlarmSearch,
    Condition,
    ConfigurationVersion,
    NewAlarm,
    Running,
    UnknownDevice,
)
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.tenancy import (
    ALL_TOKENS,
    Admission,
    ApiToken,
    Code,
    Facility,
    Link,
    Organisation,
    OrganisationState,
    RefusedToken,
    Tenant,
    TokenChange,
    TokenSearch,
)


class Clock(Protocol):
    """The time of day."""

    def __call__(self) -> float:
        """Give UTC seconds."""


class Randomness(Protocol):
    """The dice; `secrets.token_bytes` fits."""

    def __call__(self, size: int, /) -> bytes:
        """Give `size` unpredictable bytes."""


class People(Protocol):
    """Organisations and facilities."""

    async def add_organisation(
        self, organisation: Organisation, *, now: float, event: AuditEvent
    ) -> None:
        """Create a tenant (operator); raises ConflictError when the id or name is taken."""

    async def change_organisation(
        self,
        tenant: Tenant,
        *,
        title: str | None = None,
        state: OrganisationState | None = None,
        now: float,
        event: AuditEvent,
    ) -> Organisation:
        """Give it another title or state (operator).

        Suspending or removing raises the epoch of its Links, which fences them.
        """

    async def organisation(self, tenant: Tenant) -> Organisation:
        """Give one that is not removed."""

    async def organisations(
        self, page: PageRequest = FIRST_PAGE, *, name: str | None = None
    ) -> Page[Organisation]:
        """List those that are not removed (operator), by name."""

    async def put_facility(
        self, tenant: Tenant, facility: Facility, *, now: float, event: AuditEvent
    ) -> None:
        """Create it or change its name, title and time zone.

        Raises ConflictError when the name is another one's.
        """

    async def facilities(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        name: str | None = None,
        ids: frozenset[str] | None = None,
    ) -> Page[Facility]:
        """List facilities by name, of these ids if given."""


class Tokens(Protocol):
    """API tokens. `tenant` is OPERATOR for the operator's own."""

    async def add(self, token: ApiToken, digest: bytes, *, now: float, event: AuditEvent) -> None:
        """Add a token under the keyed hash (32 bytes) of its secret.

        ConflictError when id or hash is taken.

        When an operator (`event.role`) adds a token of an organisation, the alarm OPERATOR_TOKEN is
        raised there.
        """

    async def find(self, digest: bytes, *, now: float) -> ApiToken | None:
        """Return the token whose secret has this hash, or had it before a rotation whose grace has
        not ended.

        None when there is none, when it is revoked or expired, and when its organisation is not
        active.
        """

    async def refusal(self, digest: bytes, *, now: float) -> RefusedToken:
        """Return why `find` returned None for this hash, and whose token it is or was."""

    async def token(self, tenant: Tenant, token: str) -> ApiToken:
        """Return one token by its id, also a revoked one."""

    async def tokens(
        self,
        tenant: Tenant,
        search: TokenSearch = ALL_TOKENS,
        page: PageRequest = FIRST_PAGE,
        *,
        now: float,
    ) -> Page[ApiToken]:
        """List the tokens that match, by id, also revoked ones.

        `now` decides which have expired.
        """

    async def change(
        self,
        tenant: Tenant,
        token: str,
        change: TokenChange,
        *,
        now: float,
        event: AuditEvent,
    ) -> ApiToken:
        """Change what is set in `change`; ConflictError when the token is revoked.

        When an operator changes a token of an organisation, OPERATOR_TOKEN is raised there, to be
        acknowledged again.
        """

    async def rotate(
        self,
        tenant: Tenant,
        token: str,
        digest: bytes,
        *,
        until: float | None,
        now: float,
        event: AuditEvent,
    ) -> ApiToken:
        """Replace the secret by the one with this hash; the old one stays valid `until` then, None.

        It ends at once.

        A secret that an earlier rotation left valid ends in either case. ConflictError when the
        token is revoked or expired. OPERATOR_TOKEN: raised, to be acknowledged again, when an
        operator rotates a token of an organisation, who sees its secret. Cleared when the
        organisation rotates without `until`, but not by a token for which that alarm is raised
        itself.
        """

    async def revoke(self, tenant: Tenant, token: str, *, now: float, event: AuditEvent) -> None:
        """Revoke a token; revoking it again is no error.

        Clears OPERATOR_TOKEN, but not when an operator revokes it: who made a token does not clear
        its alarm.
        """


class Links(Protocol):
    """Links and their credentials.

    Whatever kills a session raises the epoch here; closing the socket is the caller's.
    """

    async def add(
        self, tenant: Tenant, link: Link, code: Code, *, now: float, event: AuditEvent
    ) -> None:
        """Create a Link with a fresh code (`code.until` is FIRST_CODE_WINDOW away).

        ConflictError when id or name is taken.
        """

    async def link(self, tenant: Tenant, link: str) -> Link:
        """Give one Link."""

    async def links(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        name: str | None = None,
        facilities: frozenset[str] | None = None,
    ) -> Page[Link]:
        """List Links by name, those of `facilities` only if given."""

    async def change(
        self, tenant: Tenant, link: str, *, name: str, facility: str, now: float, event: AuditEvent
    ) -> Link:
        """Give it another name or facility; ConflictError when the name is another one's."""

    async def remove(self, tenant: Tenant, link: str, *, now: float, event: AuditEvent) -> None:
        """Forget the Link, its code and its documents; what it brought stays."""

    async def rotate(
        self, tenant: Tenant, link: str, code: Code, *, now: float, event: AuditEvent
    ) -> Link:
        """Replace the code, fence the session; a bound key stays bound.

        A Link without key gets a new window (`code.until`).
        """

    async def rebind(
        self, tenant: Tenant, link: str, code: Code, *, now: float, event: AuditEvent
    ) -> Link:
        """Replace this machine: drop key and code, fence the session.

        The first key before `code.until` is bound.
        """

    async def revoke(self, tenant: Tenant, link: str, *, now: float, event: AuditEvent) -> Link:
        """Make the code good for nothing and fence the session.

        Rotate or rebind bring the Link back.
        """

    async def admit(self, code: bytes, key: bytes, *, address: str, now: float) -> Admission:
        """Judge a hello by the code's keyed hash and the proven key.

        Bind a fresh code, raise the epoch, write the audit record.

        Another key than the bound one raises the alarm LINK_KEY. The caller has checked the proof
        before (wire §3).
        """

    async def epoch(self, tenant: Tenant, link: str) -> int:
        """Give the present epoch: a session that has an older one must end."""


class Configuration(Protocol):
    """Documents of Links and what the Links say they run.

    Documents are opaque here: validate before, with `calls.config.parse`.
    """

    async def put(
        self,
        tenant: Tenant,
        link: str,
        document: bytes,
        *,
        expected: int | None = None,
        restored_from: int | None = None,
        author: str,
        comment: str = "",
        now: float,
        event: AuditEvent,
    ) -> ConfigurationVersion:
        """Make `document` the desired one and give its version.

        The same bytes as the present one give the present version.

        Raises ConflictError when `expected` is given and is not the present version (0: none yet).
        """

    async def desired(self, tenant: Tenant, link: str) -> ConfigurationVersion | None:
        """Give the newest version; None before the first."""

    async def version(self, tenant: Tenant, link: str, version: int) -> ConfigurationVersion:
        """Give one version."""

    async def history(
        self, tenant: Tenant, link: str, page: PageRequest = FIRST_PAGE
    ) -> Page[ConfigurationVersion]:
        """List versions, the newest first, with their documents left empty."""

    async def note_running(self, tenant: Tenant, running: Running) -> None:
        """Keep what a Link says of itself; a report of an older epoch than the kept one is ignored.

        Not audited.
        """

    async def running(self, tenant: Tenant, links: Collection[str]) -> dict[str, Running]:
        """Give what these Links said last; a Link that never did is absent."""

    async def note_unknown(self, tenant: Tenant, devices: Sequence[UnknownDevice]) -> None:
        """Add up what Links saw: counts grow, `first` and `last` widen.

        At most 1,000 are kept per Link, the latest.
        """

    async def unknown_devices(
        self, tenant: Tenant, page: PageRequest = FIRST_PAGE, *, link: str | None = None
    ) -> Page[UnknownDevice]:
        """List unknown devices, the latest seen first."""

    async def forget_unknown(
        self, tenant: Tenant, link: str, address: str, calling_ae: str
    ) -> None:
        """Drop what was noted of this device, since it is configured now or dismissed."""


class Instances(Protocol):
    """Stored instances.

    The commit that an acknowledgement stands on, and what was found in them.
    """

    async def commit(self, tenant: Tenant, arrival: Arrival, *, now: float) -> Receipt:
        """Transaction 1 (design, "Cloud").

        Check the Link's epoch, keep the instance with its index job and audit record.

        The blob must be durable before. The same identity again changes nothing but the audit.
        Another transfer syntax is kept and noted; other bytes are kept with the alarm
        INSTANCE_CONFLICT; the first stays visible. FencedError: the epoch is old. All of this is
        judged within the facility (ADR 0014): what another holds under the same UIDs changes
        nothing but that other bytes there raise the alarm too.
        """

    async def studies(
        self, tenant: Tenant, search: StudySearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Study]:
        """Find studies of each facility, the latest updated first."""

    async def series(
        self, tenant: Tenant, search: SeriesSearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Series]:
        """Find series of each facility, by study and UID."""

    async def instances(
        self, tenant: Tenant, search: InstanceSearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Instance]:
        """Find instances, in the order of arrival.

        Of some studies or series by these first, of some UIDs by UID.
        """

    async def count(
        self, tenant: Tenant, search: StudySearch | SeriesSearch | InstanceSearch, most: int
    ) -> int:
        """Say how many match, counting no further than `most`."""

    async def instance(self, tenant: Tenant, instance: int) -> Instance:
        """Give one by its id, visible or not."""

    async def copies(self, tenant: Tenant, sop_instance: str) -> tuple[Instance, ...]:
        """Give everything kept under a SOP Instance UID, the visible one first.

        Empty when there is none.
        """

    async def documents(
        self, tenant: Tenant, instances: Collection[int]
    ) -> dict[int, IndexedDocument]:
        """Give the stored DICOM JSON and frame index of at most MAX_PAGE instances.

        Those not indexed are absent.
        """

    async def choose(
        self, tenant: Tenant, instance: int, *, now: float, event: AuditEvent
    ) -> Instance:
        """Make this its facility's visible one of its SOP Instance UID.

        A person has decided a conflict.
        """

    async def referenced(self, tenant: Tenant, digests: Collection[bytes]) -> frozenset[bytes]:
        """Give those of the blob digests that a row refers to, be it deleted.

        The rest are orphans or on their way.
        """


class IndexJobs(Protocol):
    """The index workers' side of the instances; for the machinery, so it spans tenants."""

    async def claim(self, limit: int, *, now: float, until: float) -> tuple[IndexJob, ...]:
        """Take at most `limit` waiting jobs, the oldest first.

        They are nobody else's before `until`.
        """

    async def release(self) -> int:
        """Free every claim, for a node that starts and is alone: whoever claimed them is dead.

        Gives their number.
        """

    async def settle(self, outcomes: Sequence[IndexOutcome], *, now: float) -> None:
        """Transaction 2: study, series, document and counts of each outcome.

        Quarantine raises the alarm INSTANCE_QUARANTINED.

        Repeating an outcome changes nothing. The visible instances alone are counted. What is
        indexed after all clears the alarm, unless another copy of its UID is not.
        """

    async def rebuild(
        self, tenant: Tenant, *, study: str | None = None, now: float, event: AuditEvent
    ) -> int:
        """Give every instance of the tenant, or of one study, a new job; gives their number."""

    async def requeue(
        self,
        tenant: Tenant,
        instances: Collection[int] | None,
        *,
        facilities: frozenset[str] | None = None,
        now: float,
        event: AuditEvent,
    ) -> int:
        """Give these instances, or all that are quarantined, a new job and return their number.

        They wait then. Those that are indexed, unknown or in none of `facilities` are left out.
        """

    async def waiting(self) -> int:
        """Count the jobs that are not settled."""


class Deliveries(Protocol):
    """The queues.

    Claims and settlements are for the machinery and span tenants; every other change is a person's
    or a rule's.
    """

    async def add(
        self,
        tenant: Tenant,
        deliveries: Sequence[NewDelivery],
        *,
        now: float,
        event: AuditEvent | None = None,
    ) -> int:
        """Queue them at the end of their lanes; gives how many were new.

        The same (target, instance, cause) again is no error.

        While the destination's own lane ('') has something open, what is meant for a patient's lane
        goes there too: the destination got more connections a while ago, and nothing may overtake
        what waits since before. `event`: a person's wish is audited with it, a rule's is not.
        """

    async def claim(
        self,
        tenant: Tenant,
        target: Target,
        limit: int,
        *,
        now: float,
        until: float,
        after: Lease | None = None,
    ) -> Claim:
        """Lease the heads of at most `limit` lanes of an unpaused destination that are due and
        leased to nobody, oldest first.

        The head is the first open delivery by priority and place; a lane of which something is
        leased has none. A lapsed lease is claimable again, with a new token. While the breaker is
        open nothing is given before `retry_at`, then one: half open. `after`: a lease that the
        caller holds; the next delivery of its lane is given instead, if the breaker is closed. It
        must not be complete at the destination before the first is settled.
        """

    async def extend(self, leases: Sequence[Lease], *, until: float) -> frozenset[int]:
        """Keep the leases whose token still holds; gives the ids of those deliveries."""

    async def settle(
        self, settlements: Sequence[Settlement], destination: DestinationState | None, *, now: float
    ) -> frozenset[int]:
        """Keep what became of leases, and the destination's breaker as planned, in one transaction.

        Audited.

        What was `tried` becomes the newest of the delivery's attempts, of which the last
        MAX_ATTEMPTS are kept.

        A dead letter, or a delivery that stops its lane, raises its alarm in the same transaction.
        A token holds until another claim or a person takes the delivery. A settlement whose token
        does not changes nothing; gives the ids of those that were kept.
        """

    async def due(self, tenant: Tenant, link: str) -> tuple[Due, ...]:
        """Give the unpaused destinations of a Link that have something to be claimed, now or later
        (machinery).
        """

    async def act(
        self, tenant: Tenant, search: DeliverySearch, deliveries: Collection[int], state: DeliveryState, *,
        in_place: bool = False, reason: str, now: float, event: AuditEvent,
    ) -> int:  # fmt: skip
        """A person parks, skips or resends; returns how many changed.

        A resend (WAITING) goes to the end of its lane; only a stopped delivery keeps its place, so
        that what waits behind it does not overtake it. `refusals` and `cuts` begin at 0 again,
        `tries` go on. What then waits for a person, or no longer does, raises or clears its alarm.
        WAITING `in_place`: what is not done keeps its place and its counters and is due at once.
        The machinery makes dead letters (DEAD) of what waits for a destination that is configured
        no more.

        Either the named `deliveries` among those that match `search`, or, if none is named, the
        first 10,000 that match. A leased one cannot be changed: ConflictError if it was named.
        """

    async def deliveries(
        self, tenant: Tenant, search: DeliverySearch, page: PageRequest = FIRST_PAGE
    ) -> Page[Delivery]:
        """List deliveries, the newest first."""

    async def delivery(self, tenant: Tenant, delivery: int) -> Delivery:
        """Give one."""

    async def attempts(
        self, tenant: Tenant, delivery: int, page: PageRequest = FIRST_PAGE
    ) -> Page[DeliveryAttempt]:
        """List what is kept of a delivery's attempts, the newest first.

        None of one that does not exist.
        """

    async def destinations(
        self,
        tenant: Tenant,
        targets: Collection[Target] | None,
        *,
        now: float,
        facilities: frozenset[str] | None = None,
    ) -> dict[Target, DestinationState]:
        """Give the state and counts of these; one without a row yet is as new.

        None: of all that ever got something to do.

        `facilities`: count only deliveries of these facilities' instances.
        """

    async def pause(
        self, tenant: Tenant, target: Target, *, paused: bool, now: float, event: AuditEvent
    ) -> DestinationState:
        """A person pauses or resumes; resuming closes the breaker."""


class Rules(Protocol):
    """The routing of a tenant, and which instances it still has to see."""

    async def put(self, tenant: Tenant, rule: Rule, *, now: float, event: AuditEvent) -> None:
        """Create or change one; ConflictError when the name is another one's."""

    async def remove(self, tenant: Tenant, rule: str, *, now: float, event: AuditEvent) -> None:
        """Forget one; what it queued stays."""

    async def order(
        self, tenant: Tenant, rules: Sequence[str], *, now: float, event: AuditEvent
    ) -> None:
        """Give the rules the positions 1, 2, … in this order of ids.

        ConflictError when these are not all of them, each once.
        """

    async def rules(self, tenant: Tenant) -> tuple[Rule, ...]:
        """Give all, by position and name."""

    async def unrouted(self, limit: int, *, now: float) -> tuple[Routing, ...]:
        """Give indexed instances that no rule has judged yet and whose time has come, the oldest
        first (machinery, all tenants).

        An instance is put there when it is indexed for the first time, if it is visible.
        """

    async def note_ended(
        self, tenant: Tenant, link: str, associations: Collection[bytes], *, now: float
    ) -> None:
        """Keep that these associations are over; the latest 10,000 of a Link are kept."""

    async def stored(
        self, tenant: Tenant, study: str, page: PageRequest = FIRST_PAGE
    ) -> Page[Routing]:
        """Give the visible indexed instances of a study as the rules would see them now, in the
        order of arrival.
        """

    async def routed(
        self,
        tenant: Tenant,
        routings: Sequence[Routed],
        deliveries: Sequence[NewDelivery],
        *,
        now: float,
    ) -> int:
        """Queue what the rules want, put studies into archives and note that these instances were
        judged, in one transaction.

        Gives how many deliveries were new. A study that is in an archive stays there.
        """


class Alarms(Protocol):
    """Conditions that a person should see; edge-triggered."""

    async def raise_alarm(self, tenant: Tenant, alarm: NewAlarm, *, now: float) -> Alarm:
        """Raise it, or count it again if this condition of this subject is raised already."""

    async def clear(
        self, tenant: Tenant, condition: Condition, subject: str, *, now: float
    ) -> bool:
        """The condition is over; False when it was not raised."""

    async def keep(
        self, tenant: Tenant, condition: Condition, wanted: Collection[NewAlarm], *, now: float
    ) -> int:
        """Have exactly these raised of a condition, for who looks again and again.

        Gives how many were raised or cleared.

        One that is raised already is left as it is, and not counted again; unless its severity is
        another now: then it takes that with the detail, counts as raised, and waits to be
        acknowledged again. Nothing is written where nothing changes.
        """

    async def acknowledge(
        self, tenant: Tenant, alarm: int, *, now: float, event: AuditEvent
    ) -> Alarm:
        """A person has seen it: `event.actor` is kept. Acknowledging twice keeps the first."""

    async def alarms(
        self, tenant: Tenant, page: PageRequest = FIRST_PAGE, *, search: AlarmSearch = RAISED
    ) -> Page[Alarm]:
        """List the alarms that match, newest first; by default those that are not cleared."""


class Audit(Protocol):
    """The tenant's chain of authenticated records. OPERATOR has one of its own."""

    async def append(self, tenant: Tenant, events: Sequence[AuditEvent], *, now: float) -> None:
        """Add events that change nothing else: reading, searching, signing in."""

    async def records(
        self,
        tenant: Tenant,
        page: PageRequest = FIRST_PAGE,
        *,
        search: AuditSearch = ALL_RECORDS,
    ) -> Page[AuditRecord]:
        """List the records that match, newest first.

        By time, records of the same time by sequence.
        """

    async def after(self, tenant: Tenant, sequence: int, limit: int) -> tuple[AuditRecord, ...]:
        """Return the records behind a place, in their order (machinery)."""

    async def verify(self, tenant: Tenant, exported: Collection[ChainHead] = ()) -> ChainVerdict:
        """Check the whole chain, and that these heads, which were exported of it, are still in it."""

    async def head(self, tenant: Tenant) -> ChainHead:
        """Return the place and digest of the last record; sequence 0: there is none."""

    async def heads(self) -> tuple[ChainHead, ...]:
        """Return the heads of all chains (machinery)."""

    async def holds(self, heads: Collection[ChainHead]) -> frozenset[ChainHead]:
        """Return those of the heads whose record is in its chain with this digest (machinery)."""

    async def newest_key(self) -> int:
        """Return the number of the newest key that the end of any chain has; 0.

        None has one (machinery).
        """

    async def begin_key(self, *, now: float) -> int:
        """Append to each chain that ends under an older key the record that begins the newest.

        Return their number (machinery).
        """


class AuditExports(Protocol):
    """Where tenants' audits are exported to, and how far. OPERATOR has an export of its own."""

    async def put(
        self, tenant: Tenant, receiver: AuditReceiver, *, whole: bool, now: float, event: AuditEvent
    ) -> AuditExport:
        """Set the receiver.

        A new export begins behind the present end of the chain, `whole` (re)starts it at its
        beginning.
        """

    async def export(self, tenant: Tenant) -> AuditExport | None:
        """Return a tenant's export, None where there is none."""

    async def remove(self, tenant: Tenant, *, now: float, event: AuditEvent) -> bool:
        """End the export; False when there was none."""

    async def exports(self) -> tuple[AuditExport, ...]:
        """Return all exports (machinery)."""

    async def advance(
        self, before: AuditExport, sequence: int, *, now: float
    ) -> AuditExport | None:
        """Note that the receiver has taken the records up to `sequence`.

        None when the export was changed meanwhile (machinery).
        """

    async def fail(self, before: AuditExport, detail: str, *, now: float) -> AuditExport | None:
        """Note that a try has failed; None when the export was changed meanwhile (machinery)."""


class BlobDigest(msgspec.Struct, frozen=True):
    """The address and size of a blob that is durable."""

    sha256: bytes
    length: int


class BlobFound(msgspec.Struct, frozen=True):
    """A blob that the sweep met; `modified` is when it was finished."""

    sha256: bytes
    length: int
    modified: float


class Incoming(Protocol):
    """A blob on its way in. Leaving the `async with` without `finish` discards it.

    After `finish` the blob is kept from the sweep until the `async with` is left: commit the row
    that refers to it within.
    """

    async def write(self, view: memoryview) -> None:
        """Take bytes.

        The memory under the view must stay unchanged until `finish` or `discard`; returning means:
        send on.

        Raises TooLargeError above the cap, StorageUnavailableError when the disk refuses; the rest
        is then discarded.
        """

    async def finish(self, *, length: int | None = None, crc32: int | None = None) -> BlobDigest:
        """Make it durable under its address, file and folder.

        A blob that is there already is kept as it is.

        Raises DamagedError, and discards it, when the bytes that were written do not have this
        length or CRC-32 (wire §8).
        """

    async def discard(self) -> None:
        """Drop it; a no-op after `finish`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Blobs(Protocol):
    """Data sets as received, addressed by SHA-256 within a tenant, written once, never overwritten,
    removed by the sweep alone.
    """

    def incoming(self, tenant: Tenant, *, max_length: int | None = None) -> Incoming:
        """Begin a blob of at most `max_length` bytes, and never more than the store's own cap."""

    def read(
        self, tenant: Tenant, sha256: bytes, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Stream a range in pieces of at most 1 MiB; NotFoundError when there is no such blob."""

    async def length(self, tenant: Tenant, sha256: bytes) -> int | None:
        """Give the blob's length; None when it is not there."""

    async def verify(self, tenant: Tenant, sha256: bytes) -> bool:
        """Read it all and hash it again; False when it is missing or differs."""

    def path(self, tenant: Tenant, sha256: bytes) -> Path | None:
        """Give a finished blob's place as a local file, for the index workers to read.

        None where the store has no such thing.
        """

    def found(self, tenant: Tenant) -> AsyncIterator[BlobFound]:
        """Walk all finished blobs of a tenant, in no order: for the orphan sweep."""

    async def remove(
        self,
        tenant: Tenant,
        digests: Collection[bytes],
        confirm: Callable[[frozenset[bytes]], Awaitable[frozenset[bytes]]],
    ) -> frozenset[bytes]:
        """Remove those of the blobs that `confirm` returns and that nobody stores meanwhile.

        Returns which were, or are not there.

        `confirm` is given those that nobody stores, and has to see every commit that was requested
        before it is called.
        """


class Subscription(Protocol):
    """Wake-ups of one topic. Those that came since the last `wait` are one."""

    async def wait(self) -> None:
        """Return at once if something was published since the last return, else when it is."""

    def close(self) -> None:
        """Hear nothing more."""


class Bus(Protocol):
    """Wake-ups between parts and nodes.

    They may be lost or doubled: the truth is in the store, so look there now and then too.
    """

    def publish(self, topic: str) -> None:
        """Wake every subscriber of the topic.

        Topics are `index`, `link/<id>` and the like, and hold no patient data.
        """

    def subscribe(self, topic: str) -> Subscription:
        """Hear the topic from now on; close the subscription when done."""
