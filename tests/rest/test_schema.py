"""The API against its own document.

Whatever is sent to any route as any role, the answer is one that the document knows.

Requests are generated from the document (schemathesis), valid ones and spoilt ones, half of them
about things that exist. What removes or replaces things comes last, so that the others find them.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pydicom
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from swallowtail.cloud.model.tenancy import Role
from tests.modes import SOAK, amount
from tests.rest.served import Api, CloudProcess, WireLink, data_set_of, eventually, hospital
from tools.generate_openapi import DOCUMENT

DATABASES = ("sqlite", "postgresql")
CHECKS: Final = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REFUSALS: Final = frozenset({400, 403, 404, 406, 409, 413, 415, 416, 422})
"""What a token of the right role may hear; 503 only where a Link is away."""
BOUNDED: Final = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=tuple(Phase) if SOAK else (Phase.generate,),
)
PROBLEM: Final = "application/problem+json"
SAMPLE: Final = Path(get_testdata_file("examples_ybr_color.dcm"))


RELATED: Final = "multipart/related"
EDGE: Final = b"edge"


@schemathesis.serializer(RELATED)
def related(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """Return a body of one part, which may be a DICOM file or anything else."""
    content = getattr(value, "data", value)
    part = content if isinstance(content, bytes) else str(content).encode(errors="replace")
    head = b"--" + EDGE + b"\r\nContent-Type: application/dicom\r\n\r\n"
    return head + part + b"\r\n--" + EDGE + b"--\r\n"


def operations() -> list[Any]:
    """Give every operation of the document, those that remove things last."""
    schema = schemathesis.openapi.from_dict(json.loads(DOCUMENT.read_text(encoding="utf-8")))
    schema.config.generation.update(with_security_parameters=False)  # the tokens are ours
    found = [result.ok() for result in schema.get_all_operations()]
    return sorted(found, key=lambda one: (one.method == "delete", one.method == "put", one.path))


@dataclass
class World:
    """A Cloud with one of everything, and a token of every role."""

    url: str
    ca: str
    tokens: dict[Role, str]
    organisation: str
    ids: dict[str, list[Any]]
    """Things that exist, by the names that parameters and bodies have for them."""
    http: requests.Session = field(default_factory=requests.Session)

    def grounded(self, name: str, value: Any) -> Any:
        """Give something that exists instead of a value, if there is such a thing."""
        return self.ids[name][len(str(value)) % len(self.ids[name])] if name in self.ids else value


def stored(cloud: CloudProcess, admin: Api, link: dict[str, Any]) -> dict[str, str]:
    """Store an instance as a Link does, wait until it is found, and give its UIDs."""
    with pydicom.dcmread(SAMPLE, stop_before_pixels=True) as head:
        uids = {
            "study": head.StudyInstanceUID,
            "series": head.SeriesInstanceUID,
            "instance": head.SOPInstanceUID,
        }
        sop_class = str(head.SOPClassUID)

    async def store() -> None:
        machine = WireLink(cloud.url, cloud.ca, link["code"])
        async with machine.connected() as session:
            await machine.store(
                session,
                str(uids["instance"]),
                data_set_of(SAMPLE),
                sop_class,
                "1.2.840.10008.1.2.4.50",
            )
        await eventually(lambda: admin("GET", "studies")["items"], bool)

    asyncio.run(store())
    return {name: str(uid) for name, uid in uids.items()}


def grounded_ids(made: dict[str, Any], uids: dict[str, str]) -> dict[str, list[Any]]:
    """Return the values that a parameter or a key of this name can have."""
    return {
        "deletion_id": [made["deletion"]],
        "archive_id": [made["archive"]],
        "archive": [made["archive"]],
        "archives": [[made["archive"]]],
        "series_uid": [uids["series"]],
        "sop_instance_uid": [uids["instance"]],
        "organisation_id": [made["spare"]],
        "facility_id": [made["facility"]],
        "facility": [made["facility"]],
        "facilities": [[made["facility"]]],
        "link_id": [made["link"]],
        "link": [made["link"]],
        "destination_id": [made["destination"]],
        "destination": [made["destination"]],
        "destinations": [[made["destination"]]],
        "targets": [[made["destination"]]],
        "rule_id": [made["rule"]],
        "rules": [[made["rule"]]],
        "delivery_id": [made["delivery"]],
        "deliveries": [[made["delivery"]]],
        "instance_id": [made["instance"]],
        "study_uid": [uids["study"]],
        "study": [uids["study"]],
        "series": [uids["series"]],
        "instance": [uids["instance"]],
        "frames": ["1,2"],
        "tag": ["7FE00010"],
        "sop_instance": [uids["instance"]],
        "token_id": [made["token"]],
        "alarm_id": [made["alarm"]],
        "version": [1],
        "time_zone": ["Europe/Berlin"],
    }


@pytest.fixture(scope="module")
def world(served: CloudProcess) -> Iterator[World]:
    """One organisation with one of everything, and one that may be suspended and removed."""
    admin, link = hospital(served, "schema")
    operator = served.api()
    spare = operator("POST", "organisations", {"name": "spare"}, status=201)["id"]
    organisation = admin("GET", "whoami")["organisation"]["id"]
    tokens = {
        role: admin("POST", "tokens", {"name": role, "role": role}, status=201)["token"]
        for role in Role
        if role is not Role.OPERATOR
    }
    settings_ = {"name": "pacs", "host": "10.0.0.9", "port": 104, "ae_title": "PACS"}
    destination = admin(
        "POST", "destinations", {"link": link["id"], "settings": settings_}, status=201
    )["id"]
    uids = stored(served, admin, link)
    admin("POST", f"studies/{uids['study']}/send", {"destinations": [destination]})
    rule = admin(
        "POST", "rules", {"name": "all", "action": {"targets": [destination]}}, status=201
    )["id"]
    delivery, instance = (
        admin("GET", kind)["items"][0]["id"] for kind in ("deliveries", "instances")
    )
    operator.query = {"organisation": organisation}
    token = operator("POST", "tokens", {"name": "spare", "role": "auditor"}, status=201)["id"]
    deletion = admin("DELETE", f"instances/{instance}", reason="by mistake")["id"]
    admin("POST", f"deletions/{deletion}/restore", {})
    archive = admin("POST", "archives", {"name": "hearts"}, status=201)["id"]
    (alarm,) = admin("GET", "alarms")["items"]
    made = {
        "spare": spare,
        "deletion": deletion,
        "archive": archive,
        "facility": admin("GET", "facilities")["items"][0]["id"],
        "link": link["id"],
        "destination": destination,
        "rule": rule,
        "delivery": delivery,
        "instance": instance,
        "token": token,
        "alarm": alarm["id"],
    }
    whole = World(
        served.url,
        str(served.ca),
        {Role.OPERATOR: served.facts["token"], **tokens},
        organisation,
        grounded_ids(made, uids),
    )
    yield whole
    whole.http.close()


def ground(world: World, case: Case) -> None:
    """Let a request be about things that exist."""
    if case.media_type == RELATED:
        case.body = SAMPLE.read_bytes()
    for values in (case.path_parameters, case.query, case.body):
        ground_values(world, values)


def ground_values(world: World, values: Any) -> None:
    if isinstance(values, dict):
        for name, value in values.items():
            values[name] = world.grounded(name, value)
            ground_values(world, value)


def send(world: World, case: Case, token: str | None) -> requests.Response:
    """Send a request; an operator names the organisation."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    if case.media_type == RELATED:
        headers["Content-Type"] = f'{RELATED}; type="application/dicom"; boundary={EDGE.decode()}'
    known = {"organisation": world.organisation} if token == world.tokens[Role.OPERATOR] else {}
    if token != world.tokens[Role.OPERATOR] and case.query:
        case.query.pop("organisation", None)  # anybody else's is 404 before anything is looked at
    return case.call(
        base_url=world.url,
        session=world.http,
        headers=headers,
        params=known,
        verify=world.ca,
        timeout=30,
    )


def judge(case: Case, answer: Any, refusals: frozenset[int]) -> None:
    """Check an answer against the document, and every refusal for what a person needs."""
    case.validate_response(answer, checks=CHECKS)
    if answer.status_code < HTTPStatus.BAD_REQUEST:
        return
    if answer.status_code == HTTPStatus.CONFLICT and case.media_type == RELATED:
        return  # what was not stored, part by part
    problem = answer.json()
    offline = (
        answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and problem["code"] == "link-offline"
    )
    assert answer.status_code in refusals or offline, (case.as_curl_command(), answer.text)
    assert answer.headers["content-type"] == [PROBLEM] or answer.headers["content-type"] == PROBLEM
    assert problem["status"] == answer.status_code
    assert problem["detail"]
    assert problem["remedy"], (case.as_curl_command(), problem)


@pytest.mark.parametrize("operation", operations(), ids=lambda one: f"{one.method} {one.path}")
def test_every_answer_is_as_the_document_says(
    request: pytest.FixtureRequest, world: World, operation: Any
) -> None:
    on_server = "postgresql" in request.node.callspec.params.values()
    examples = amount(4, 100) if on_server else amount(24, 200)
    roles = {Role(role) for role in operation.definition.raw["x-roles"]}

    @settings(BOUNDED, max_examples=examples)
    @given(
        case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        role=st.sampled_from(sorted(roles)),
        known=st.booleans(),
    )
    def allowed(case: Case, role: Role, known: bool) -> None:
        if known:
            ground(world, case)
        answer = send(world, case, world.tokens[role])
        judge(case, answer, REFUSALS)
        if not known:
            case.validate_response(answer, checks=[negative_data_rejection])

    @settings(BOUNDED, max_examples=amount(1, 20))
    @given(case=operation.as_strategy())
    def refused(case: Case) -> None:
        for role in sorted(set(Role) - roles):
            judge(case, send(world, case, world.tokens[role]), frozenset({403}))
        judge(case, send(world, case, None), frozenset({401, 429}))

    allowed()
    refused()
