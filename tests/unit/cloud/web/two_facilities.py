"""A Cloud in which two facilities use the same UIDs, and everything that a token of one of them may
ask it.

`theirs` goes into the token's own organisation, or into another one where it cannot matter. Row ids
are the same either way, so that the answers to `ours` have to be the same, byte by byte.
"""

import itertools
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
from sqlalchemy import text

from swallowtail.cloud.model.archives import AccessLimits, Archive
from swallowtail.cloud.model.credentials import mint_token
from swallowtail.cloud.model.deletion import NewDeletion, Scope
from swallowtail.cloud.model.delivery import (
    AttemptFacts,
    DeliveryState,
    NewDelivery,
    Rule,
    RuleAction,
    Settlement,
    Target,
)
from swallowtail.cloud.model.imaging import Arrival, InstanceIdentity, Origin, Series, Study
from swallowtail.cloud.model.indexing import BulkValue, FrameIndex, Indexed, Quarantined
from swallowtail.cloud.model.link_session import LinkSession
from swallowtail.cloud.model.operations import Running, UnknownDevice
from swallowtail.cloud.model.tenancy import (
    ApiToken,
    Facility,
    Link,
    Organisation,
    Role,
    SecurityCode,
    Tenant,
)
from swallowtail.cloud.web.route import Route
from tests.unit.cloud.web.conftest import APP, EVENT, HERON, NOW, SPANS, Cloud
from tests.unit.cloud.web.dicomweb.test_stow import TYPE, body, sample

ELSEWHERE = Tenant("egret")
FILE = sample("CT_small.dcm")
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
SERIES = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"
SOP = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
"""Those of FILE: both facilities use them."""
GUESSED = "1.9.9"
"""A study that only they have.

So is its series GUESSED.1, and in the shared series the instance SOP.9.
"""
DELETABLE = "1.8"
"""A study that both facilities have: two instances in its series .0, one in .1."""
SYNTAX = "1.2.840.10008.1.2.1"
OURS, BY_ARCHIVE = "ours", "ours by archive"
"""Tokens that are limited to the facility `ours`, or to its archives."""
SECRET = b"SECRET"
"""Stands in everything of theirs that a person could read."""


class Ids(NamedTuple):
    """Row ids of one side."""

    instances: list[int]
    deliveries: list[int]


class World:
    """A Cloud with tokens of every role that are limited to `ours`."""

    def __init__(self, *, together: bool, theirs_first: bool, who: str) -> None:
        counter = itertools.count(1)
        self.cloud = Cloud(lambda size: next(counter).to_bytes(size, "big"))
        self.owner = HERON if together else ELSEWHERE
        self.together, self.theirs_first, self.who = together, theirs_first, who
        self.tokens: dict[tuple[str, Role], str] = {}
        self.ours, self.theirs = Ids([], []), Ids([], [])
        self.deleted: dict[str, int] = {}

    async def open(self) -> "World":
        """Fill it."""
        await self.cloud.blobs.open()
        for tenant in (HERON, ELSEWHERE):
            organisation = Organisation(id=tenant, name=tenant, created=NOW)
            await self.cloud.records.organisations.add_organisation(
                organisation, now=NOW, event=EVENT
            )
        sides = [(self.owner, "theirs"), (HERON, "ours")]
        for tenant, name in sides if self.theirs_first else sides[::-1]:
            await self._facility(tenant, name)
            await (self._store_theirs() if name == "theirs" else self._store_ours())
            await self._delete(tenant, name)
        await self._deliveries()
        await self._archives()
        for name, tenant in (("ours", HERON), ("theirs", self.owner), ("all", HERON)):
            for role in sorted(set(Role) - {Role.OPERATOR}):
                limits = {} if name == "all" else {"facilities": frozenset({name})}
                self.tokens[name, role] = await self._token(tenant, f"{name}-{role}", role, limits)
        for role in sorted(set(Role) - {Role.OPERATOR}):
            filed = {"archives": frozenset({"ours-archive", "spare"})}
            self.tokens[BY_ARCHIVE, role] = await self._token(HERON, f"archive-{role}", role, filed)
        return self

    async def close(self) -> None:
        """End it."""
        await self.cloud.http.aclose()
        await self.cloud.pixels.close()

    async def ask(self, request: "Request", who: str | None = None) -> httpx2.Response:
        """Send a request with the token of a role that may."""
        who = who or self.who
        APP.state.use_cases = self.cloud.use_cases
        role = min(request.route.roles - {Role.OPERATOR})
        headers = {"Authorization": f"Bearer {self.tokens[who, role]}"}
        more: dict[str, Any] = {"json": request.body}
        if isinstance(request.body, bytes):
            headers["Content-Type"] = TYPE
            more = {"content": request.body}
        http = self.cloud.http
        return await http.request(
            request.route.method, request.path, headers=headers, params=request.query, **more
        )

    def rows_of_theirs(self) -> dict[str, list[Any]]:
        """Return every row of theirs, and of what is theirs by its Link."""
        conditions = {
            "facility": "id = 'theirs'",
            "link": "facility = 'theirs'",
            **dict.fromkeys(("instance", "study", "series", "delivery"), "facility = 'theirs'"),
            **dict.fromkeys(("deleted_instance", "deletion_part"), "facility = 'theirs'"),
            **dict.fromkeys(
                ("configuration", "running", "unknown_device", "destination"),
                "link = 'theirs-link'",
            ),
        }
        connection = self.cloud.records.instances._database._rows.connection
        with connection.begin():
            statements = {
                name: f"SELECT * FROM {name} WHERE {where}" for name, where in conditions.items()
            }
            return {
                name: [tuple(row) for row in connection.execute(text(sql))]
                for name, sql in statements.items()
            }

    async def _archives(self) -> None:
        archives = self.cloud.records.archives
        made = {(HERON, "ours-archive"), (HERON, "spare"), (self.owner, "theirs-archive")}
        if self.who == OURS:  # an archive is the organisation's, what is in it is not
            made.add((HERON, "theirs-archive"))
        for tenant, name in sorted(made):
            archive = Archive(id=name, name=name, created=NOW)
            await archives.add(tenant, archive, now=NOW, event=EVENT)
        limits = {name: AccessLimits(facilities=frozenset({name})) for name in ("ours", "theirs")}
        await archives.put(
            HERON, STUDY, "ours-archive", limits=limits["ours"], now=NOW, event=EVENT
        )
        for study in (STUDY, GUESSED):
            await archives.put(
                self.owner, study, "theirs-archive", limits=limits["theirs"], now=NOW, event=EVENT
            )

    async def _token(
        self, tenant: Tenant, name: str, role: Role, limits: dict[str, frozenset[str]]
    ) -> str:
        secret = mint_token()
        token = ApiToken(id=name, tenant=tenant, name=name, role=role, created=NOW, **limits)
        await self.cloud.records.tokens.add(
            token, self.cloud.hashes.of_token(secret), now=NOW, event=EVENT
        )
        return secret

    async def _facility(self, tenant: Tenant, name: str) -> None:
        records, link = self.cloud.records, f"{name}-link"
        title = "SECRET" if name == "theirs" else ""
        facility = Facility(id=name, name=name, title=title, time_zone="UTC")
        await records.organisations.put_facility(tenant, facility, now=NOW, event=EVENT)
        made = Link(id=link, facility=name, name=link, created=NOW)
        code = SecurityCode(digest=name.encode().ljust(32), until=NOW + 60)
        await records.links.add(tenant, made, code, now=NOW, event=EVENT)
        entries = [
            {
                "name": one,
                "host": "10.0.0.9",
                "port": 104,
                "ae_title": "SECRET" if name == "theirs" else "PACS",
            }
            for one in ("pacs", "spare")
        ]
        for count in (1, 2):
            await self.cloud.configure(tenant, link, {"destinations": entries[:count]})
        unknown = UnknownDevice(
            link=link,
            listener="store",
            address="192.0.2.1",
            calling_ae="X",
            called_ae="Y",
            reason="calling-ae",
            count=1,
            first=NOW,
            last=NOW,
        )
        await records.configuration.note_unknown(tenant, [unknown])
        running = Running(
            link=link,
            connected=True,
            since=NOW,
            seen=NOW,
            version=99,
            release="1",
            address="192.0.2.9",
        )
        await records.configuration.note_running(tenant, running)
        self.cloud.sessions.live[tenant, link] = LinkSession(
            since=NOW, proven=NOW, address="192.0.2.9", release="1", epoch=0
        )

    async def _store_ours(self) -> None:
        keep = _Keep(self.cloud, HERON, "ours")
        self.ours.instances.append(await keep(SOP, b"ours" * 700))
        self.ours.instances.append(await keep(SOP, b"copy" * 700))
        self.ours.instances.append(await keep("1.9.6", b"ours" * 701, quarantined=True))

    async def _store_theirs(self) -> None:
        keep = _Keep(self.cloud, self.owner, "theirs")
        ids = self.theirs.instances
        ids += [
            await keep(SOP, SECRET * 500),
            await keep(f"{SOP}.9", SECRET * 501),
            await keep(SOP, SECRET * 502),
        ]
        ids.append(await keep(f"{GUESSED}.1.1", SECRET * 503, study=GUESSED))
        ids.append(await keep("1.9.7", SECRET * 504, quarantined=True))

    async def _delete(self, tenant: Tenant, name: str) -> None:
        """Keep what can be deleted by its UIDs, and have an instance deleted already."""
        keep = _Keep(self.cloud, tenant, name)
        word = SECRET if name == "theirs" else b"ours"
        for number in range(3):
            series = f"{DELETABLE}.{number // 2}"
            await keep(
                f"{DELETABLE}.9.{number}", word * (300 + number), study=DELETABLE, series=series
            )
        session_ended = self.deleted[name] = await keep(f"{SOP}.8", word * 400)
        new = NewDeletion(
            id=f"{name}-deletion",
            scope=Scope(instance=session_ended),
            reason=word.decode(),
            deleted=NOW,
            deleted_by="x",
            until=NOW + 9,
        )
        await self.cloud.records.deletions.delete(tenant, new, limit=9, now=NOW, event=EVENT)

    async def _deliveries(self) -> None:
        ours, theirs = (
            Target(link="ours-link", destination="pacs"),
            Target(link="theirs-link", destination="pacs"),
        )
        cross = (
            (ours, HERON, self.ours.instances[0])
            if self.together
            else (theirs, self.owner, self.theirs.instances[1])
        )
        wishes = [
            (HERON, ours, self.ours.instances[0], self.ours),
            (self.owner, theirs, self.theirs.instances[0], self.theirs),
            (self.owner, cross[0], self.theirs.instances[0], self.theirs),
            (cross[1], theirs, cross[2], self.theirs),
        ]
        add = self.cloud.records.deliveries.add
        for number, (tenant, target, instance, side) in enumerate(wishes, 1):
            desired = NewDelivery(
                target=target, kind="instance", reference=instance, cause=f"rule:r/{number}"
            )
            assert await add(tenant, [desired], now=NOW) == 1
            side.deliveries.append(number)
        await self._attempt(HERON, ours)
        await self._attempt(self.owner, theirs)
        rule = Rule(
            id="rule",
            name="SECRET",
            position=1,
            action=RuleAction(targets=(ours,)),
            created=NOW,
            changed=NOW,
        )
        await self.cloud.records.rules.put(HERON, rule, now=NOW, event=EVENT)

    async def _attempt(self, tenant: Tenant, target: Target) -> None:
        deliveries = self.cloud.records.deliveries
        (lease,) = (await deliveries.claim(tenant, target, 1, now=NOW, until=NOW + 9)).leases
        tried = AttemptFacts(
            began=NOW, ended=NOW + 1, epoch=1, configuration=2, connection=0, sent_format=SYNTAX
        )
        settlement = Settlement(
            tenant=tenant,
            delivery=lease.delivery.id,
            token=lease.token,
            state=DeliveryState.STOPPED,
            attempt=tried,
        )
        await deliveries.settle([settlement], None, now=NOW)


class _Keep:
    """Stores and indexes instances of one facility."""

    def __init__(self, cloud: Cloud, tenant: Tenant, side: str) -> None:
        self.cloud, self.tenant, self.side = cloud, tenant, side

    async def __call__(
        self,
        uid: str,
        data: bytes,
        *,
        study: str = STUDY,
        series: str = "",
        quarantined: bool = False,
    ) -> int:
        async with self.cloud.blobs.incoming(self.tenant) as incoming:
            await incoming.write(memoryview(data))
            blob = await incoming.finish()
        identity = InstanceIdentity(sop_instance=uid, transfer_syntax=SYNTAX, sha256=blob.sha256)
        origin = Origin(
            link=f"{self.side}-link", listener="store", calling_ae="US1", called_ae="SWALLOWTAIL"
        )
        arrival = Arrival(
            identity=identity,
            sop_class="1.2.840.10008.5.1.4.1.1.2",
            length=len(data),
            origin=origin,
        )
        receipt = await self.cloud.records.instances.commit(self.tenant, arrival, now=NOW)
        outcome = self._indexed(receipt.id, study, series)
        if quarantined:
            problem = "SECRET" if self.side == "theirs" else "ours"
            outcome = Quarantined(tenant=self.tenant, instance=receipt.id, problem=problem)
        await self.cloud.records.index_jobs.claim(10, now=NOW, until=NOW + 60)
        await self.cloud.records.index_jobs.settle([outcome], now=NOW)
        return receipt.id

    def _indexed(self, instance: int, study: str, series: str) -> Any:
        mine = self.side == "ours"
        word, modality = ("Ours", "CT") if mine else ("SECRET", "XA")
        series = series or (SERIES if study == STUDY else f"{study}.1")
        document = {
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": word}]},
            "7FE00010": {"vr": "OB"},
        }
        document["7FE00010"] |= {"BulkDataURI": "bulkdata/7FE00010"}
        reported = Study(
            uid=study,
            patient_name=word,
            patient_id=word,
            accession=word,
            description=word,
            study_id=word,
        )
        return Indexed(
            tenant=self.tenant,
            instance=instance,
            study=reported,
            series=Series(
                study=study,
                uid=series,
                modality=modality,
                number=1 if mine else 2,
                description=word,
            ),
            number=1 if mine else 2,
            frame_count=len(SPANS),
            frames=FrameIndex(spans=SPANS, values={"7FE00010": BulkValue(spans=(500, 1000))}),
            document=zlib.compress(json.dumps(document).encode()),
        )


class Request(NamedTuple):
    """One request to one route; `own`: it names nothing but ours."""

    route: Route
    path: str
    query: dict[str, str]
    body: Any
    own: bool


KEYS = {
    "patient_name": "SECRET*",
    "patient_id": "SECRET",
    "accession": "SECRET",
    "description": "SECRET",
    "modality": "XA",
}
QIDO = {
    "PatientName": "SECRET*",
    "PatientID": "SECRET",
    "AccessionNumber": "SECRET",
    "StudyDescription": "SECRET",
    "StudyID": "SECRET",
    "ModalitiesInStudy": "XA",
    "StudyInstanceUID": f"{STUDY},{GUESSED}",
    "archive": "theirs-archive",
    "facility": "theirs",
    "includefield": "all",
    "limit": "1",
}
QIDO_SERIES = QIDO | {"Modality": "XA", "SeriesDescription": "SECRET", "SeriesNumber": "2"}
QIDO_INSTANCES = QIDO_SERIES | {"SOPInstanceUID": f"{SOP},{SOP}.9", "InstanceNumber": "2"}
DEVICE = {"address": "192.0.2.1", "calling_ae": "X"}
DOCUMENT = {"destinations": [{"name": "pacs", "host": "10.0.0.9", "port": 104, "ae_title": "PACS"}]}


def _each(keys: dict[str, str]) -> list[dict[str, str]]:
    return [{}, *({name: value} for name, value in keys.items())]


def queries() -> dict[str, list[dict[str, str]]]:
    """Return what is asked of each route beside its path; the first names nothing of theirs."""
    links = [{"link": "ours-link"}, {"link": "theirs-link"}]
    return {
        "list_studies": [
            *_each(KEYS),
            {"archive": "ours-archive"},
            {"archive": "theirs-archive"},
            {"facility": "theirs"},
        ],
        "list_archives": [{}, {"name": "SECRET"}, {"limit": "1"}],
        "list_instances": [
            {},
            *(
                {"hidden": "true"} | more
                for more in ({}, {"study": STUDY}, {"study": GUESSED}, {"sop_instance": f"{SOP}.9"})
            ),
            *({"state": state} for state in ("waiting", "indexed", "quarantined")),
        ],
        "list_unindexed_instances": [
            {},
            {"facility": "ours"},
            {"facility": "theirs"},
            {"sop_instance": "1.9.7"},
            {"limit": "1"},
            *({"state": state} for state in ("waiting", "quarantined")),
        ],
        "list_facilities": [{}, {"name": "theirs"}, {"limit": "1"}],
        "list_links": [{}, {"name": "theirs-link"}, {"limit": "1"}],
        "list_destinations": [{}, *links, {"limit": "1"}],
        "list_unknown_devices": [*links, {}],
        "list_deliveries": [
            {},
            *links,
            {"destination": "ours-link:pacs"},
            {"destination": "theirs-link:pacs"},
            {"study": STUDY},
            {"study": GUESSED},
            {"sop_instance": SOP},
            {"state": "pending"},
            {"limit": "1"},
        ],
        "list_deletions": [{}, {"limit": "1"}],
        **{
            f"delete_{kind}": [{"reason": "mistaken"}]
            for kind in ("study", "series", "sop_instance", "instance")
        },
        "search_studies": _each(QIDO),
        **dict.fromkeys(("search_series", "search_all_series"), _each(QIDO_SERIES)),
        **dict.fromkeys(
            ("search_instances", "search_all_instances", "search_study_instances"),
            _each(QIDO_INSTANCES),
        ),
        "store_instances": [{}, {"facility": "theirs"}, {"facility": "ours"}],
        "store_study_instances": [{}, {"facility": "theirs"}, {"facility": "ours"}],
    }


def bodies(world: World) -> dict[str, list[Any]]:
    """Return what is sent to each route that takes a body; the first names nothing of theirs."""
    ours, theirs = world.ours, world.theirs
    everything = [*ours.deliveries, *theirs.deliveries]
    stored = [body(FILE), body(FILE.replace(b"CompressedSamples", b"OtherPatientsName"))]
    settings = {"name": "new", "host": "192.0.2.1", "port": 104, "ae_title": "X"}
    return {
        "change_facility": [{"title": "x"}],
        "change_link": [
            {"facility": "ours"},
            {"facility": "theirs"},
            {"name": "theirs-link"},
            {"name": "free"},
        ],
        "put_configuration": [{"document": DOCUMENT}],
        "roll_back": [{"version": 2}, {"version": 1}, {"version": 2, "comment": "again"}],
        "dismiss_unknown_device": [
            {"link": "ours-link", **DEVICE},
            {"link": "theirs-link", **DEVICE},
        ],
        "create_destination": [
            {"link": f"{one}-link", "settings": settings} for one in ("ours", "theirs")
        ],
        "change_destination": [{"settings": {"port": 105}}],
        "park_delivery": [{}],
        "skip_delivery": [{"reason": "x"}],
        "change_deliveries": [
            {"action": "resend", "destination": "ours-link:pacs"},
            *(
                {"action": "skip", "reason": "x"} | more
                for more in (
                    {"payload": {"study": STUDY}},
                    {"payload": {"study": GUESSED}},
                    {"link": "theirs-link"},
                )
            ),
            *({"action": "park", "deliveries": [one]} for one in everything),
            {"action": "resend", "deliveries": everything},
            {"action": "resend", "payload": {"study": STUDY}},
        ],
        "send_study": [
            {"destinations": ["ours-link:pacs"], "request": "r"},
            {"destinations": ["theirs-link:pacs"]},
            {"destinations": ["ours-link:pacs"], "sop_instances": [f"{SOP}.9"]},
        ],
        "restore_deletion": [{}, {"series": [SERIES]}],
        "reindex_unindexed_instances": [
            {"instances": ours.instances},
            {"instances": theirs.instances},
            {},
        ],
        "purge_deletion": [{"confirm": str(world.deleted[name])} for name in ("ours", "theirs")],
        **dict.fromkeys(("store_instances", "store_study_instances"), stored),
    }


def paths(world: World) -> list[dict[str, str]]:
    """Return what the places in a path are filled with.

    Ours, theirs, and theirs under what both share.
    """
    shared = {
        "study_uid": STUDY,
        "study": STUDY,
        "series": SERIES,
        "version": "1",
        "frames": "1",
        "tag": "7FE00010",
    }
    ours = shared | {"instance": SOP}
    theirs = shared | {
        "study_uid": GUESSED,
        "study": GUESSED,
        "series": f"{GUESSED}.1",
        "instance": f"{GUESSED}.1.1",
    }
    filled = []
    for name, ids, places in (("ours", world.ours, ours), ("theirs", world.theirs, theirs)):
        named = {"link_id": f"{name}-link", "facility_id": name, "deletion_id": f"{name}-deletion"}
        named |= {"archive_id": f"{name}-archive"}
        named |= {"series_uid": places["series"], "sop_instance_uid": places["instance"]}
        for instance, delivery, destination in itertools.zip_longest(
            ids.instances, ids.deliveries, ("pacs", "spare")
        ):
            rows = {
                "instance_id": instance or ids.instances[0],
                "delivery_id": delivery or ids.deliveries[0],
            }
            target = {"destination_id": f"{name}-link:{destination or 'pacs'}"}
            filled.append(
                places | named | target | {key: str(value) for key, value in rows.items()}
            )
    both = {
        "study_uid": DELETABLE,
        "series_uid": f"{DELETABLE}.0",
        "sop_instance_uid": f"{DELETABLE}.9.0",
    }
    mixed = [
        {"instance": f"{SOP}.9", "sop_instance_uid": f"{SOP}.9"},
        both,
        {"archive_id": "theirs-archive"},
        {"study_uid": GUESSED},
        {"archive_id": "spare"},
    ]
    return [*filled, *(filled[0] | one for one in mixed)]


def requests(world: World, routes: list[tuple[str, Route]]) -> Iterator[Request]:
    """Walk routes.

    Each with every filling of its path, every query and every body, each request once.
    """
    asked, sent, places = queries(), bodies(world), paths(world)
    for template, route in routes:
        name, seen = route.endpoint.__name__, set()
        for number, values in enumerate(places):
            path = re.sub(
                r"{(\w+)}", lambda part, values=values: values.get(part[1], "none"), template
            )
            for query, content in itertools.product(asked.get(name, [{}]), sent.get(name, [None])):
                key = (path, str(query), str(content))
                if key not in seen:
                    seen.add(key)
                    first = (
                        query == asked.get(name, [{}])[0] and content == sent.get(name, [None])[0]
                    )
                    yield Request(route, path, query, content, own=number == 0 and first)
