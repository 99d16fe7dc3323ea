from pathlib import Path
from typing import Any

import msgspec
import pytest

from swallowtail.cli.hospital import Hospital, InvalidHospitalError, Present, line_of, plan, read

EXAMPLE = Path("examples/hospital.toml").read_text(encoding="utf-8")


def present_after(hospital: Hospital) -> Present:
    """Give what the API would show after `hospital` was applied."""
    facilities = {
        entry.name: {"id": f"f-{entry.name}", "title": entry.title, "time_zone": entry.time_zone} for entry in hospital.facility
    }
    documents: dict[str, Any] = {}
    for link in hospital.link:
        if (configuration := link.configuration()) is not None:
            documents[link.name] = {"version": 1, "document": msgspec.to_builtins(configuration)}
    return Present(
        organisation={"title": hospital.organisation.title},
        facilities=facilities,
        links={link.name: {"facility": f"f-{link.facility}"} for link in hospital.link},
        configurations=documents,
        tokens={token.name: {"role": token.role} for token in hospital.token},
    )


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
        ('title = "Heronsgate Hospital"', 'title = "Heronsgate"', "~ organisation heronsgate: title"),
        ("Europe/Berlin", "Europe/Paris", "~ facility main: time_zone"),
        ("port = 11112", "port = 104", "~ configuration main-radiology: after version 1: ~listener store"),
        ('name = "us-room-1"', 'name = "us-2"', "~ configuration main-radiology: after version 1: +device us-2, -device us-room-1"),
        ('"clinician"', '"auditor"', "~ token reading room: clinician becomes auditor; the old one is revoked"),
    ],
)
def test_a_change_is_the_only_step(old: str, new: str, line: str) -> None:
    changed = EXAMPLE.replace(old, new)
    assert changed != EXAMPLE
    steps = plan(read(changed), present_after(read(EXAMPLE)))
    assert [str(step) for step in steps if step.verb != "keep"] == [line]


def test_a_link_may_move_and_one_without_listeners_keeps_its_configuration() -> None:
    moved = EXAMPLE.replace('name = "main"\n', 'name = "annex"\n').replace('facility = "main"', 'facility = "annex"')
    moved = moved.replace('["main"]', '["annex"]')
    assert "~ link main-radiology: moves to facility annex" in lines(read(moved), present_after(read(EXAMPLE)))
    bare = read('[organisation]\nname = "a"\n[[facility]]\nname = "f"\ntime_zone = "UTC"\n[[link]]\nname = "l"\nfacility = "f"\n')
    assert lines(bare, present_after(bare)) == ["= organisation a", "= facility f", "= link l"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("port = 11112", "port = 11112\n  prot = 1", "line 21: link[0].listener[0].prot: Object contains unknown field `prot`"),
        ("port = 11112", "port = 70000", "line 20: link[0].listener[0].port: "),
        ('addresses = ["10.20.0.15"]', 'addresses = ["room 1"]', "line 25: link[0].device[0].addresses: 'room 1' is neither"),
        ('listeners = ["store"]', 'listeners = ["stroe"]', "line 32: link[0].device[1].listeners: there is no listener 'stroe'"),
        ('\nfacility = "main"\n', '\nfacility = "mian"\n', "line 15: link[0].facility: there is no facility 'mian' in this file"),
        ('facilities = ["main"]', 'facilities = ["x"]', "line 37: token[0].facilities: there is no facility 'x'"),
        ('role = "clinician"', 'role = "operator"', "line 36: token[0].role: "),
        ('role = "clinician"', 'role = "clinician\\n"', "line 36: token[0].role: "),
        ("[[token]]", "[[destination]]", "line 34: destination: Object contains unknown field `destination`"),
        ('name = "ct"', 'name = "us-room-1"', "line 22: link[0].device[...].name: 'us-room-1' is used 2 times"),
        ("[organisation]", "[organisation", "this is not TOML: "),
        ("port = 11112", "port = " + "1" * 5000, "this is not TOML: "),
        ("port = 11112", "port = " + "[" * 5000, "this is not TOML: "),
        ("[[token]]", '["x["]', "line 1: x[: Object contains unknown field `x[`"),
        ('time_zone = "Europe/Berlin"', "", "line 8: facility[0]: Object missing required field `time_zone`"),
    ],
)
def test_an_error_names_the_line_the_field_and_what_is_wrong(old: str, new: str, expected: str) -> None:
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
