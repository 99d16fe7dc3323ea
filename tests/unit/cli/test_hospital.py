import json
from pathlib import Path
from typing import Any

import pytest

from swallowtail.calls.config import parse
from swallowtail.cli.hospital import (
    Hospital,
    InvalidHospitalError,
    Present,
    TokenEntry,
    line_of,
    merged,
    plan,
    read,
)

EXAMPLE = Path("examples/hospital.toml").read_text(encoding="utf-8")


def present_after(hospital: Hospital) -> Present:
    """Give what the API would show after `hospital` was applied."""
    facilities = {
        entry.name: {"id": f"f-{entry.name}", "title": entry.title, "time_zone": entry.time_zone}
        for entry in hospital.facility
    }
    documents: dict[str, Any] = {}
    for link in hospital.link:
        if link.declared():
            documents[link.name] = {"version": 1, "document": merged(link, None)}
    return Present(
        organisation={
            "title": hospital.organisation.title,
            "retention_days": hospital.organisation.retention_days or 30,
        },
        facilities=facilities,
        links={link.name: {"facility": f"f-{link.facility}"} for link in hospital.link},
        configurations=documents,
        tokens={token.name: token_after(token) for token in hospital.token},
    )


def token_after(entry: TokenEntry) -> dict[str, Any]:
    """Return what the API shows of a token that was made of an entry."""
    ids = {name: f"f-{name}" for name in entry.facilities or ()}
    return {"facilities": None, "expires": None, **entry.body(ids)}


def lines(hospital: Hospital, present: Present) -> list[str]:
    return [str(step) for step in plan(hospital, present)]


def test_the_example_creates_everything_once_and_then_nothing() -> None:
    hospital = read(EXAMPLE)
    assert lines(hospital, Present()) == [
        "+ organisation heronsgate",
        "+ facility main",
        "+ link main-radiology",
        "+ configuration main-radiology: 1 listeners, 2 devices",
        "+ token reading room: clinician",
    ]
    assert {step.verb for step in plan(hospital, present_after(hospital))} == {"keep"}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            'title = "Heronsgate Hospital"',
            'title = "Heronsgate"',
            "~ organisation heronsgate: title",
        ),
        (
            'title = "Heronsgate Hospital"',
            'title = "Heronsgate Hospital"\nretention_days = 90',
            "~ retention heronsgate: 90 days",
        ),
        ("Europe/Berlin", "Europe/Paris", "~ facility main: time_zone"),
        (
            "port = 11112",
            "port = 104",
            "~ configuration main-radiology: after version 1: ~listener store",
        ),
        (
            'name = "us-room-1"',
            'name = "us-2"',
            "~ configuration main-radiology: after version 1: +device us-2, -device us-room-1",
        ),
        ('"clinician"', '"auditor"', "~ token reading room: clinician becomes auditor"),
        ('facilities = ["main"]', 'facilities = "all"', "~ token reading room: facilities"),
        (
            'facilities = ["main"]',
            "facilities = []\nexpires = 2031-01-01T00:00:00Z",
            "~ token reading room: facilities, expires",
        ),
    ],
)
def test_a_change_is_the_only_step(old: str, new: str, line: str) -> None:
    changed = EXAMPLE.replace(old, new)
    assert changed != EXAMPLE
    steps = plan(read(changed), present_after(read(EXAMPLE)))
    assert [str(step) for step in steps if step.verb != "keep"] == [line]


@pytest.mark.parametrize(("there", "verb"), [(90, "keep"), (30, "change"), (None, "change")])
def test_a_retention_that_the_document_names_is_set(there: int | None, verb: str) -> None:
    text = '[organisation]\nname = "a"\nretention_days = 90\n'
    organisation = None if there is None else {"title": "", "retention_days": there}
    _, step = plan(read(text), Present(organisation=organisation))
    assert (step.verb, step.kind) == (verb, "retention")
    with pytest.raises(InvalidHospitalError, match="retention_days"):
        read(text.replace("90", "0"))


def test_a_link_may_move_and_one_without_listeners_keeps_its_configuration() -> None:
    moved = EXAMPLE.replace('name = "main"\n', 'name = "annex"\n').replace(
        'facility = "main"', 'facility = "annex"'
    )
    moved = moved.replace('["main"]', '["annex"]')
    assert "~ link main-radiology: moves to facility annex" in lines(
        read(moved), present_after(read(EXAMPLE))
    )
    bare = read(
        '[organisation]\nname = "a"\n[[facility]]\nname = "f"\ntime_zone = "UTC"\n[[link]]\nname ='
        ' "l"\nfacility = "f"\n'
    )
    assert lines(bare, present_after(bare)) == ["= organisation a", "= facility f", "= link l"]


EXPIRES = 'expires = 2031-01-01T01:00:00+01:00\nrole = "clinician"'


def test_a_token_keeps_what_its_entry_does_not_name() -> None:
    limited = read(EXAMPLE.replace('role = "clinician"', EXPIRES))
    present = present_after(limited)
    assert present.tokens["reading room"]["expires"] == 1_924_992_000.0
    silent = read(EXAMPLE.replace('facilities = ["main"]', ""))
    assert "= token reading room" in lines(silent, present)
    freed = read(EXAMPLE.replace('role = "clinician"', 'expires = false\nrole = "clinician"'))
    assert "~ token reading room: expires" in lines(freed, present)


def test_a_token_may_be_limited_to_a_facility_that_the_same_run_creates() -> None:
    present = present_after(read(EXAMPLE))
    facility = '[[facility]]\nname = "annex"\ntime_zone = "UTC"\n[[token]]'
    grown = EXAMPLE.replace("[[token]]", facility)
    grown = grown.replace('facilities = ["main"]', 'facilities = ["main", "annex"]')
    steps = [line for line in lines(read(grown), present) if not line.startswith("=")]
    assert steps == ["+ facility annex", "~ token reading room: facilities"]


DESTINATION = {"name": "pacs", "host": "pacs.hospital.example", "port": 104, "ae_title": "PACS"}
HEAD = """[organisation]
name = "a"
[[facility]]
name = "f"
time_zone = "UTC"
[[link]]
name = "l"
facility = "f"
"""


def there(link: str = "main-radiology", **lists: Any) -> Present:
    """Give what is there after the example, and then lists that were set through the API."""
    present = present_after(read(EXAMPLE))
    document = {**present.configurations["main-radiology"]["document"], **lists}
    return Present(configurations={link: {"version": 2, "document": document}})


def test_what_was_set_through_the_api_outlives_a_document_that_does_not_declare_it() -> None:
    hospital, present = read(EXAMPLE), there(destinations=[DESTINATION], of_a_later_release=[1])
    assert "= configuration main-radiology" in lines(hospital, present)
    changed = read(EXAMPLE.replace("port = 11112", "port = 104"))
    assert "~ configuration main-radiology: after version 2: ~listener store" in lines(
        changed, present
    )
    document = merged(changed.link[0], present.configurations["main-radiology"])
    assert document["destinations"] == [DESTINATION]
    assert document["of_a_later_release"] == [1]
    assert document["listeners"][0]["port"] == 104


def test_a_declared_list_is_the_whole_list_and_an_empty_one_too() -> None:
    entry = (
        '[[link.destination]]\nname = "archive"\nhost = "10.0.0.9"\nport = 104\nae_title ='
        ' "ARCHIVE"\n'
    )
    present = there("l", destinations=[DESTINATION])
    step = next(line for line in lines(read(HEAD + entry), present) if "configuration" in line)
    assert step == "~ configuration l: after version 2: +destination archive, -destination pacs"
    document = merged(read(HEAD + entry).link[0], present.configurations["l"])
    assert [one["name"] for one in document["destinations"]] == ["archive"]
    assert [one["name"] for one in document["devices"]] == [
        "us-room-1",
        "ct",
    ], "a list that is not declared stays"
    assert (
        merged(read(HEAD + "destination = []\n").link[0], present.configurations["l"])[
            "destinations"
        ]
        == ()
    )


def test_devices_alone_may_name_listeners_that_are_set_elsewhere() -> None:
    device = (
        '[[link.device]]\nname = "us"\nae_title = "US"\naddresses = ["10.0.0.1"]\nlisteners ='
        ' ["elsewhere"]\n'
    )
    (link,) = read(HEAD + device).link
    assert merged(link, None)["devices"][0]["listeners"] == ("elsewhere",)


@pytest.mark.parametrize(
    "path", sorted(Path("examples").glob("*.toml")), ids=lambda path: path.stem
)
def test_every_example_can_be_applied(path: Path) -> None:
    hospital = read(path.read_text(encoding="utf-8"))
    assert {step.verb for step in plan(hospital, Present())} == {"create"}
    for link in hospital.link:
        parse(json.dumps(merged(link, None)).encode())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "port = 11112",
            "port = 11112\n  prot = 1",
            "line 21: link[0].listener[0].prot: Object contains unknown field `prot`",
        ),
        ("port = 11112", "port = 70000", "line 20: link[0].listener[0].port: "),
        (
            'addresses = ["10.20.0.15"]',
            'addresses = ["room 1"]',
            "line 25: link[0].device[0].addresses: 'room 1' is neither",
        ),
        (
            'listeners = ["store"]',
            'listeners = ["stroe"]',
            "line 32: link[0].device[1].listeners: there is no listener 'stroe'",
        ),
        (
            '\nfacility = "main"\n',
            '\nfacility = "mian"\n',
            "line 15: link[0].facility: there is no facility 'mian' in this file",
        ),
        (
            'facilities = ["main"]',
            'facilities = ["x"]',
            "line 37: token[0].facilities: there is no facility 'x'",
        ),
        ('facilities = ["main"]', "expires = true", "line 37: token[0].expires: is a date-time"),
        ('facilities = ["main"]', "expires = 2031-01-01T00:00:00", "line 37: token[0].expires: "),
        ('role = "clinician"', 'role = "operator"', "line 36: token[0].role: "),
        ('role = "clinician"', 'role = "clinician\\n"', "line 36: token[0].role: "),
        (
            "[[token]]",
            '[[link.destination]]\nname = "p"\nhost = "h_1"\nport = 1\nae_title = "P"\n[[token]]',
            "line 36: link[0].destination[0].host: ",
        ),
        (
            "[[token]]",
            "[[destination]]",
            "line 34: destination: Object contains unknown field `destination`",
        ),
        (
            'name = "ct"',
            'name = "us-room-1"',
            "line 22: link[0].device[...].name: 'us-room-1' is used 2 times",
        ),
        ("[organisation]", "[organisation", "this is not TOML: "),
        ("port = 11112", "port = " + "1" * 5000, "this is not TOML: "),
        ("port = 11112", "port = " + "[" * 5000, "this is not TOML: "),
        ("[[token]]", '["x["]', "line 1: x[: Object contains unknown field `x[`"),
        (
            'time_zone = "Europe/Berlin"',
            "",
            "line 8: facility[0]: Object missing required field `time_zone`",
        ),
    ],
)
def test_an_error_names_the_line_the_field_and_what_is_wrong(
    old: str, new: str, expected: str
) -> None:
    broken = EXAMPLE.replace(old, new, 1)
    assert broken != EXAMPLE
    with pytest.raises(InvalidHospitalError) as raised:
        read(broken)
    assert expected in str(raised.value)


def test_every_key_of_the_example_is_found_at_its_line() -> None:
    rows = EXAMPLE.splitlines()
    for path, key in (
        ("$.link[0].device[1].addresses", "addresses"),
        ("$.organisation.title", "title"),
        ("$.token[0]", "[[token]]"),
    ):
        assert rows[line_of(EXAMPLE, path) - 1].strip().startswith(key)
    assert line_of(EXAMPLE, "$.nothing.like.this") == 1
