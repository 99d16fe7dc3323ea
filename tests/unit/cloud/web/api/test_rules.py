"""Rules over the API: kept in order, judged before they are kept, and tried on what is stored."""

from typing import Any

import pytest

from swallowtail.cloud.model.tenancy import Role
from tests.unit.cloud.web.conftest import HERON, INSTANCE, STUDY, Cloud

ID = "annex-link-heron:pacs"
ACTION = {"targets": [ID]}
DEFAULTS = {
    "enabled": True,
    "when_complete": False,
    "quiet": 30.0,
    "acquisitions_only": True,
    "final": False,
}


async def test_a_rule_is_made_last_changed_in_parts_and_removed(cloud: Cloud) -> None:
    admin = await cloud.token(Role.INTEGRATOR)
    condition = {
        "modalities": ["US"],
        "calling_ae": "US*",
        "tags": [{"tag": "StudyDescription", "pattern": "*echo*"}],
    }
    body = {
        "name": " ultrasound ",
        "condition": condition,
        "action": {"targets": [ID], "priority": 3},
        "when_complete": True,
    }
    answer = await cloud.call("POST", "rules", admin, body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["name"], made["position"]) == ("ultrasound", 2)
    assert {name: made[name] for name in DEFAULTS} == DEFAULTS | {"when_complete": True}
    assert made["condition"]["tags"] == condition["tags"]
    assert made["action"] == {"targets": [ID], "priority": 3, "archive": None}
    path = f"rules/{made['id']}"
    assert (await cloud.call("GET", path, admin)).json() == made
    changed = (await cloud.call("PATCH", path, admin, {"enabled": False, "quiet": 5})).json()
    assert changed == made | {"enabled": False, "quiet": 5.0}
    changed = (
        await cloud.call(
            "PATCH", path, admin, {"condition": {"link": "annex-link-heron"}, "name": None}
        )
    ).json()
    assert (changed["condition"]["link"], changed["condition"]["modalities"], changed["name"]) == (
        "annex-link-heron",
        [],
        "ultrasound",
    )
    taken = await cloud.call("PATCH", path, admin, {"name": "all"})
    assert (taken.status_code, taken.json()["code"]) == (409, "conflict")
    assert (await cloud.call("DELETE", path, admin)).status_code == 204
    assert (await cloud.call("GET", path, admin)).status_code == 404
    assert (await cloud.call("DELETE", path, admin)).status_code == 404
    kinds = [record.event.type for record in (await cloud.records.audit.records(HERON)).items]
    assert [kind for kind in kinds if kind.startswith("rule.")] == [
        "rule.remove",
        "rule.change",
        "rule.change",
        "rule.create",
    ]


async def test_rules_page_in_their_order_and_are_ordered_as_a_whole(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    for name, position in (("c", 0), ("a", 7), ("b", 7)):
        await cloud.call(
            "POST", "rules", admin, {"name": name, "action": ACTION, "position": position}
        )
    first = (await cloud.call("GET", "rules", admin, limit=3)).json()
    rest = (await cloud.call("GET", "rules", admin, limit=3, cursor=first["next"])).json()
    assert [rule["name"] for rule in first["items"] + rest["items"]] == ["c", "all", "a", "b"]
    assert rest["next"] is None
    ids = [rule["id"] for rule in (*rest["items"], *first["items"])]
    ordered = (await cloud.call("PUT", "rules/order", admin, {"rules": ids})).json()["items"]
    assert [(rule["name"], rule["position"]) for rule in ordered] == [
        ("b", 1),
        ("c", 2),
        ("all", 3),
        ("a", 4),
    ]
    for wrong in (ids[1:], [*ids, ids[0]], [*ids[1:], "rule-egret"]):
        answer = await cloud.call("PUT", "rules/order", admin, {"rules": wrong})
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    bad = await cloud.call("GET", "rules", admin, cursor="nonsense")
    assert (bad.status_code, bad.json()["code"]) == (400, "cursor")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (
            {"action": {"targets": ["annex-link-heron:nowhere"]}},
            "invalid-rule",
            "$.action.targets[0]",
        ),
        (
            {"action": {"targets": [ID, "annex-link-egret:pacs"]}},
            "invalid-rule",
            "$.action.targets[1]",
        ),
        ({"action": {"targets": ["pacs"]}}, "invalid", "$.action.targets[0]"),
        ({"action": {"targets": []}}, "invalid-rule", "$.action.targets"),
        ({"action": {"archive": "archive-egret"}}, "invalid-rule", "$.action.archive"),
        (
            {"condition": {"archives": ["archive-heron", "nowhere"]}},
            "invalid-rule",
            "$.condition.archives[1]",
        ),
        ({"condition": {"address": "10.1"}}, "invalid-rule", "$.condition.address"),
        (
            {"condition": {"tags": [{"tag": "StudyDescripton", "pattern": "*"}]}},
            "invalid-rule",
            "$.condition.tags[0]",
        ),
        ({"condition": {"sop_classes": ["CT"]}}, "invalid", "$.condition.sop_classes[0]"),
        ({"condition": {"modality": "US"}}, "invalid", "$.condition.modality"),
        ({"name": "  "}, "invalid", "$.name"),
        ({"quiet": -1}, "invalid", "$.quiet"),
        ({"position": 2**70}, "invalid", "$.position"),
    ],
)
async def test_a_rule_that_would_do_nothing_or_something_else_is_refused(
    cloud: Cloud, body: dict[str, Any], code: str, field: str
) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    answer = await cloud.call("POST", "rules", admin, {"name": "x", "action": ACTION} | body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert field in [fault["field"] for fault in answer.json()["errors"]]
    assert (await cloud.call("PATCH", "rules/rule-heron", admin, body)).status_code == 422
    assert len((await cloud.call("GET", "rules", admin)).json()["items"]) == 1


async def test_a_token_that_is_limited_to_facilities_has_no_say_in_the_routing(
    cloud: Cloud,
) -> None:
    limited = await cloud.token(
        Role.ADMINISTRATOR, facilities=frozenset({"main-heron", "annex-heron"})
    )
    for method, path, body in (
        ("GET", "rules", None),
        ("POST", "rules", {"name": "x", "action": ACTION}),
        ("GET", "rules/rule-heron", None),
        ("PATCH", "rules/rule-heron", {"enabled": False}),
        ("DELETE", "rules/rule-heron", None),
        ("PUT", "rules/order", {"rules": ["rule-heron"]}),
        ("POST", "rules/dry-run", {"study": STUDY}),
    ):
        answer = await cloud.call(method, path, limited, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path


async def test_a_dry_run_names_every_rule_why_and_what_would_be_sent(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    await cloud.call(
        "POST", "rules", admin, {"name": "ct", "action": ACTION, "condition": {"calling_ae": "CT*"}}
    )
    await cloud.call("POST", "rules", admin, {"name": "again", "action": ACTION | {"priority": 9}})
    (explained,) = (await cloud.call("POST", "rules/dry-run", admin, {"study": STUDY})).json()[
        "items"
    ]
    assert (explained["instance"], explained["sop_instance"]) == (1, INSTANCE)
    assert [(one["name"], one["acts"], one["reason"]) for one in explained["verdicts"]] == [
        ("all", True, ""),
        ("ct", False, "calling_ae does not match 'CT*'"),
        ("again", True, ""),
    ]
    assert explained["deliveries"] == [{"destination": ID, "priority": 0}]
    assert explained["remarks"] == [{"destination": ID, "reason": "an earlier rule sends it there"}]
    assert len((await cloud.call("GET", "deliveries", admin)).json()["items"]) == 1, (
        "nothing is queued"
    )
    assert (await cloud.records.audit.records(HERON)).items[0].event.type == "rules.dry-run"


async def test_rules_can_be_tried_before_they_are_kept(cloud: Cloud) -> None:
    admin = await cloud.token(Role.ADMINISTRATOR)
    tried = [
        {"name": "never", "action": ACTION, "enabled": False},
        {"name": "new", "action": ACTION, "final": True},
    ]
    (explained,) = (
        await cloud.call("POST", "rules/dry-run", admin, {"study": STUDY, "rules": tried})
    ).json()["items"]
    assert [(one["name"], one["acts"], one["reason"]) for one in explained["verdicts"]] == [
        ("never", False, "the rule is off"),
        ("new", True, ""),
    ]
    assert (await cloud.call("POST", "rules/dry-run", admin, {"study": "9.9"})).status_code == 404
    wrong = await cloud.call(
        "POST",
        "rules/dry-run",
        admin,
        {"study": STUDY, "rules": [{"name": "x", "action": {"targets": ["a b"]}}]},
    )
    assert wrong.json()["errors"][0]["field"] == "$.rules[0].action.targets[0]"
