"""A whole API over the stores' twins, spoken to without a socket."""

import functools
import json
import re
import secrets
import tempfile
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from swallowtail.calls.config import EndpointState, dump, parse
from swallowtail.calls.diagnostics import Checked, CheckStep, LinkStatus, PolicyStatus
from swallowtail.calls.store import Stored
from swallowtail.cloud.auditing.heads import HeadFile
from swallowtail.cloud.blobs.folder import FolderBlobs
from swallowtail.cloud.blobs.workers import InlineWorkers
from swallowtail.cloud.composition.adapters import Adapters
from swallowtail.cloud.composition.audit import AuditParts
from swallowtail.cloud.composition.environment import Environment
from swallowtail.cloud.composition.use_cases import use_cases
from swallowtail.cloud.ingest.store_instance import Ingest
from swallowtail.cloud.model.archives import Archive
from swallowtail.cloud.model.audit import AuditEvent, AuditSearch, EventAction, EventId
from swallowtail.cloud.model.credentials import KeyedHash, mint_token
from swallowtail.cloud.model.delivery import NewDelivery, Rule, RuleAction, Target
from swallowtail.cloud.model.environment import Randomness
from swallowtail.cloud.model.imaging import Arrival, InstanceIdentity, Origin, Series, Study
from swallowtail.cloud.model.indexing import BulkValue, FrameIndex, Indexed
from swallowtail.cloud.model.link_session import LinkOfflineError, LinkSession
from swallowtail.cloud.model.paging import PageRequest
from swallowtail.cloud.model.tenancy import (
    ApiToken,
    Facility,
    Link,
    Organisation,
    Role,
    SecurityCode,
    Tenant,
)
from swallowtail.cloud.pixels.service import Pixels
from swallowtail.cloud.records.records import Records
from swallowtail.cloud.secrets.sealing import Seal
from swallowtail.cloud.web import routes
from swallowtail.cloud.web.app import build
from swallowtail.cloud.web.hosts import HostNames
from swallowtail.cloud.web.openapi_document import describe
from swallowtail.cloud.web.rate_limits import Rates, RequestLimits
from swallowtail.cloud.web.use_cases import UseCases
from swallowtail.sansio.token_bucket import Rate
from tests.doubles.inline_parser import InlineParser
from tests.doubles.memory_database import INVENTED_KEYS, CommittedRows, MemoryDatabase
from tests.doubles.simulated_disk import SimulatedDisk
from tests.store_tally import StoreTally

NOW = 1_795_500_000.0
HERON, EGRET = Tenant("heron"), Tenant("egret")
"""Two tenants with the same names and UIDs everywhere (reliability, threat 12)."""
EVENT = AuditEvent(event=EventId.APPLICATION_ACTIVITY, action=EventAction.CREATE, actor="test")
STUDY, SERIES, INSTANCE = "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1"
SYNTAX = "1.2.840.10008.1.2.1"
DATA = b"x" * 500 + b"a" * 1000 + b"b" * 1000
SPANS = ((500, 1000), (1500, 1000))
"""Where DATA has its two frames."""
DOCUMENT = (
    b'{"00100020":{"vr":"LO","Value":["P1"]},'
    b'"7FE00010":{"vr":"OB","BulkDataURI":"bulkdata/7FE00010"}}'
)
UNLIMITED = Rates(*[Rate(per_second=1e9, burst=1e9)] * 3)
APP = build(None, hosts=HostNames(allowed=["cloud.example"]))
"""Putting it together takes longer than any test, so there is one.

Each test brings its own use cases.
"""


@functools.cache
def _operations() -> list[tuple[str, str, re.Pattern[str], frozenset[str]]]:
    """Return the described operations; paths with fewer parameters come first."""
    paths = describe(APP)["paths"]
    return [
        (
            method.upper(),
            path,
            re.compile(re.sub("{[^}]+}", "[^/]+", path)),
            frozenset(found["responses"]),
        )
        for path in sorted(paths, key=lambda path: path.count("{"))
        for method, found in paths[path].items()
    ]


def described(method: str, target: str) -> frozenset[str] | None:
    """Return the statuses that the document knows of the operation; None: there is no such one."""
    path = target.partition("?")[0]
    for known, _, pattern, statuses in _operations():
        if known == method and pattern.fullmatch(path):
            return statuses
    return None


def audited(method: str, target: str) -> str:
    """Return the type of the audit event that a successful request leaves; empty: none."""
    path = target.partition("?")[0]
    for prefix, table in routes.TABLES:
        for route in table:
            pattern = re.sub(r"{\w+}", "[^/]+", prefix + route.path)
            if route.method == method and re.fullmatch(pattern, path):
                return route.audit
    return ""


@dataclass
class Sessions:
    """Links that are connected because a test says so."""

    live: dict[tuple[Tenant, str], LinkSession] = field(default_factory=dict)

    def session(self, tenant: Tenant, link: str) -> LinkSession | None:
        return self.live.get((tenant, link))

    async def ping(self, tenant: Tenant, link: str, size: int) -> float:
        self._need(tenant, link)
        return size / 1_000_000

    async def status(self, tenant: Tenant, link: str) -> LinkStatus:
        self._need(tenant, link)
        return LinkStatus(
            release="0.1.0",
            platform="linux",
            host="gate",
            uptime=1.0,
            clock_offset=0.5,
            configuration=1,
            endpoints=(EndpointState(name="store", state="listening"),),
            policy=PolicyStatus(source="default policy", summary=()),
            memory=1,
            connections=0,
        )

    async def check(self, tenant: Tenant, link: str, destination: str) -> Checked:
        self._need(tenant, link)
        refused = (
            "10.0.0.9 port 104 refused the connection; look whether the PACS runs and listens there"
        )
        steps = (
            CheckStep(name="resolve", ok=True, seconds=0.001, detail=f"{destination} is 10.0.0.9"),
        )
        return Checked(
            steps=(*steps, CheckStep(name="connect", ok=False, seconds=0.5, detail=refused))
        )

    def _need(self, tenant: Tenant, link: str) -> None:
        if (tenant, link) not in self.live:
            raise LinkOfflineError


@dataclass
class Bus:
    """Notes what was published."""

    published: list[str] = field(default_factory=list)

    def publish(self, topic: str) -> None:
        self.published.append(topic)

    def subscribe(self, topic: str) -> Any:
        raise NotImplementedError


async def _no_send(*_: Any) -> Any:
    raise NotImplementedError


class Cloud:
    """The API, its stores, and a token for whoever is needed."""

    def __init__(self, random_bytes: Randomness = secrets.token_bytes) -> None:
        self.random_bytes = random_bytes
        self.rows = CommittedRows()
        self.records = Records(MemoryDatabase(self.rows))
        self.sessions, self.bus = Sessions(), Bus()
        self.disk = SimulatedDisk()
        self.blobs = FolderBlobs(self.disk.mount(), InlineWorkers(), on_fatal=pytest.fail)
        self.pixels = Pixels(self.blobs, Path(tempfile.gettempdir()), size=1)
        self.hashes = KeyedHash(b"p" * 32)
        self.use_cases = self._use_cases()
        APP.state.use_cases = self.use_cases
        APP.state.limits = RequestLimits(lambda: NOW, UNLIMITED)
        transport = httpx2.ASGITransport(app=APP, raise_app_exceptions=False)
        self.http = httpx2.AsyncClient(transport=transport, base_url="https://cloud.example")

    def _use_cases(self) -> UseCases:
        adapters = Adapters(
            records=self.records,
            blobs=self.blobs,
            bus=self.bus,
            parser=InlineParser(self.blobs),
            pixels=self.pixels,
            hashes=self.hashes,
            seal=Seal(b"m" * 32),
            heads=HeadFile(Path("unused"), INVENTED_KEYS),
            send=_no_send,
            disk_usage=lambda: (1, 1),
        )
        environment = Environment(
            clock=lambda: NOW, monotonic=lambda: 0.0, random_bytes=self.random_bytes
        )
        audit = AuditParts.wire(adapters, environment)
        self.tally = audit.tally
        ingest = Ingest(self.records.instances, self.blobs, clock=lambda: NOW, meter=StoreTally())
        return use_cases(adapters, environment, audit=audit, ingest=ingest, sessions=self.sessions)

    def blobs_on_the_way(self) -> list[str]:
        """Name the files of blobs that are not whole."""
        return [path for path in self.disk.files() if path.startswith("incoming")]

    async def token(self, role: Role, tenant: Tenant | None = HERON, **values: Any) -> str:
        """Mint a token."""
        secret, owner = mint_token(), None if role is Role.OPERATOR else tenant
        token = ApiToken(
            id=secrets.token_hex(8), tenant=owner, name=role, role=role, created=NOW, **values
        )
        await self.records.tokens.add(token, self.hashes.of_token(secret), now=NOW, event=EVENT)
        return secret

    async def call(
        self,
        method: str,
        path: str,
        token: str | None,
        body: Any = None,
        *,
        unchanged: bool = False,
        **query: Any,
    ) -> httpx2.Response:
        """Send one request; a path that does not begin with a slash is one of /api/v1.

        Its audit event is looked for, unless it is one that changes nothing.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        target = path if path.startswith("/") else f"/api/v1/{path}"
        answer = await self.http.request(method, target, headers=headers, json=body, params=query)
        if (known := described(method, target)) is not None:
            assert str(int(answer.status_code)) in known, (method, target, answer.text)
        if answer.is_success and not unchanged and (kind := audited(method, target)):
            await self._check_audited(kind)
        return answer

    async def _check_audited(self, kind: str) -> None:
        """Check that a chain has an event of the type that the row of the request names."""
        if "{" in kind:  # it depends on the request
            return
        search, page = AuditSearch(type=kind), PageRequest(1)
        chains = [
            await self.records.audit.records(head.tenant, page, search=search)
            for head in await self.records.audit.heads()
        ]
        assert any(found.items for found in chains), kind

    async def populate(self, tenant: Tenant) -> None:
        """Give a tenant one of everything, with the same names in every tenant."""
        organisations = self.records.organisations
        await organisations.add_organisation(
            Organisation(id=tenant, name=f"{tenant}sgate", created=NOW), now=NOW, event=EVENT
        )
        for name in ("main", "annex"):
            await organisations.put_facility(
                tenant,
                Facility(id=f"{name}-{tenant}", name=name, time_zone="UTC"),
                now=NOW,
                event=EVENT,
            )
        for name, facility in (("radiology", "main"), ("annex-link", "annex")):
            link = Link(
                id=f"{name}-{tenant}", facility=f"{facility}-{tenant}", name=name, created=NOW
            )
            code = SecurityCode(digest=secrets.token_bytes(32), until=NOW + 60)
            await self.records.links.add(tenant, link, code, now=NOW, event=EVENT)
        document = {
            "destinations": [{"name": "pacs", "host": "10.0.0.9", "port": 104, "ae_title": "PACS"}]
        }
        await self.configure(tenant, f"annex-link-{tenant}", document)
        instance = await self.store(tenant, f"radiology-{tenant}", INSTANCE, DATA)
        target = Target(link=f"annex-link-{tenant}", destination="pacs")
        rule = Rule(
            id=f"rule-{tenant}",
            name="all",
            position=1,
            action=RuleAction(targets=(target,)),
            created=NOW,
            changed=NOW,
        )
        await self.records.rules.put(tenant, rule, now=NOW, event=EVENT)
        archive = Archive(id=f"archive-{tenant}", name="hearts", created=NOW)
        await self.records.archives.add(tenant, archive, now=NOW, event=EVENT)
        desired = NewDelivery(
            target=target, kind="instance", reference=instance, cause=f"rule:{rule.id}/1"
        )
        await self.records.deliveries.add(tenant, [desired], now=NOW)

    async def configure(self, tenant: Tenant, link: str, document: Any) -> None:
        """Make a document the desired one of a Link."""
        checked = dump(parse(json.dumps(document).encode()))
        await self.records.configuration.put(
            tenant, link, checked, author="test", now=NOW, event=EVENT
        )

    async def store(
        self, tenant: Tenant, link: str, uid: str, data: bytes, *, study: str = STUDY
    ) -> int:
        """Keep an instance as ingest and index would, in the first series of a study."""
        async with self.blobs.incoming(tenant) as incoming:
            await incoming.write(memoryview(data))
            blob = await incoming.finish()
        identity = InstanceIdentity(sop_instance=uid, transfer_syntax=SYNTAX, sha256=blob.sha256)
        origin = Origin(
            link=link, epoch=0, listener="store", calling_ae="US1", called_ae="SWALLOWTAIL"
        )
        arrival = Arrival(
            identity=identity,
            sop_class="1.2.840.10008.5.1.4.1.1.6.1",
            length=len(data),
            origin=origin,
        )
        receipt = await self.records.instances.commit(tenant, arrival, now=NOW)
        assert receipt.stored is Stored.NEW
        reported = Study(
            uid=study, patient_name="Heron^Ada=花", patient_id="P1", modalities=("US",)
        )
        found = Indexed(
            tenant=tenant,
            instance=receipt.id,
            study=reported,
            series=Series(study=study, uid=f"{study}.1", modality="US"),
            frame_count=len(SPANS),
            frames=FrameIndex(spans=SPANS, values={"7FE00010": BulkValue(spans=(500, 2000))}),
            document=zlib.compress(DOCUMENT),
        )
        await self.records.index_jobs.claim(10, now=NOW, until=NOW + 60)
        await self.records.index_jobs.settle([found], now=NOW)
        return receipt.id


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    """A Cloud with two tenants that look the same."""
    made = Cloud()
    await made.blobs.open()
    for tenant in (HERON, EGRET):
        await made.populate(tenant)
    yield made
    await made.http.aclose()
    await made.pixels.close()
