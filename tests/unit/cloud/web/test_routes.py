"""Every route, with no token, a wrong role, and another tenant's things.

The table is walked, so a new route is tested at once.
"""

import re
from typing import Any

import pytest

from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web import routes
from swallowtail.cloud.web.dicomweb.dicom_json import PREFIX as DICOMWEB
from swallowtail.cloud.web.openapi_document import describe
from swallowtail.cloud.web.route import Route
from tests.unit.cloud.web.conftest import (
    APP,
    DATA,
    EGRET,
    HERON,
    INSTANCE,
    NOW,
    SERIES,
    STUDY,
    Cloud,
)

ALL = [(prefix + route.path, route) for prefix, routes in routes.TABLES for route in routes]
SCOPED = [
    (path, route)
    for path, route in ALL
    if "{" in path
    and not route.roles <= {Role.OPERATOR}
    and route.endpoint.__name__ != "store_study_instances"
]
"""But what is stored under another tenant's UID is one's own."""
TENANTS = [(path, route) for path, route in ALL if not route.roles <= {Role.OPERATOR}]
OF_NO_ORGANISATION = {"who_am_i", "configuration_schema"}
LISTS_OF_A_STUDY = {"list_series", "search_series", "search_instances", "search_study_instances"}

BODIES: dict[str, Any] = {
    "change_facility": {},
    "create_facility": {"name": "x", "time_zone": "UTC"},
    "create_link": {"name": "x", "facility": "main-heron"},
    "change_link": {},
    "put_configuration": {"document": {}},
    "roll_back": {"version": 1},
    "dismiss_unknown_device": {
        "link": "radiology-egret",
        "address": "192.0.2.1",
        "calling_ae": "X",
    },
    "create_token": {"name": "x", "role": "auditor"},
    "put_audit_export": {"host": "arr.example"},
    "update_token": {"name": "x"},
    "create_destination": {
        "link": "annex-link-egret",
        "settings": {"name": "x", "host": "192.0.2.1", "port": 104, "ae_title": "X"},
    },
    "change_destination": {"settings": {}},
    "park_delivery": {},
    "skip_delivery": {"reason": "x"},
    "change_deliveries": {"action": "resend", "destination": "annex-link-egret:pacs"},
    "send_study": {"destinations": ["annex-link-heron:pacs"]},
    "create_rule": {"name": "x", "action": {"targets": ["annex-link-heron:pacs"]}},
    "change_rule": {"enabled": False},
    "reindex_unindexed_instances": {},
    "order_rules": {"rules": ["rule-heron"]},
    "dry_run": {"study": STUDY},
    "restore_deletion": {},
    "set_retention": {"days": 7},
    "lock_study": {"reason": "a lawsuit"},
    "create_archive": {"name": "x"},
    "rename_archive": {"name": "x"},
    "purge_deletion": {"confirm": "1"},
}
UID_PARAMETERS = {"study_uid", "series_uid", "sop_instance_uid", "study", "series", "instance"}
REASON = {"reason": "sent to the wrong patient"}
QUERIES: dict[str, dict[str, str]] = dict.fromkeys(
    ("delete_study", "delete_series", "delete_sop_instance", "delete_instance"), REASON
)


def filled(path: str, values: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda part: values.get(part[1], "1"), path)


def a_role(route: Route) -> Role:
    """Give one of the organisation's roles that the route allows."""
    return min(route.roles - {Role.OPERATOR})


async def test_without_a_token_nothing_is_told(cloud: Cloud) -> None:
    for path, route in ALL:
        for token in (None, "swt_" + "0" * 48, "x" * 10_000):
            answer = await cloud.call(route.method, filled(path, {}), token)
            assert answer.status_code == 401, (route.method, path)
            assert answer.json()["code"] == "unauthorized"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_wrong_role_is_refused_before_the_body_is_looked_at(cloud: Cloud) -> None:
    tokens = {role: await cloud.token(role) for role in Role}
    for path, route in ALL:
        for role in sorted(set(Role) - route.roles):
            answer = await cloud.call(
                route.method, filled(path, {}), tokens[role], body={"no": "sense"}
            )
            assert answer.status_code == 403, (route.method, path, role)
            assert answer.json()["code"] == "forbidden"


async def test_another_tenants_things_are_not_found(cloud: Cloud) -> None:
    """The ids are real ones of another tenant, so that a 404 is not one for want of the thing."""
    tokens = {role: await cloud.token(role) for role in Role}
    await cloud.token(Role.AUDITOR, EGRET)
    theirs = {
        "link_id": "radiology-egret",
        "facility_id": "main-egret",
        "instance_id": "2",
        "version": "1",
        "alarm_id": "1",
    }
    theirs |= {
        "destination_id": "annex-link-egret:pacs",
        "delivery_id": "2",
        "rule_id": "rule-egret",
    }
    deleted = await cloud.store(EGRET, "radiology-egret", "9.8.1.1", DATA, study="9.8")
    removal = {"token": await cloud.token(Role.ADMINISTRATOR, EGRET)} | REASON
    theirs["deletion_id"] = (await cloud.call("DELETE", f"instances/{deleted}", **removal)).json()[
        "id"
    ]
    theirs["archive_id"] = "archive-egret"
    theirs["token_id"] = (await cloud.records.tokens.tokens(EGRET, now=NOW)).items[0].id
    theirs |= {
        "study_uid": "9.9",
        "series_uid": "9.9.1",
        "sop_instance_uid": "9.9.1.1",
        "study": "9.9",
        "series": "9.9.1",
        "instance": "9.9.1.1",
        "frames": "1",
        "tag": "7FE00010",
    }
    await cloud.store(EGRET, "radiology-egret", theirs["instance"], DATA, study=theirs["study"])
    owner = await cloud.token(Role.CLINICIAN, EGRET)
    for path, route in SCOPED:
        body = BODIES.get(route.endpoint.__name__)
        query = QUERIES.get(route.endpoint.__name__, {})
        answer = await cloud.call(
            route.method, filled(path, theirs), tokens[a_role(route)], body=body, **query
        )
        if route.endpoint.__name__ in LISTS_OF_A_STUDY:
            assert answer.status_code in {200, 204}, (route.method, path)
            assert not answer.content or answer.json()["items"] == []
        else:
            assert answer.status_code == 404, (route.method, path, answer.text)
            assert answer.json()["code"] == "not-found"
        if (
            path.startswith(DICOMWEB) and route.method == "GET"
        ):  # its owner finds each, whatever it can be shown as
            assert (await cloud.call("GET", filled(path, theirs), owner)).status_code in {
                200,
                406,
                422,
            }, path


@pytest.mark.parametrize(
    "uid", ["1..2", ".1.2", "1.2.", "1.2.x", "1" * 65, "%2e%2e", "%5C", "1.2%00"]
)
async def test_a_uid_that_is_none_in_a_path_is_400(cloud: Cloud, uid: str) -> None:
    good = {
        "study_uid": STUDY,
        "study": STUDY,
        "series": SERIES,
        "instance": INSTANCE,
        "frames": "1",
    }
    good |= {"tag": "7FE00010", "series_uid": SERIES, "sop_instance_uid": INSTANCE}
    tokens = {role: await cloud.token(role) for role in Role}
    judged = 0
    for path, route in ALL:
        for name in {
            "study_uid",
            "series_uid",
            "sop_instance_uid",
            "study",
            "series",
            "instance",
        } & set(re.findall(r"{(\w+)}", path)):
            body = BODIES.get(route.endpoint.__name__)
            target = filled(path, good | {name: uid})
            query = QUERIES.get(route.endpoint.__name__, {})
            answer = await cloud.call(
                route.method, target, tokens[a_role(route)], body=body, **query
            )
            assert answer.status_code == 400, (route.method, path, name, answer.text)
            assert (answer.json()["code"], bool(answer.json()["remedy"])) == ("uid", True)
            judged += 1
    assert judged > 30


async def test_naming_another_organisation_finds_nothing(cloud: Cloud) -> None:
    tokens = {role: await cloud.token(role) for role in Role}
    values = {
        "link_id": "radiology-heron",
        "facility_id": "main-heron",
        "instance_id": "1",
        "study_uid": STUDY,
        "study": STUDY,
    }
    values |= {
        "destination_id": "annex-link-heron:pacs",
        "rule_id": "rule-heron",
        "archive_id": "archive-heron",
    }
    for path, route in TENANTS:
        if route.endpoint.__name__ not in OF_NO_ORGANISATION:
            body, token = BODIES.get(route.endpoint.__name__), tokens[a_role(route)]
            query = QUERIES.get(route.endpoint.__name__, {}) | {"organisation": "egret"}
            answer = await cloud.call(route.method, filled(path, values), token, body=body, **query)
            assert answer.status_code == 404, (route.method, path, answer.text)


async def test_the_same_study_uid_in_two_tenants_shows_each_its_own(cloud: Cloud) -> None:
    await cloud.store(EGRET, "radiology-egret", "1.2.3.1.1.2", b"theirs")
    for path in (f"studies/{STUDY}", f"/dicomweb/studies/{STUDY}/series/{SERIES}/instances"):
        answer = (await cloud.call("GET", path, await cloud.token(Role.CLINICIAN))).json()
        assert (answer["instances"] if isinstance(answer, dict) else len(answer)) == 1
    answer = await cloud.call(
        "GET", f"/dicomweb/studies/{STUDY}", await cloud.token(Role.CLINICIAN)
    )
    assert b"theirs" not in answer.content


@pytest.mark.parametrize(
    "path", ["studies", "instances", "audit", "/dicomweb/studies", f"/dicomweb/studies/{STUDY}"]
)
async def test_an_operator_never_sees_patient_data(cloud: Cloud, path: str) -> None:
    answer = await cloud.call("GET", path, await cloud.token(Role.OPERATOR), organisation="heron")
    assert answer.status_code == 403


def test_every_described_route_stands_in_the_table() -> None:
    described = {
        (method.upper(), path)
        for path, methods in describe(APP)["paths"].items()
        for method in methods
    }
    assert described == {(route.method, path) for path, route in ALL}


async def test_the_right_role_in_the_right_organisation_gets_an_answer(cloud: Cloud) -> None:
    values = {
        "link_id": "radiology-heron",
        "facility_id": "main-heron",
        "instance_id": "1",
        "study_uid": STUDY,
    }
    values |= {
        "study": STUDY,
        "series": SERIES,
        "instance": INSTANCE,
        "frames": "1",
        "tag": "7FE00010",
        "destination_id": "annex-link-heron:pacs",
    }
    values["rule_id"] = "rule-heron"
    other = await cloud.store(HERON, "radiology-heron", "9.8.1.1", DATA, study="9.8")
    removal = {"token": await cloud.token(Role.ADMINISTRATOR)} | REASON
    values["deletion_id"] = (await cloud.call("DELETE", f"instances/{other}", **removal)).json()[
        "id"
    ]
    values |= {"rule_id": "rule-heron", "archive_id": "archive-heron"}
    await cloud.token(Role.AUDITOR)
    values["token_id"] = (await cloud.records.tokens.tokens(HERON, now=NOW)).items[0].id
    nothing_there = {
        "link_status": 503,
        "get_configuration": 404,
        "get_audit_export": 404,
        "configuration_version": 404,
    }
    thumbnails = (f"{one}_thumbnail" for one in ("study", "series", "instance", "frame"))
    nothing_there |= dict.fromkeys(
        ("retrieve_rendered", "retrieve_rendered_frames", *thumbnails), 422
    )  # it is no image
    for path, route in TENANTS:
        if route.method == "GET":
            answer = await cloud.call("GET", filled(path, values), await cloud.token(a_role(route)))
            assert answer.status_code == nothing_there.get(route.endpoint.__name__, 200), path
