"""The rules of a hospital's document, against what is there."""

from pathlib import Path
from typing import Any

import pytest

from swallowtail.cli.hospital import InvalidHospitalError, Present, plan, read

EXAMPLE = Path("examples/store-out.toml").read_text(encoding="utf-8")
HOSPITAL = read(EXAMPLE)
LINKS = {"main-radiology": {"id": "q7", "facility": "f"}}
BODIES = [rule.body(LINKS) for rule in HOSPITAL.rule or ()]


def rules(text: str, *there: dict[str, Any]) -> list[str]:
    """Give the steps of the plan that are about rules and change something."""
    present = Present(links=LINKS, rules=there)
    return [
        str(step)
        for step in plan(read(text), present)
        if step.kind.startswith("rule") and step.verb != "keep"
    ]


def test_the_api_is_given_ids_for_names() -> None:
    first, second = BODIES
    assert first["action"] == {"targets": ["q7:pacs"], "priority": 0, "archive": None}
    assert (first["name"], first["quiet"], first["condition"]["modalities"]) == (
        "ultrasound to the PACS",
        60.0,
        ["US"],
    )
    assert second["condition"]["tags"] == [{"tag": "StudyDescription", "pattern": "*abdomen*"}]
    from_link = read(EXAMPLE.replace('modalities = ["US"]', 'link = "main-radiology"'))
    assert (from_link.rule or ())[0].body(LINKS)["condition"]["link"] == "q7"


def test_rules_are_made_and_then_kept() -> None:
    assert rules(EXAMPLE) == [
        "+ rule ultrasound to the PACS: to main-radiology:pacs",
        "+ rule abdomen to research: to main-radiology:research",
    ]
    assert rules(EXAMPLE, *BODIES) == []


def test_a_declared_list_owns_every_rule_and_the_order() -> None:
    other = BODIES[0] | {"name": "made by hand"}
    assert rules(EXAMPLE, other, *BODIES) == ["- rule made by hand"]
    order = "~ rules order: ultrasound to the PACS, abdomen to research"
    assert rules(EXAMPLE, *reversed(BODIES)) == [order]
    assert rules(EXAMPLE, BODIES[1]) == [
        "+ rule ultrasound to the PACS: to main-radiology:pacs",
        order,
    ]
    assert rules(EXAMPLE, BODIES[0]) == [
        "+ rule abdomen to research: to main-radiology:research"
    ], "a new one comes last anyway"
    head = EXAMPLE.partition("[[rule]]")[0]
    assert rules(head, other, *BODIES) == [], "a document without rules leaves them alone"
    assert rules("rule = []\n" + head, other) == ["- rule made by hand"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("quiet = 60", "quiet = 5", "~ rule ultrasound to the PACS: quiet"),
        ("priority = -1", "enabled = false", "~ rule abdomen to research: enabled, action"),
        ('"*abdomen*"', '"*liver*"', "~ rule abdomen to research: condition"),
    ],
)
def test_a_change_names_what_changes(old: str, new: str, line: str) -> None:
    assert rules(EXAMPLE.replace(old, new), *BODIES) == [line]


def test_what_sends_to_a_destination_goes_before_the_destination_does() -> None:
    there = {"main-radiology": {"version": 1, "document": {"destinations": []}}}
    present = Present(links=LINKS, configurations=there, rules=[BODIES[0] | {"name": "old"}])
    kinds = [(step.verb, step.kind) for step in plan(HOSPITAL, present)]
    assert (
        kinds.index(("remove", "rule"))
        < kinds.index(("change", "configuration"))
        < kinds.index(("create", "rule"))
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            '"main-radiology:pacs"',
            '"main-radiology:pasc"',
            "line 38: rule[0].to: Link 'main-radiology' has no destination 'pasc'",
        ),
        (
            '"main-radiology:pacs"',
            '"pacs"',
            "line 38: rule[0].to: 'pacs' names no destination; one is",
        ),
        ("to = [", "tp = [", "line 38: rule[0].tp: Object contains unknown field `tp`"),
        (
            "abdomen to research",
            "ultrasound to the PACS",
            "'ultrasound to the PACS' is used 2 times; names are unique",
        ),
        ("quiet = 60", "quiet = -1", "line 40: rule[0].quiet: "),
        (
            "modalities =",
            "modality =",
            "line 43: rule[0].condition.modality: Object contains unknown field `modality`",
        ),
    ],
)
def test_an_error_names_the_line_the_field_and_what_is_wrong(
    old: str, new: str, expected: str
) -> None:
    with pytest.raises(InvalidHospitalError) as raised:
        read(EXAMPLE.replace(old, new, 1))
    assert expected in str(raised.value)


def test_a_link_whose_destinations_are_set_elsewhere_is_left_to_the_cloud() -> None:
    text = EXAMPLE.replace('"main-radiology:pacs"', '"elsewhere:pacs"')
    assert rules(text)[0].endswith("to elsewhere:pacs")
